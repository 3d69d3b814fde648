//! The job that signs: it reads what other jobs have left, and runs nothing of it.

use anyhow::{Context as _, Result};
use serde_json::json;
use xtask_image::workspace;

use crate::folder::{self, Shipped, names};
use crate::keys::Signer;
use crate::layout::{Descriptor, Layout, digest};
use crate::pipeline::{Release, timestamp};
use crate::plan::{IMAGES, PLUGIN, Target};
use crate::statement::{Build, Material, Subject};
use crate::{attach, bundle, statement, verify};

impl Release {
    pub fn sign(&self, signer: &Signer) -> Result<()> {
        workspace::write_whole(&self.folder.join("cosign.pub"), signer.public().as_bytes())?;
        let created = timestamp(self.plan.epoch)?;
        for name in IMAGES {
            let (from, to) = (self.folder.join("unsigned"), self.folder.join("images"));
            let layout = folder::copy(&from.join(name.as_str()), &to.join(name.as_str()))?;
            for image in folder::shipped(&self.folder)?
                .iter()
                .filter(|image| image.name == name.as_str())
            {
                self.sign_image(&layout, signer, image, &created)?;
            }
        }
        let (from, to) = (self.folder.join("files"), self.folder.join("signatures"));
        if to.exists() {
            fs_err::remove_dir_all(&to)?;
        }
        for name in names(&from)? {
            let bundle = bundle::of_blob(signer, &fs_err::read(from.join(&name))?)?;
            workspace::write_whole(&verify::bundle_of(&to.join(&name)), &serde_json::to_vec(&bundle)?)?;
        }
        for target in &self.plan.targets {
            let name = target.plugin();
            let subject = Subject {
                digest: digest(&fs_err::read(from.join(&name))?),
                name: name.clone(),
            };
            let materials = self.materials(*target, PLUGIN)?;
            let statement = statement::provenance(&subject, &self.build(&[*target], materials)?);
            let bundle = bundle::of_statement(signer, &statement)?;
            let file = to.join(format!("{name}.provenance.sigstore.json"));
            workspace::write_whole(&file, &serde_json::to_vec(&bundle)?)?;
        }
        Ok(())
    }

    fn sign_image(&self, layout: &Layout, signer: &Signer, image: &Shipped, created: &str) -> Result<()> {
        let targets: Vec<_> = self
            .plan
            .targets
            .iter()
            .copied()
            .filter(|target| target.edition.as_str() == image.edition)
            .collect();
        let index = layout
            .tagged(&image.tags[0])?
            .with_context(|| format!("the layout has no tag {:?}", image.tags[0]))?;
        let manifests: Vec<Descriptor> =
            serde_json::from_value(layout.manifest(&index.digest)?["manifests"].take())?;
        let mut all = Vec::new();
        for (target, manifest) in targets.iter().zip(&manifests) {
            let materials = self.materials(*target, &image.name)?;
            all.extend(materials.clone());
            let subject = Subject {
                name: image.repository.clone(),
                digest: manifest.digest.clone(),
            };
            let mut statements = vec![
                statement::new(&subject, statement::COSIGN_SIGN, &json!({})),
                statement::provenance(&subject, &self.build(&[*target], materials)?),
                statement::new(
                    &subject,
                    statement::CYCLONEDX,
                    &self.bom(*target, &image.name, "cdx")?,
                ),
                statement::new(
                    &subject,
                    statement::SPDX,
                    &self.bom(*target, &image.name, "spdx")?,
                ),
            ];
            if self
                .folder
                .join(target.boms())
                .join(format!("{}.vex.json", image.name))
                .exists()
            {
                let vex = self.bom(*target, &image.name, "vex")?;
                statements.push(statement::new(&subject, statement::OPENVEX, &vex));
            }
            attach::sign(layout, signer, &image.repository, manifest, &statements, created)?;
        }
        all.sort();
        all.dedup();
        let subject = Subject {
            name: image.repository.clone(),
            digest: index.digest.clone(),
        };
        let statements = [
            statement::new(&subject, statement::COSIGN_SIGN, &json!({})),
            statement::provenance(&subject, &self.build(&targets, all)?),
        ];
        attach::sign(layout, signer, &image.repository, &index, &statements, created)
    }

    fn materials(&self, target: Target, name: &str) -> Result<Vec<Material>> {
        serde_json::from_value(self.bom(target, name, "materials")?).context("a list of materials is damaged")
    }

    fn build(&self, targets: &[Target], materials: Vec<Material>) -> Result<Build> {
        let plan = &self.plan;
        Ok(Build {
            source: plan.source.clone(),
            commit: plan.commit.clone(),
            parameters: json!({
                "version": plan.version,
                "profile": if plan.is_dev { "dev" } else { "release" },
                "uncommittedChanges": plan.is_dirty,
                "targets": targets,
            }),
            tools: json!({ "toolchain": toolchain()? }),
            materials,
            started: self.started.clone(),
            finished: jiff::Timestamp::now().to_string(),
        })
    }
}

fn toolchain() -> Result<String> {
    xtask_image::process::Command::new("rustc")
        .arg("--version")
        .text()
}
