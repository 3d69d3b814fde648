//! What a release is made of, as data: `--plan` prints it, the pipeline carries it out.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use xtask_image::{Architecture, Binary, Edition, Name};

use crate::checkout::{Checkout, key};

/// The images that ship; those of tests do not.
pub const IMAGES: [Name; 2] = [Name::Operator, Name::PolecatAgent];

/// The programs that ship, each by its package, which has its name.
pub const PROGRAMS: [&str; 3] = ["gastown-operator", "polecat", PLUGIN];

/// The plugin of kubectl, which ships as a file.
pub const PLUGIN: &str = "kubectl-gt";

/// An edition on an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Target {
    pub edition: Edition,
    pub architecture: Architecture,
}

/// The names of a target's jobs.
struct Names {
    target: Target,
    programs: &'static str,
    images: &'static str,
    boms: &'static str,
    smoke: &'static str,
}

const NAMES: [Names; 4] = {
    use Architecture::{Amd64, Arm64};
    use Edition::{Community, Fips};
    [
        Names {
            target: Target {
                edition: Community,
                architecture: Amd64,
            },
            programs: "programs-community-amd64",
            images: "images-community-amd64",
            boms: "boms-community-amd64",
            smoke: "smoke-community-amd64",
        },
        Names {
            target: Target {
                edition: Community,
                architecture: Arm64,
            },
            programs: "programs-community-arm64",
            images: "images-community-arm64",
            boms: "boms-community-arm64",
            smoke: "smoke-community-arm64",
        },
        Names {
            target: Target {
                edition: Fips,
                architecture: Amd64,
            },
            programs: "programs-fips-amd64",
            images: "images-fips-amd64",
            boms: "boms-fips-amd64",
            smoke: "smoke-fips-amd64",
        },
        Names {
            target: Target {
                edition: Fips,
                architecture: Arm64,
            },
            programs: "programs-fips-arm64",
            images: "images-fips-arm64",
            boms: "boms-fips-arm64",
            smoke: "smoke-fips-arm64",
        },
    ]
};

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Act {
    /// Compile, strip and label the programs.
    Programs(Target),
    /// Put the images together.
    Images(Target),
    /// Write the bills of materials.
    Boms(Target),
    /// Start the programs of the images.
    Smoke(Target),
    /// Ask a database of vulnerabilities.
    Advisories,
    /// One layout for each image, with an index for each edition.
    Indexes,
    /// The chart and the definitions.
    Artefacts,
    /// The files to download, with their checksums.
    Files,
    /// The release notes.
    Notes,
    /// Sign and attest images, artefacts and files. The only job that reads the key; it runs nothing that was built.
    Sign,
    /// Verify everything in the folder.
    Verify,
    /// Push images and artefacts, and what is attached to them.
    Push,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub name: &'static str,
    #[serde(flatten)]
    pub act: Act,
    /// Jobs that must have succeeded before.
    pub needs: Vec<&'static str>,
    /// Jobs that must have ended before.
    pub after: Vec<&'static str>,
    /// What it depends on beside the jobs that it needs.
    pub inputs: Vec<&'static str>,
    /// Files and folders that it makes, below that of the release.
    pub outputs: Vec<PathBuf>,
    /// A hash of its inputs and of those of the jobs that it needs.
    pub key: String,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub version: String,
    pub commit: String,
    /// When the commit was made, in seconds since 1970: the time of everything that is made.
    pub epoch: u64,
    /// Where the repository is published.
    pub source: String,
    pub is_dev: bool,
    /// Whether the checkout has changes that the commit has not.
    pub is_dirty: bool,
    pub targets: Vec<Target>,
    pub registry: Option<String>,
    pub jobs: Vec<Step>,
}

/// What the plan is made for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub editions: Vec<Edition>,
    pub architectures: Vec<Architecture>,
    pub is_dev: bool,
    /// Where to push to.
    pub registry: Option<String>,
    /// Whether there is a database of vulnerabilities to ask.
    pub asks_advisories: bool,
    /// Whether what needs a key is left out.
    pub is_unsigned: bool,
    /// Names of jobs; what they need is run too.
    pub only: Vec<String>,
}

impl Target {
    /// The folder of its programs, below that of the release.
    pub fn programs(self) -> PathBuf {
        Path::new("programs").join(self.folder())
    }

    /// Its bills of materials.
    pub fn boms(self) -> PathBuf {
        Path::new("boms").join(self.folder())
    }

    /// What was seen of its programs.
    pub fn smoke(self) -> PathBuf {
        Path::new("tests").join(format!("{}.json", self.folder()))
    }

    /// Its images, each in an archive.
    pub fn images(self) -> PathBuf {
        Path::new("archives").join(self.folder())
    }

    /// The plugin's name as a file to download: the seed's names, and `fips` in those of the other edition.
    pub fn plugin(self) -> String {
        let edition = match self.edition {
            Edition::Community => "",
            Edition::Fips => "-fips",
        };
        format!("{PLUGIN}{edition}-linux-{}", self.architecture.as_str())
    }

    fn folder(self) -> String {
        format!("{}-{}", self.edition.as_str(), self.architecture.as_str())
    }
}

/// The programs, as cargo knows them.
pub fn binaries() -> [Binary; 3] {
    PROGRAMS.map(|name| Binary {
        package: name.to_owned(),
        name: name.to_owned(),
    })
}

impl Plan {
    /// The plan of a release of this checkout.
    pub fn new(checkout: &Checkout, wanted: &Wanted) -> Result<Self> {
        let mut plan = Self {
            version: checkout.version.clone(),
            commit: checkout.commit.clone(),
            epoch: checkout.epoch,
            source: checkout.source.clone(),
            is_dev: wanted.is_dev,
            is_dirty: checkout.is_dirty,
            targets: Vec::new(),
            registry: wanted.registry.clone(),
            jobs: Vec::new(),
        };
        let is_wanted = |names: &&Names| {
            wanted.editions.contains(&names.target.edition)
                && wanted.architectures.contains(&names.target.architecture)
        };
        let chosen: Vec<_> = NAMES.iter().filter(is_wanted).collect();
        plan.targets = chosen.iter().map(|names| names.target).collect();
        for names in &chosen {
            plan.add_target(checkout, names);
        }
        if wanted.asks_advisories {
            plan.add(checkout, "advisories", Act::Advisories, &[], &[], Vec::new());
        }
        let boms: Vec<_> = chosen.iter().map(|names| names.boms).collect();
        let tests: Vec<_> = chosen.iter().map(|names| names.smoke).collect();
        plan.add_release(checkout, &boms, &tests);
        if wanted.is_unsigned {
            let needs_key = |act: &Act| matches!(act, Act::Sign | Act::Verify | Act::Push);
            plan.jobs.retain(|step| !needs_key(&step.act));
        }
        plan.keep_only(&wanted.only)?;
        Ok(plan)
    }

    fn add_target(&mut self, checkout: &Checkout, names: &Names) {
        let Names {
            target,
            programs,
            images,
            boms,
            smoke,
        } = *names;
        let is_compiler = |step: &&Step| matches!(step.act, Act::Programs(_));
        let before = self.jobs.iter().rev().find(is_compiler).map(|step| step.name);
        let outputs = vec![target.programs()];
        let inputs = ["sources", "profile"];
        self.add(checkout, programs, Act::Programs(target), &[], &inputs, outputs);
        if let Some(step) = self.jobs.last_mut() {
            // Cargo compiles for one at a time.
            step.after.extend(before);
        }
        let (inputs, outputs) = (["images", "commit"], vec![target.images()]);
        self.add(
            checkout,
            images,
            Act::Images(target),
            &[programs],
            &inputs,
            outputs,
        );
        let outputs = vec![target.boms()];
        self.add(checkout, boms, Act::Boms(target), &[images], &["commit"], outputs);
        let outputs = vec![target.smoke()];
        self.add(checkout, smoke, Act::Smoke(target), &[images], &[], outputs);
    }

    fn add_release(&mut self, checkout: &Checkout, boms: &[&'static str], tests: &[&'static str]) {
        let outputs = vec!["unsigned".into(), "images.json".into()];
        self.add(checkout, "indexes", Act::Indexes, boms, &[], outputs);
        let outputs = vec!["artefacts".into(), "artefacts.json".into()];
        let inputs = ["artefacts", "commit"];
        self.add(
            checkout,
            "artefacts",
            Act::Artefacts,
            &["indexes"],
            &inputs,
            outputs,
        );
        let needs: Vec<_> = boms.iter().copied().chain(["artefacts"]).collect();
        self.add(checkout, "files", Act::Files, &needs, &[], vec!["files".into()]);
        let both = ["indexes", "artefacts", "files"];
        let outputs = vec!["notes.md".into()];
        self.add(checkout, "notes", Act::Notes, &both, &["changelog"], outputs);
        let outputs = vec!["images".into(), "signatures".into(), "cosign.pub".into()];
        let mut all = [&both[..], tests].concat();
        all.extend(
            self.jobs
                .iter()
                .map(|step| step.name)
                .filter(|name| *name == "advisories"),
        );
        self.add(checkout, "sign", Act::Sign, &all, &["public key"], outputs);
        self.add(checkout, "verify", Act::Verify, &["sign"], &[], Vec::new());
        if self.registry.is_some() {
            self.add(checkout, "push", Act::Push, &["verify"], &[], Vec::new());
        }
    }

    fn add(
        &mut self,
        checkout: &Checkout,
        name: &'static str,
        act: Act,
        needs: &[&'static str],
        inputs: &[&'static str],
        outputs: Vec<PathBuf>,
    ) {
        let value = |input: &&'static str| match *input {
            "sources" => checkout.programs.clone(),
            "images" => checkout.images.clone(),
            "artefacts" => checkout.artefacts.clone(),
            "changelog" => checkout.changelog.clone(),
            "commit" => checkout.commit.clone(),
            "profile" if self.is_dev => "dev".to_owned(),
            "profile" => "release".to_owned(),
            // Known only to the job that reads it, which adds it.
            other => other.to_owned(),
        };
        let of_needed = |name: &&'static str| {
            let step = self.jobs.iter().find(|step| step.name == *name);
            step.map(|step| step.key.clone()).unwrap_or_default()
        };
        let values: Vec<String> = [name.to_owned(), checkout.pipeline.clone()]
            .into_iter()
            .chain(inputs.iter().map(value))
            .chain(needs.iter().map(of_needed))
            .collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        self.jobs.push(Step {
            name,
            act,
            needs: needs.to_vec(),
            after: Vec::new(),
            inputs: inputs.to_vec(),
            outputs,
            key: key(&values),
        });
    }

    /// Leaves out the jobs that those of these names do not need; no name leaves all.
    fn keep_only(&mut self, only: &[String]) -> Result<()> {
        if only.is_empty() {
            return Ok(());
        }
        let known: Vec<_> = self.jobs.iter().map(|step| step.name).collect();
        for name in only {
            anyhow::ensure!(
                known.contains(&name.as_str()),
                "there is no job {name:?}; the jobs are {}",
                known.join(", ")
            );
        }
        let mut kept: Vec<&str> = only.iter().map(String::as_str).collect();
        for step in self.jobs.iter().rev() {
            if kept.contains(&step.name) {
                kept.extend(&step.needs);
            }
        }
        let kept: Vec<String> = kept.into_iter().map(str::to_owned).collect();
        self.jobs.retain(|step| kept.iter().any(|name| name == step.name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Checkout {
        Checkout {
            version: "0.5.0".to_owned(),
            source: "https://example.invalid".to_owned(),
            commit: "c0ffee".to_owned(),
            epoch: 1_700_000_000,
            programs: "p".to_owned(),
            images: "i".to_owned(),
            artefacts: "a".to_owned(),
            pipeline: "x".to_owned(),
            changelog: "c".to_owned(),
            is_dirty: false,
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            editions: Edition::ALL.to_vec(),
            architectures: Architecture::ALL.to_vec(),
            is_dev: false,
            registry: None,
            asks_advisories: false,
            is_unsigned: false,
            only: Vec::new(),
        }
    }

    fn keys(checkout: &Checkout) -> Vec<(&'static str, String)> {
        let plan = Plan::new(checkout, &wanted()).unwrap();
        plan.jobs.into_iter().map(|step| (step.name, step.key)).collect()
    }

    fn changed(other: &Checkout) -> Vec<&'static str> {
        let pairs = keys(&checkout()).into_iter().zip(keys(other));
        pairs
            .filter(|(one, other)| one.1 != other.1)
            .map(|(one, _)| one.0)
            .collect()
    }

    #[test]
    fn a_change_repeats_the_jobs_that_depend_on_it_and_no_other() {
        assert_eq!(changed(&checkout()), [""; 0]);
        let images = Checkout {
            images: "other".to_owned(),
            ..checkout()
        };
        let again = changed(&images);
        assert!(
            again.iter().all(|name| !name.starts_with("programs")),
            "{again:?}"
        );
        // Images, bills, tests, and the six jobs that need them.
        assert_eq!(again.len(), 4 + 4 + 4 + 6, "{again:?}");
        let chart = Checkout {
            artefacts: "other".to_owned(),
            ..checkout()
        };
        assert_eq!(changed(&chart), ["artefacts", "files", "notes", "sign", "verify"]);
        let changelog = Checkout {
            changelog: "other".to_owned(),
            ..checkout()
        };
        assert_eq!(changed(&changelog), ["notes"]);
        let sources = Checkout {
            programs: "other".to_owned(),
            ..checkout()
        };
        assert_eq!(changed(&sources).len(), keys(&checkout()).len());
    }

    #[test]
    fn jobs_stand_after_those_that_they_wait_for() {
        let plan = Plan::new(
            &checkout(),
            &Wanted {
                registry: Some("x/y".to_owned()),
                ..wanted()
            },
        )
        .unwrap();
        for (at, step) in plan.jobs.iter().enumerate() {
            for name in step.needs.iter().chain(&step.after) {
                let place = plan.jobs.iter().position(|other| other.name == *name);
                assert!(
                    place.is_some_and(|place| place < at),
                    "{} waits for {name}",
                    step.name
                );
            }
        }
        assert_eq!(plan.jobs.last().unwrap().name, "push");
        // Cargo compiles for one at a time.
        let compilers: Vec<_> = plan
            .jobs
            .iter()
            .filter(|step| matches!(step.act, Act::Programs(_)))
            .collect();
        assert!(compilers.len() > 1);
        for pair in compilers.windows(2) {
            assert!(
                pair[1].after.contains(&pair[0].name),
                "{} waits for no other",
                pair[1].name
            );
        }
    }

    #[test]
    fn what_needs_no_key_is_made_without_one_and_found_by_whoever_signs() {
        let unsigned = Wanted {
            is_unsigned: true,
            ..wanted()
        };
        let plan = Plan::new(&checkout(), &unsigned).unwrap();
        let made: Vec<_> = plan
            .jobs
            .iter()
            .map(|step| (step.name, step.key.clone()))
            .collect();
        let all = keys(&checkout());
        assert_eq!(
            all.iter()
                .filter(|job| !made.contains(job))
                .map(|job| job.0)
                .collect::<Vec<_>>(),
            ["sign", "verify"]
        );
    }

    #[test]
    fn nothing_is_signed_before_vulnerabilities_were_looked_for() {
        let asks = Wanted {
            asks_advisories: true,
            ..wanted()
        };
        let plan = Plan::new(&checkout(), &asks).unwrap();
        let sign = plan.jobs.iter().find(|step| step.act == Act::Sign).unwrap();
        assert!(sign.needs.contains(&"advisories"), "{:?}", sign.needs);
    }

    #[test]
    fn one_job_takes_along_what_it_needs() {
        let only = |name: &str| {
            let wanted = Wanted {
                editions: vec![Edition::Fips],
                only: vec![name.to_owned()],
                ..wanted()
            };
            Plan::new(&checkout(), &wanted)
                .map(|plan| plan.jobs.iter().map(|step| step.name).collect::<Vec<_>>())
        };
        assert_eq!(
            only("images-fips-amd64").unwrap(),
            ["programs-fips-amd64", "images-fips-amd64"]
        );
        assert!(
            only("images-community-amd64")
                .unwrap_err()
                .to_string()
                .contains("the jobs are programs-fips-amd64")
        );
    }

    #[test]
    fn the_plugin_has_the_name_that_the_readme_downloads() {
        let of = |edition| {
            Target {
                edition,
                architecture: Architecture::Arm64,
            }
            .plugin()
        };
        assert_eq!(of(Edition::Community), "kubectl-gt-linux-arm64");
        assert_eq!(of(Edition::Fips), "kubectl-gt-fips-linux-arm64");
    }
}
