//! What every image that ships must be like, whoever put it together: looked at in its bytes.
//!
//! The rules are those of Red Hat's preflight that can be checked offline (licence, labels, user, number of layers:
//! <https://github.com/redhat-openshift-ecosystem/openshift-preflight>), and the size bar of the design.

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use serde_json::Value;
use xtask_image::Name;

use crate::layout::Layout;

/// The operator's image may have so many bytes, compressed.
const OPERATOR_BYTES: u64 = 25_000_000;
/// preflight refuses as many layers as that.
const LAYERS: usize = 40;
const LABELS: [&str; 6] = [
    "title",
    "description",
    "version",
    "source",
    "licenses",
    "revision",
];

/// What is looked at of an image.
#[derive(Debug, Default)]
struct Looked {
    user: String,
    labels: BTreeSet<String>,
    layers: usize,
    bytes: u64,
    has_licence: bool,
    /// Files with a set-user-ID or set-group-ID bit.
    privileged: Vec<String>,
}

/// Fails with everything that is wrong with the image whose manifest has this digest.
pub fn check(layout: &Layout, name: Name, digest: &str, is_trial: bool) -> Result<()> {
    let mut looked = look(layout, digest)?;
    if is_trial {
        // What tests compile is not optimised.
        looked.bytes = 0;
    }
    let problems = problems(name, &looked);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("image {name} must not ship: {}", problems.join("; "))
}

fn look(layout: &Layout, digest: &str) -> Result<Looked> {
    let manifest = layout.manifest(digest)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let config = layout.manifest(&text(&manifest["config"]["digest"]))?;
    let mut looked = Looked {
        user: text(&config["config"]["User"]),
        ..Looked::default()
    };
    let labels = config["config"]["Labels"].as_object();
    looked.labels = labels
        .into_iter()
        .flat_map(|labels| labels.keys().cloned())
        .collect();
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        let bytes = layout.read(&text(&layer["digest"]))?;
        looked.layers += 1;
        looked.bytes += bytes.len() as u64;
        entries(GzDecoder::new(&*bytes), &mut looked)
            .with_context(|| format!("layer {}", layer["digest"]))?;
    }
    Ok(looked)
}

fn entries(layer: impl Read, looked: &mut Looked) -> Result<()> {
    for entry in tar::Archive::new(layer)
        .entries()
        .context("the layer is damaged")?
    {
        let entry = entry.context("the layer is damaged")?;
        let path = entry
            .path()
            .context("the layer is damaged")?
            .display()
            .to_string();
        let mode = entry.header().mode().context("the layer is damaged")?;
        looked.has_licence |= path.starts_with("licenses/") && entry.size() > 0;
        if mode & 0o6000 != 0 {
            looked.privileged.push(path);
        }
    }
    Ok(())
}

fn problems(name: Name, looked: &Looked) -> Vec<String> {
    let mut problems = Vec::new();
    let user = looked.user.split(':').next().unwrap_or_default();
    if user.parse::<u32>().ok().is_none_or(|user| user == 0) {
        problems.push(format!(
            "its user is {:?}, not a number other than 0",
            looked.user
        ));
    }
    let is_missing = |label: &&&str| {
        !looked
            .labels
            .contains(&format!("org.opencontainers.image.{label}"))
    };
    for label in LABELS.iter().filter(is_missing) {
        problems.push(format!("it has no label \"org.opencontainers.image.{label}\""));
    }
    if !looked.has_licence {
        problems.push("it has no licence below /licenses".to_owned());
    }
    if looked.layers >= LAYERS {
        problems.push(format!(
            "it has {} layers; fewer than {LAYERS} are allowed",
            looked.layers
        ));
    }
    for path in &looked.privileged {
        problems.push(format!("/{path} has a set-user-ID or set-group-ID bit"));
    }
    if name == Name::Operator && looked.bytes > OPERATOR_BYTES {
        problems.push(format!(
            "it has {} bytes; at most {OPERATOR_BYTES} are allowed",
            looked.bytes
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Looked {
        Looked {
            user: "65532:0".to_owned(),
            labels: LABELS
                .map(|label| format!("org.opencontainers.image.{label}"))
                .into(),
            layers: 3,
            bytes: OPERATOR_BYTES,
            has_licence: true,
            privileged: Vec::new(),
        }
    }

    #[test]
    fn each_rule_is_told_apart() {
        assert_eq!(problems(Name::Operator, &good()), [""; 0]);
        for user in ["", "0", "0:0", "root", "nonroot:0"] {
            let looked = Looked {
                user: user.to_owned(),
                ..good()
            };
            assert_eq!(problems(Name::Operator, &looked).len(), 1, "{user:?}");
        }
        let bad = Looked {
            layers: LAYERS,
            bytes: OPERATOR_BYTES + 1,
            has_licence: false,
            privileged: vec!["usr/bin/su".to_owned()],
            ..good()
        };
        assert_eq!(problems(Name::Operator, &bad).len(), 4);
        assert_eq!(
            problems(Name::PolecatAgent, &bad).len(),
            3,
            "the agents are large"
        );
        let unlabelled = Looked {
            labels: BTreeSet::new(),
            ..good()
        };
        assert_eq!(problems(Name::Operator, &unlabelled).len(), LABELS.len());
    }

    #[test]
    fn bits_and_licences_are_read_from_the_layer() {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, mode, content) in [
            ("licenses/LICENSE", 0o644, "text"),
            ("usr/bin/su", 0o4755, ""),
            ("tmp", 0o1777, ""),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        let mut looked = Looked::default();
        entries(&*builder.into_inner().unwrap(), &mut looked).unwrap();
        assert!(looked.has_licence);
        assert_eq!(looked.privileged, ["usr/bin/su"]);
    }
}
