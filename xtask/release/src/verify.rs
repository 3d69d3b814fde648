//! Verification as a consumer does it: offline, with a public key.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::artefacts;
use crate::attach::{self, ENVELOPE, PREDICATE_TYPE, SIGNATURE, SIMPLE_SIGNING};
use crate::bundle;
use crate::keys::Verifier;
use crate::layout::{Descriptor, INDEX, Layout};
use crate::statement::{self, COSIGN_SIGN, CYCLONEDX, FIPS_EVIDENCE, OPENVEX, PROVENANCE, SPDX, TEST_RESULT};

/// What a signed manifest was found to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// `sha256:…`
    pub digest: String,
    /// `linux/amd64`, `index`, `chart`, or the type of another artefact.
    pub platform: String,
    /// Types of its signed statements, sorted.
    pub statements: Vec<String>,
    /// From which commit it was built.
    pub commit: String,
    /// Who built it.
    pub builder: String,
}

/// How much of an image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Manifests, signatures and statements; whoever pulls the layers checks their digests.
    Manifests,
    /// The layers too.
    Layers,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.statements.iter().map(|kind| short(kind)).collect();
        write!(
            f,
            "{}: signed; {}; built by {} from commit {}",
            self.platform,
            names.join(", "),
            self.builder,
            self.commit
        )
    }
}

/// What people call a type of statements.
fn short(kind: &str) -> &str {
    match kind {
        COSIGN_SIGN => "signature as a bundle",
        PROVENANCE => "SLSA provenance",
        CYCLONEDX => "CycloneDX",
        SPDX => "SPDX",
        OPENVEX => "OpenVEX",
        FIPS_EVIDENCE => "FIPS evidence",
        TEST_RESULT => "test result",
        other => other,
    }
}

/// Verifies what has this tag: the index of an image and the manifest of each platform, or the manifest of another artefact.
pub fn image(layout: &Layout, tag: &str, verifier: &Verifier, depth: Depth) -> Result<Vec<Verified>> {
    let index = layout
        .tagged(tag)?
        .with_context(|| format!("there is no image with tag {tag:?}"))?;
    let mut manifests: Vec<Descriptor> = Vec::new();
    if index.media_type == INDEX {
        manifests = serde_json::from_value(layout.manifest(&index.digest)?["manifests"].take())
            .with_context(|| format!("index {} is damaged", index.digest))?;
        ensure!(!manifests.is_empty(), "index {} lists no image", index.digest);
    }
    let mut found = Vec::new();
    for manifest in std::iter::once(&index).chain(&manifests) {
        let what = || format!("manifest {} of {tag}", manifest.digest);
        found.push(one(layout, manifest, verifier).with_context(what)?);
        if depth == Depth::Layers {
            blobs(layout, &manifest.digest).with_context(what)?;
        }
    }
    Ok(found)
}

/// Reads everything that a manifest names, which checks its digest.
fn blobs(layout: &Layout, digest: &str) -> Result<()> {
    let manifest = layout.manifest(digest)?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for blob in layers.chain(manifest.get("config")) {
        layout.read(blob["digest"].as_str().context("a blob has a digest")?)?;
    }
    Ok(())
}

fn one(layout: &Layout, manifest: &Descriptor, verifier: &Verifier) -> Result<Verified> {
    simple_signature(layout, &manifest.digest, verifier)?;
    let platform = what(layout, manifest)?;
    let statements = statements(layout, &manifest.digest, verifier)?;
    let kinds = |statement: &Value| statement["predicateType"].as_str().map(str::to_owned);
    let mut has: Vec<_> = statements.iter().filter_map(kinds).collect();
    has.sort();
    let wanted: &[&str] = if manifest.media_type == INDEX {
        &[COSIGN_SIGN, PROVENANCE]
    } else {
        &[COSIGN_SIGN, PROVENANCE, CYCLONEDX, SPDX]
    };
    for kind in wanted {
        ensure!(
            has.iter().any(|one| one == kind),
            "there is no signed statement of type {kind:?}"
        );
    }
    let provenance = statements
        .iter()
        .find(|statement| statement["predicateType"] == PROVENANCE)
        .context("there is no provenance")?;
    let text = |pointer: &str| {
        provenance
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Ok(Verified {
        digest: manifest.digest.clone(),
        platform,
        statements: has,
        commit: text("/predicate/buildDefinition/resolvedDependencies/0/digest/gitCommit")
            .context("the provenance names no commit")?,
        builder: text("/predicate/runDetails/builder/id").context("the provenance names no builder")?,
    })
}

/// What a manifest is of: `linux/amd64`, `index`, `chart`, or the type of another artefact.
fn what(layout: &Layout, descriptor: &Descriptor) -> Result<String> {
    if descriptor.media_type == INDEX {
        return Ok("index".to_owned());
    }
    if let Some(platform) = &descriptor.platform {
        let parts = [&platform["os"], &platform["architecture"]];
        return Ok(parts.map(|part| part.as_str().unwrap_or("?")).join("/"));
    }
    let manifest = layout.manifest(&descriptor.digest)?;
    let kinds = [&manifest["artifactType"], &manifest["config"]["mediaType"]];
    Ok(match kinds.into_iter().find_map(Value::as_str) {
        Some(artefacts::CHART) => "chart".to_owned(),
        kind => kind.unwrap_or("?").to_owned(),
    })
}

/// The layers of a manifest, each with its content; its configuration is read too, which checks it.
fn layers(layout: &Layout, digest: &str) -> Result<Vec<(Descriptor, Vec<u8>)>> {
    blobs(layout, digest)?;
    let mut manifest = layout.manifest(digest)?;
    let layers: Vec<Descriptor> =
        serde_json::from_value(manifest["layers"].take()).context("a manifest of signatures is damaged")?;
    let read = |layer: Descriptor| layout.read(&layer.digest).map(|content| (layer, content));
    layers.into_iter().map(read).collect()
}

/// The signature of cosign 2.
fn simple_signature(layout: &Layout, digest: &str, verifier: &Verifier) -> Result<()> {
    let manifest = layout
        .tagged(&attach::tag_of(digest, ".sig"))?
        .context("it is not signed: there is no tag .sig for it")?;
    let mut reason = None;
    for (layer, payload) in layers(layout, &manifest.digest)? {
        let signature = layer.annotations.get(SIGNATURE).map_or("", String::as_str);
        if layer.media_type != SIMPLE_SIGNING {
            continue;
        }
        match verifier.verify(signature, &payload) {
            Ok(()) => {
                let payload: Value =
                    serde_json::from_slice(&payload).context("the signed payload is no JSON")?;
                ensure!(
                    payload.pointer("/critical/image/docker-manifest-digest") == Some(&digest.into()),
                    "the signature in .sig is of another image"
                );
                return Ok(());
            }
            Err(error) => reason = Some(error),
        }
    }
    Err(reason.unwrap_or_else(|| anyhow::anyhow!("the tag .sig holds no signature")))
}

/// The statements of all bundles that refer to a manifest, and of the envelopes in `.att`, which must say the same.
fn statements(layout: &Layout, digest: &str, verifier: &Verifier) -> Result<Vec<Value>> {
    let referrers = layout
        .tagged(&attach::tag_of(digest, ""))?
        .context("nothing refers to it")?;
    let referrers: Vec<Descriptor> =
        serde_json::from_value(layout.manifest(&referrers.digest)?["manifests"].take())
            .context("the list of referrers is damaged")?;
    let mut statements = Vec::new();
    for referrer in &referrers {
        for (_, content) in layers(layout, &referrer.digest)? {
            let bundle: Value = serde_json::from_slice(&content).context("a bundle is no JSON")?;
            let statement = bundle::verify_statement(verifier, &bundle)?;
            check_subject(&statement, digest)?;
            let said = referrer.annotations.get(PREDICATE_TYPE).map(String::as_str);
            ensure!(
                said == statement["predicateType"].as_str(),
                "a bundle says that it holds {said:?}, but its statement is {}",
                statement["predicateType"]
            );
            statements.push(statement);
        }
    }
    let Some(attestations) = layout.tagged(&attach::tag_of(digest, ".att"))? else {
        bail!("there is no tag .att for it")
    };
    for (layer, content) in layers(layout, &attestations.digest)? {
        ensure!(
            layer.media_type == ENVELOPE,
            "a layer of .att is {:?}",
            layer.media_type
        );
        let envelope = serde_json::from_slice(&content).context("an envelope is no JSON")?;
        let statement = bundle::verify_envelope(verifier, &envelope)?;
        check_subject(&statement, digest)?;
        ensure!(
            statements.contains(&statement),
            "an envelope in .att is not among the bundles"
        );
    }
    Ok(statements)
}

fn check_subject(statement: &Value, digest: &str) -> Result<()> {
    ensure!(
        statement::is_about(statement, digest),
        "a signed statement is about another artefact: {}",
        statement["subject"]
    );
    Ok(())
}

/// Verifies a file by the bundle beside it, or in the folder `signatures` of a release.
pub fn file(path: &Path, verifier: &Verifier) -> Result<()> {
    let beside = bundle_of(path);
    let elsewhere = path.parent().and_then(Path::parent).zip(path.file_name());
    let elsewhere = elsewhere.map(|(release, name)| bundle_of(&release.join("signatures").join(name)));
    let bundle = match elsewhere {
        Some(elsewhere) if !beside.exists() && elsewhere.exists() => elsewhere,
        _ => beside,
    };
    file_with(path, &bundle, verifier)
}

/// Verifies a file by a bundle.
pub fn file_with(path: &Path, bundle: &Path, verifier: &Verifier) -> Result<()> {
    let text =
        fs_err::read(bundle).with_context(|| format!("{path:?} is not signed: it needs {bundle:?}"))?;
    let value = serde_json::from_slice(&text).with_context(|| format!("{bundle:?} is no JSON"))?;
    bundle::verify_blob(verifier, &value, &fs_err::read(path)?).with_context(|| format!("file {path:?}"))
}

/// Where the bundle of a file is.
pub fn bundle_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sigstore.json");
    name.into()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::keys::Signer;
    use crate::layout::MANIFEST;
    use crate::statement::Subject;
    use serde_json::json;

    pub const TAG: &str = "1.0";

    /// A signed index with an image for one platform, whose statements are of `kinds`.
    pub fn signed(folder: &Path, signer: &Signer, kinds: &[&str]) -> (Layout, Descriptor) {
        let layout = Layout::create(folder).unwrap();
        let layer = layout.add("application/octet-stream", b"layer").unwrap();
        let config = layout
            .add_json("application/vnd.oci.image.config.v1+json", &json!({}))
            .unwrap();
        let manifest = json!({ "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut manifest = layout.add_json(MANIFEST, &manifest).unwrap();
        manifest.platform = Some(json!({ "os": "linux", "architecture": "arm64" }));
        let index = layout
            .add_json(INDEX, &json!({ "mediaType": INDEX, "manifests": [manifest] }))
            .unwrap();
        layout.name(index.clone(), Some(TAG)).unwrap();
        for subject in [&manifest, &index] {
            attach(&layout, signer, subject, kinds);
        }
        (layout, manifest)
    }

    fn attach(layout: &Layout, signer: &Signer, subject: &Descriptor, kinds: &[&str]) {
        let about = Subject {
            name: "x/y".to_owned(),
            digest: subject.digest.clone(),
        };
        let predicate = json!({
            "buildDefinition": { "resolvedDependencies": [{ "digest": { "gitCommit": "c0ffee" } }] },
            "runDetails": { "builder": { "id": "me" } },
        });
        let statements: Vec<_> = kinds
            .iter()
            .map(|kind| statement::new(&about, kind, &predicate))
            .collect();
        attach::sign(
            layout,
            signer,
            "x/y",
            subject,
            &statements,
            "2026-01-01T00:00:00Z",
        )
        .unwrap();
    }

    pub const ALL: [&str; 4] = [COSIGN_SIGN, PROVENANCE, CYCLONEDX, SPDX];

    fn verify(layout: &Layout, signer: &Signer) -> Result<Vec<Verified>> {
        image(
            layout,
            TAG,
            &Verifier::from_pem(signer.public()).unwrap(),
            Depth::Layers,
        )
    }

    fn reason(outcome: Result<Vec<Verified>>) -> String {
        format!("{:#}", outcome.unwrap_err())
    }

    #[test]
    fn an_image_is_told_with_its_commit_and_builder() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::fresh();
        let (layout, _) = signed(folder.path(), &signer, &ALL);
        let found = verify(&layout, &signer).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[1].to_string(),
            "linux/arm64: signed; CycloneDX, signature as a bundle, SLSA provenance, SPDX; built by me from commit c0ffee"
        );
    }

    #[test]
    fn another_key_and_a_missing_statement_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::fresh();
        let (layout, _) = signed(folder.path(), &signer, &ALL);
        assert!(reason(verify(&layout, &Signer::fresh())).contains("not one of this key"));
        let (layout, _) = signed(folder.path(), &signer, &[COSIGN_SIGN, PROVENANCE, SPDX]);
        assert!(reason(verify(&layout, &signer)).contains(CYCLONEDX));
        let (layout, _) = signed(folder.path(), &signer, &[COSIGN_SIGN, SPDX]);
        assert!(reason(verify(&layout, &signer)).contains(PROVENANCE));
    }

    #[test]
    fn an_image_that_is_not_signed_is_refused_also_beside_one_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::fresh();
        let (layout, manifest) = signed(folder.path(), &signer, &ALL);
        let other = layout
            .add_json(INDEX, &json!({ "manifests": [manifest], "more": 1 }))
            .unwrap();
        layout.name(other, Some(TAG)).unwrap();
        assert!(reason(verify(&layout, &signer)).contains("there is no tag .sig"));
    }

    #[test]
    fn signatures_of_another_image_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::fresh();
        let (layout, manifest) = signed(folder.path(), &signer, &ALL);
        let index = layout.tagged(TAG).unwrap().unwrap();
        for (end, wanted) in [
            (".sig", "of another image"),
            ("", "another artefact"),
            (".att", "another artefact"),
        ] {
            let (layout, _) = signed(folder.path(), &signer, &ALL);
            let moved = layout
                .tagged(&attach::tag_of(&manifest.digest, end))
                .unwrap()
                .unwrap();
            layout
                .name(moved, Some(&attach::tag_of(&index.digest, end)))
                .unwrap();
            assert!(reason(verify(&layout, &signer)).contains(wanted), "{end:?}");
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::fresh();
        let (layout, _) = signed(folder.path(), &signer, &ALL);
        verify(&layout, &signer).unwrap();
        for entry in fs_err::read_dir(folder.path().join("blobs/sha256")).unwrap() {
            let file = entry.unwrap().path();
            let before = fs_err::read(&file).unwrap();
            let mut after = before.clone();
            after[0] ^= 1;
            fs_err::write(&file, after).unwrap();
            assert!(verify(&layout, &signer).is_err(), "{file:?}");
            fs_err::write(&file, before).unwrap();
        }
    }

    #[test]
    fn a_file_is_verified_by_the_bundle_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::fresh();
        let verifier = Verifier::from_pem(signer.public()).unwrap();
        let path = folder.path().join("kubectl-gt");
        fs_err::write(&path, "program").unwrap();
        assert!(
            file(&path, &verifier)
                .unwrap_err()
                .to_string()
                .contains("is not signed")
        );
        let bundle = bundle::of_blob(&signer, b"program").unwrap();
        fs_err::write(bundle_of(&path), bundle.to_string()).unwrap();
        file(&path, &verifier).unwrap();
        fs_err::write(&path, "Program").unwrap();
        assert!(file(&path, &verifier).is_err());
    }
}
