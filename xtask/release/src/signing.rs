//! The job that signs: it reads what other jobs have left, and runs nothing of it.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask_image::workspace;

use crate::artefacts::{BILLS, Kind};
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
        let shipped = folder::shipped(&self.folder)?;
        for name in IMAGES {
            let layout = self.copied("unsigned", name.as_str())?;
            for image in shipped.iter().filter(|image| image.name == name.as_str()) {
                self.sign_image(&layout, signer, image)?;
            }
        }
        for kind in Kind::ALL {
            let layout = self.copied("artefacts", kind.as_str())?;
            for artefact in shipped.iter().filter(|one| one.name == kind.as_str()) {
                let manifest = tagged(&layout, artefact)?;
                let statements = self.statements(artefact, &manifest, BILLS.as_ref(), &self.plan.targets)?;
                attach::sign(
                    &layout,
                    signer,
                    &artefact.repository,
                    &manifest,
                    &statements,
                    &self.created()?,
                )?;
            }
        }
        self.sign_files(signer)
    }

    fn copied(&self, from: &str, name: &str) -> Result<Layout> {
        folder::copy(
            &self.folder.join(from).join(name),
            &self.folder.join("images").join(name),
        )
    }

    fn sign_files(&self, signer: &Signer) -> Result<()> {
        let (from, to) = (self.folder.join("files"), self.folder.join("signatures"));
        if to.exists() {
            fs_err::remove_dir_all(&to)?;
        }
        for name in names(&from)? {
            let bundle = bundle::of_blob(signer, &fs_err::read(from.join(&name))?)?;
            workspace::write_whole(&verify::bundle_of(&to.join(&name)), &serde_json::to_vec(&bundle)?)?;
        }
        let provenance = |name: String, bills: &Path, of: &str, targets: &[Target]| -> Result<()> {
            let subject = Subject {
                digest: digest(&fs_err::read(from.join(&name))?),
                name: name.clone(),
            };
            let build = self.build(targets, self.materials(bills, of)?)?;
            let bundle = bundle::of_statement(signer, &statement::provenance(&subject, &build))?;
            let file = to.join(format!("{name}.provenance.sigstore.json"));
            workspace::write_whole(&file, &serde_json::to_vec(&bundle)?)
        };
        for target in &self.plan.targets {
            provenance(target.plugin(), &target.boms(), PLUGIN, &[*target])?;
        }
        for kind in Kind::ALL {
            let name = kind.archive(&self.plan.version);
            provenance(name, BILLS.as_ref(), kind.as_str(), &self.plan.targets)?;
        }
        Ok(())
    }

    fn sign_image(&self, layout: &Layout, signer: &Signer, image: &Shipped) -> Result<()> {
        let is_of = |target: &Target| image.edition.as_deref() == Some(target.edition.as_str());
        let targets: Vec<_> = self.plan.targets.iter().copied().filter(is_of).collect();
        let index = tagged(layout, image)?;
        let manifests: Vec<Descriptor> =
            serde_json::from_value(layout.manifest(&index.digest)?["manifests"].take())?;
        let mut all = Vec::new();
        for (target, manifest) in targets.iter().zip(&manifests) {
            all.extend(self.materials(&target.boms(), &image.name)?);
            let statements = self.statements(image, manifest, &target.boms(), &[*target])?;
            attach::sign(
                layout,
                signer,
                &image.repository,
                manifest,
                &statements,
                &self.created()?,
            )?;
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
        attach::sign(
            layout,
            signer,
            &image.repository,
            &index,
            &statements,
            &self.created()?,
        )
    }

    /// What is known of the manifest of an image or of another artefact, whose bills of materials are in `bills`.
    fn statements(
        &self,
        shipped: &Shipped,
        manifest: &Descriptor,
        bills: &Path,
        targets: &[Target],
    ) -> Result<Vec<Value>> {
        let subject = Subject {
            name: shipped.repository.clone(),
            digest: manifest.digest.clone(),
        };
        let bill = |end| self.bill(bills, &shipped.name, end);
        let materials = self.materials(bills, &shipped.name)?;
        let mut statements = vec![
            statement::new(&subject, statement::COSIGN_SIGN, &json!({})),
            statement::provenance(&subject, &self.build(targets, materials)?),
            statement::new(&subject, statement::CYCLONEDX, &bill("cdx")?),
            statement::new(&subject, statement::SPDX, &bill("spdx")?),
        ];
        if self
            .folder
            .join(bills)
            .join(format!("{}.vex.json", shipped.name))
            .exists()
        {
            statements.push(statement::new(&subject, statement::OPENVEX, &bill("vex")?));
        }
        for target in targets.iter().filter(|_| manifest.platform.is_some()) {
            let tests = self.json(&target.smoke())?;
            statements.push(statement::new(&subject, statement::TEST_RESULT, &tests["result"]));
            let evidence = &tests["fips"][&shipped.name];
            if !evidence.is_null() {
                statements.push(statement::new(&subject, statement::FIPS_EVIDENCE, evidence));
            }
        }
        Ok(statements)
    }

    fn created(&self) -> Result<String> {
        timestamp(self.plan.epoch)
    }

    fn materials(&self, bills: &Path, name: &str) -> Result<Vec<Material>> {
        serde_json::from_value(self.bill(bills, name, "materials")?).context("a list of materials is damaged")
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

/// The manifest or index that the first tag of what is shipped names.
fn tagged(layout: &Layout, shipped: &Shipped) -> Result<Descriptor> {
    let tag = &shipped.tags[0];
    layout
        .tagged(tag)?
        .with_context(|| format!("the layout has no tag {tag:?}"))
}

fn toolchain() -> Result<String> {
    xtask_image::process::Command::new("rustc")
        .arg("--version")
        .text()
}
