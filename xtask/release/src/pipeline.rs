//! Carries out a plan: each job once, its outputs in the folder of the release.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use xtask_image::jobs::{self, Ended, Job};
use xtask_image::{BuiltImage, Lock, Name, Profile, Variant, variant, workspace};

use crate::artefacts::Kind;
use crate::difference::Contents;
use crate::folder::{Platform, Shipped, everything, names, shipped};
use crate::keys::{Signer, Verifier};
use crate::layout::{INDEX, Layout, digest};
use crate::plan::{Act, IMAGES, PLUGIN, Plan, Step, Target};
use crate::registry::Repository;
use crate::{downloads, notes, policy, programs, receipt};

/// What a release needs beside its plan.
pub struct Release {
    pub plan: Plan,
    /// Where everything goes.
    pub folder: PathBuf,
    /// The file with the key; only the job that signs reads it.
    pub key: Option<PathBuf>,
    /// A copy of a database of vulnerabilities.
    pub advisories: Option<PathBuf>,
    /// The folder of the release before, to say what has changed.
    pub previous: Option<PathBuf>,
    /// RFC 3339.
    pub started: String,
}

impl Release {
    /// Runs the jobs of the plan, and says of each how it ended.
    pub fn run(&self) -> Result<Vec<Ended>> {
        let jobs = self.plan.jobs.iter().map(|step| {
            Job::new(step.name, move || self.carry_out(step))
                .needs(&step.needs)
                .after(&step.after)
        });
        jobs::run(&self.folder.join("jobs"), jobs.collect())
    }

    fn carry_out(&self, step: &Step) -> Result<()> {
        let once = |key: &str, work: &dyn Fn() -> Result<()>| {
            receipt::once(&self.folder, step.name, key, &step.outputs, work)
        };
        match &step.act {
            Act::Programs(target) => once(&step.key, &|| {
                programs::make(*target, self.plan.is_dev, &self.folder.join(target.programs()))
            }),
            Act::Images(target) => once(&step.key, &|| self.images(*target)),
            Act::Boms(target) => once(&step.key, &|| self.boms(*target)),
            Act::Smoke(target) => once(&step.key, &|| self.smoke(*target)),
            // Not once: what it says depends on the database.
            Act::Advisories => self.ask_advisories(
                self.advisories
                    .as_deref()
                    .context("there is no database to ask")?,
            ),
            Act::Indexes => once(&step.key, &|| self.indexes()),
            Act::Artefacts => once(&step.key, &|| self.artefacts()),
            Act::Files => once(&step.key, &|| self.files()),
            Act::Notes => {
                let since = self.since()?;
                let key = format!(
                    "{} {}",
                    step.key,
                    digest(since.as_deref().unwrap_or_default().as_bytes())
                );
                once(&key, &|| self.notes(since.as_deref()))
            }
            Act::Sign => {
                let file = self.key.as_ref().context("there is no key to sign with")?;
                let signer = Signer::read(file)?;
                let key = format!("{} {}", step.key, digest(signer.public().as_bytes()));
                once(&key, &|| self.sign(&signer))
            }
            Act::Verify => self.verify(),
            Act::Push => self.push(),
        }
    }

    fn images(&self, target: Target) -> Result<()> {
        let made = programs::made(&self.folder.join(target.programs()));
        let folder = self.folder.join(target.images());
        fs_err::create_dir_all(&folder)?;
        let how = Variant {
            profile: if self.plan.is_dev {
                Profile::Dev
            } else {
                Profile::Release
            },
            edition: target.edition,
            architecture: target.architecture,
            revision: Some(self.plan.commit.clone()),
        };
        for name in IMAGES {
            let mut image = variant(name, &how, &made)?;
            let archive = format!("{name}.tar");
            fs_err::copy(&image.archive, folder.join(&archive))?;
            image.archive = archive.into();
            workspace::write_whole(
                &folder.join(format!("{name}.json")),
                &serde_json::to_vec_pretty(&image)?,
            )?;
        }
        Ok(())
    }

    pub fn built(&self, name: Name, target: Target) -> Result<BuiltImage> {
        let file = self.folder.join(target.images()).join(format!("{name}.json"));
        let mut image: BuiltImage =
            serde_json::from_slice(&fs_err::read(&file)?).with_context(|| format!("{file:?} is damaged"))?;
        image.archive = self.folder.join(target.images()).join(image.archive);
        Ok(image)
    }

    /// One layout for each image; its tags name an index for each edition.
    fn indexes(&self) -> Result<()> {
        let mut shipped = Vec::new();
        for name in IMAGES {
            let layout = Layout::create(&self.folder.join("unsigned").join(name.as_str()))?;
            let mut editions: Vec<_> = self.plan.targets.iter().map(|target| target.edition).collect();
            editions.dedup();
            for edition in editions {
                let targets = self
                    .plan
                    .targets
                    .iter()
                    .filter(|target| target.edition == edition);
                let (mut manifests, mut platforms) = (Vec::new(), Vec::new());
                for target in targets {
                    let image = self.built(name, *target)?;
                    manifests.push(layout.import(&image.archive, &image.digest)?);
                    policy::check(&layout, name, &image.digest, self.plan.is_dev)?;
                    platforms.push(Platform {
                        architecture: target.architecture.as_str().to_owned(),
                        digest: image.digest,
                        size: image.size,
                    });
                }
                let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
                let index = layout.add_json(INDEX, &index)?;
                let tags = vec![edition.tag(&self.plan.version), edition.tag("latest")];
                for tag in &tags {
                    layout.name(index.clone(), Some(tag))?;
                }
                shipped.push(Shipped {
                    repository: name.repository()?,
                    name: name.as_str().to_owned(),
                    tags,
                    edition: Some(edition.as_str().to_owned()),
                    digest: index.digest,
                    platforms,
                });
            }
        }
        let list = serde_json::to_vec_pretty(&shipped)?;
        workspace::write_whole(&self.folder.join("images.json"), &list)
    }

    /// What is downloaded as a file, with checksums.
    fn files(&self) -> Result<()> {
        let folder = self.folder.join("files");
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        let licence = fs_err::read(workspace::root().join("LICENSE"))?;
        let (lock, mut sums) = (Lock::load()?, Vec::new());
        for target in &self.plan.targets {
            let name = target.plugin();
            fs_err::copy(
                self.folder.join(target.programs()).join(PLUGIN),
                folder.join(&name),
            )?;
            let program = fs_err::read(folder.join(&name))?;
            let packed = downloads::packed(&program, &licence, lock.epoch)?;
            fs_err::write(folder.join(format!("{name}.tar.gz")), packed)?;
            sums.push(format!("{:x}  {name}", Sha256::digest(&program)));
            for end in ["cdx", "spdx"] {
                let from = self
                    .folder
                    .join(target.boms())
                    .join(format!("{PLUGIN}.{end}.json"));
                fs_err::copy(from, folder.join(format!("{name}.{end}.json")))?;
            }
        }
        let Plan {
            source,
            version,
            targets,
            ..
        } = &self.plan;
        let base = format!("{source}/releases/download/v{version}");
        downloads::write(&folder, version, &base, targets, &sums.join("\n"))?;
        for kind in Kind::ALL {
            let name = kind.archive(&self.plan.version);
            fs_err::copy(self.folder.join("artefacts").join(&name), folder.join(&name))?;
        }
        let line = |name: &String| -> Result<String> {
            let hash = Sha256::digest(fs_err::read(folder.join(name))?);
            Ok(format!("{hash:x}  {name}\n"))
        };
        let lines: String = names(&folder)?.iter().map(line).collect::<Result<_>>()?;
        workspace::write_whole(&folder.join("SHA256SUMS"), lines.as_bytes())
    }

    /// What has changed since the release before, if its folder is given.
    fn since(&self) -> Result<Option<String>> {
        let Some(previous) = &self.previous else {
            return Ok(None);
        };
        let now = Contents::read(&self.folder)?;
        now.since(&Contents::read(previous)?).map(Some)
    }

    fn notes(&self, since: Option<&str>) -> Result<()> {
        let changelog = fs_err::read_to_string(workspace::root().join("CHANGELOG.md"))?;
        let sums = fs_err::read_to_string(self.folder.join("files/SHA256SUMS"))?;
        let Plan { version, commit, .. } = &self.plan;
        let notes = notes::render(version, commit, &changelog, &shipped(&self.folder)?, &sums, since)?;
        workspace::write_whole(&self.folder.join("notes.md"), notes.as_bytes())
    }

    fn verify(&self) -> Result<()> {
        let verifier = Verifier::read(&self.folder.join("cosign.pub"))?;
        for line in everything(&self.folder, &verifier)? {
            xtask_image::progress::record(&line);
        }
        Ok(())
    }

    fn push(&self) -> Result<()> {
        let registry = self
            .plan
            .registry
            .as_deref()
            .context("there is no registry to push to")?;
        let mut pushed = Vec::new();
        for one in shipped(&self.folder)? {
            if pushed.contains(&one.name) {
                continue;
            }
            let layout = Layout::open(&self.folder.join("images").join(&one.name))?;
            Repository::open(&pushed_name(registry, &one.repository))?.push(&layout)?;
            pushed.push(one.name);
        }
        Ok(())
    }
}

/// `HOST/PATH/NAME` for something that is published as `ghcr.io/OWNER/NAME`, where the name may have several parts.
pub fn pushed_name(registry: &str, name: &str) -> String {
    format!("{registry}/{}", name.splitn(3, '/').last().unwrap_or(name))
}

/// RFC 3339.
pub fn timestamp(epoch: u64) -> Result<String> {
    let second = i64::try_from(epoch).context("the commit's time is out of range")?;
    Ok(jiff::Timestamp::from_second(second)
        .context("the commit's time is out of range")?
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_pushed_beside_the_image_of_the_same_name() {
        let at = |name| pushed_name("localhost:5000/team", name);
        assert_eq!(
            at("ghcr.io/boshu2/gastown-operator"),
            "localhost:5000/team/gastown-operator"
        );
        assert_eq!(
            at("ghcr.io/boshu2/charts/gastown-operator"),
            "localhost:5000/team/charts/gastown-operator"
        );
    }
}
