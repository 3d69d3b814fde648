//! What is attached to an image in a layout: signatures and attestations, as cosign 2 and 3 look for them.
//!
//! cosign 2 and oc-mirror read the tags `sha256-….sig` and `….att`; cosign 3 reads bundles that refer to the image
//! (<https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md>). Where a registry does not list what refers to a
//! manifest, the tag `sha256-…` does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bundle;
use crate::keys::Signer;
use crate::layout::{Descriptor, INDEX, Layout, MANIFEST};
use crate::statement::COSIGN_SIGN;

/// Media type of what cosign 2 signs.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where a layer has its signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Media type of an attestation of cosign 2.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The annotation of a bundle that says of what type its statement is.
pub const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The tag that is derived from a digest: `sha256-…`, with `.sig` or `.att` behind it for those of cosign 2.
pub fn tag_of(digest: &str, end: &str) -> String {
    format!("{}{end}", digest.replace(':', "-"))
}

/// Signs `subject`, known as `repository`, and attaches the signature and signed `statements`, of type and content.
pub fn sign(
    layout: &Layout,
    signer: &Signer,
    repository: &str,
    subject: &Descriptor,
    statements: &[Value],
    created: &str,
) -> Result<()> {
    let payload = serde_json::to_vec(&json!({
        "critical": {
            "identity": { "docker-reference": repository },
            "image": { "docker-manifest-digest": subject.digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    }))?;
    let mut layer = layout.add(SIMPLE_SIGNING, &payload)?;
    layer.annotations = BTreeMap::from([(SIGNATURE.to_owned(), signer.sign(&payload)?)]);
    let signature = tagged(layout, &[layer])?;
    layout.name(signature, Some(&tag_of(&subject.digest, ".sig")))?;

    let (mut envelopes, mut referrers) = (Vec::new(), Vec::new());
    for statement in statements {
        let kind = statement["predicateType"]
            .as_str()
            .context("a statement has a type")?;
        let bundle = bundle::of_statement(signer, statement)?;
        referrers.push(referrer(layout, subject, kind, &bundle, created)?);
        if kind != COSIGN_SIGN {
            let envelope = serde_json::to_vec(&bundle["dsseEnvelope"])?;
            let mut layer = layout.add(ENVELOPE, &envelope)?;
            layer.annotations = BTreeMap::from([
                ("predicateType".to_owned(), kind.to_owned()),
                // cosign 2 asks for the annotation; the signature is in the envelope.
                (SIGNATURE.to_owned(), String::new()),
            ]);
            envelopes.push(layer);
        }
    }
    if !envelopes.is_empty() {
        let attestations = tagged(layout, &envelopes)?;
        layout.name(attestations, Some(&tag_of(&subject.digest, ".att")))?;
    }
    for referrer in &referrers {
        layout.name(bare(referrer), None)?;
    }
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": referrers });
    let list = layout.add_json(INDEX, &list)?;
    layout.name(list, Some(&tag_of(&subject.digest, "")))
}

/// The descriptor of a manifest alone: what a list of referrers says of it does not belong into a layout's index.
fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor {
        annotations: BTreeMap::new(),
        ..descriptor.clone()
    }
}

/// A manifest as cosign 2 writes it, of an image whose layers are signatures or attestations.
fn tagged(layout: &Layout, layers: &[Descriptor]) -> Result<Descriptor> {
    let ids: Vec<_> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let config = layout.add_json(
        CONFIG,
        &json!({
            "architecture": "", "os": "", "config": {},
            "created": "0001-01-01T00:00:00Z",
            "history": vec![json!({ "created": "0001-01-01T00:00:00Z" }); layers.len()],
            "rootfs": { "type": "layers", "diff_ids": ids },
        }),
    )?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    layout.add_json(MANIFEST, &manifest)
}

/// A manifest that refers to `subject` and holds a bundle.
fn referrer(
    layout: &Layout,
    subject: &Descriptor,
    kind: &str,
    signed: &Value,
    created: &str,
) -> Result<Descriptor> {
    let layer = layout.add(bundle::MEDIA_TYPE, &serde_json::to_vec(signed)?)?;
    let annotations = BTreeMap::from([
        (
            "dev.sigstore.bundle.content".to_owned(),
            "dsse-envelope".to_owned(),
        ),
        (PREDICATE_TYPE.to_owned(), kind.to_owned()),
        ("org.opencontainers.image.created".to_owned(), created.to_owned()),
    ]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": bundle::MEDIA_TYPE,
        "config": layout.add(EMPTY, b"{}")?,
        "layers": [layer],
        "subject": { "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size },
        "annotations": annotations,
    });
    let mut descriptor = layout.add_json(MANIFEST, &manifest)?;
    descriptor.artifact_type = Some(bundle::MEDIA_TYPE.to_owned());
    descriptor.annotations = annotations;
    Ok(descriptor)
}
