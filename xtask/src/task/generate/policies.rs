//! `openshift/`: the chart's image policies for who installs without Helm.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask_image::tools::{self, Tool};

use crate::process::Command;
use crate::{progress, workspace};

/// The chart's value that renders a policy, the file that it is written to, and what is to be put in place of the key.
const POLICIES: [(&str, &str, &str); 3] = [
    ("kyverno", "kyverno.yaml", PEM),
    ("policyController", "policy-controller.yaml", PEM),
    ("openshift", "cluster-image-policy.yaml", BASE64),
];

const PEM: &str = "PUBLIC_KEY";
const BASE64: &str = "PUBLIC_KEY_BASE64";

/// A key for the chart's schema, as text and in base64; the files have names in its place.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n";
const KEY_BASE64: &str = "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0tCg==";

/// Writes the policies below `target`, and says where.
pub fn write() -> Result<PathBuf> {
    let folder = workspace::root().join("target/generated/policies");
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    let [helm] = tools::ensure([Tool::Helm])?;
    let key = folder.join("key");
    workspace::write_whole(&key, KEY.as_bytes())?;
    let policies = folder.join("openshift");
    progress::step("write openshift", || {
        for (value, file, place) in POLICIES {
            let text = plain(&render(&helm, &key, value)?, place);
            workspace::write_whole(&policies.join(file), text.as_bytes())?;
        }
        Ok(())
    })?;
    Ok(policies)
}

fn render(helm: &Path, key: &Path, value: &str) -> Result<String> {
    let command = Command::new(helm)
        .args(["template", "gastown-operator", "helm/gastown-operator"])
        .args(["--show-only", "templates/imagepolicies.yaml"])
        .args(["--set", &format!("admissionPolicies.{value}=true"), "--set-file"])
        .arg(format!("imagePolicy.keys[0]={}", key.display()));
    command.current_dir(workspace::root()).text()
}

/// What the chart renders, without labels of Helm, and with `place` instead of the key.
fn plain(rendered: &str, place: &str) -> String {
    let with = match place {
        BASE64 => "the output of `base64 --wrap=0 cosign.pub`",
        _ => "the text of cosign.pub, each end of a line as \\n",
    };
    let mut text =
        format!("# Written by `cargo xtask generate` from the chart. Put in place of {place}: {with}.\n");
    for line in rendered.lines() {
        let is_helms = line == "---" || line.starts_with("# Source:") || line.trim() == "labels:";
        if !is_helms && !line.starts_with("    app.kubernetes.io/") && !line.starts_with("    helm.sh/") {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text.replace(&KEY.replace('\n', "\\n"), PEM)
        .replace(KEY_BASE64, BASE64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_a_place_for_the_key_and_nothing_of_helm() {
        let rendered = "---\n# Source: x\nkind: A\nmetadata:\n  name: a\n  labels:\n    app.kubernetes.io/name: a\n    helm.sh/chart: a-1\nspec:\n  key: \"-----BEGIN PUBLIC KEY-----\\n-----END PUBLIC KEY-----\\n\"\n  data: LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0tCg==\n";
        let text = plain(rendered, PEM);
        let (header, rest) = text.split_once('\n').unwrap();
        assert!(header.contains("Put in place of PUBLIC_KEY: "), "{header}");
        assert_eq!(
            rest,
            "kind: A\nmetadata:\n  name: a\nspec:\n  key: \"PUBLIC_KEY\"\n  data: PUBLIC_KEY_BASE64\n"
        );
    }
}
