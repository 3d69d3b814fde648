//! What stands on the stage: a namespace with git host, scripted model, secrets, a Rig and a Polecat.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine;
use crate::process::Command;
use crate::task::deploy::Deployed;
use crate::{progress, workspace};

/// The namespace of the demonstration; it enforces Pod Security `restricted`.
pub const NAMESPACE: &str = "gastown-demo";
/// The rig of the demonstration.
pub const RIG: &str = "calculator";
/// The polecat of the demonstration.
pub const POLECAT: &str = "furiosa";

/// Who answers the agent.
pub enum Model {
    /// A script that fixes the bug.
    Scripted,
    /// Anthropic.
    Real {
        /// The API key.
        key: String,
    },
}

/// The demonstration's namespace.
pub struct Scene<'a> {
    deployed: &'a Deployed,
    model: &'a Model,
}

impl<'a> Scene<'a> {
    /// Sets everything up but the Rig and the Polecat; what an earlier demonstration left is removed first.
    pub fn set(deployed: &'a Deployed, model: &'a Model) -> Result<Self> {
        let scene = Self { deployed, model };
        progress::step("set up a git host with a small project", || {
            scene.strike()?;
            scene.apply(&namespace())?;
            let keys = TempDir::new().context("failed to make a folder for keys")?;
            scene.make_secrets(keys.path())?;
            scene.start_testbed()
        })?;
        Ok(scene)
    }

    /// Applies the Rig and the Polecat.
    pub fn sling(&self) -> Result<()> {
        progress::say("kubectl apply: Rig \"calculator\" and Polecat \"furiosa\"");
        self.apply(&rig())?;
        self.apply(&polecat(self.model))
    }

    /// Removes the Rig and the namespace with all that is in it. The namespace goes last: without it nothing is left.
    pub fn strike(&self) -> Result<()> {
        let there = [
            "get",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--output",
            "name",
        ];
        if self.kubectl()?.args(there).text()?.is_empty() {
            return Ok(());
        }
        for what in [
            ["polecats", "--all"],
            ["rig", "calculator"],
            ["namespace", NAMESPACE],
        ] {
            let delete = self.kubectl()?.arg("delete").args(what);
            delete.args(["--ignore-not-found", "--wait"]).output()?;
        }
        Ok(())
    }

    /// `kubectl` in the demonstration's namespace.
    pub fn kubectl(&self) -> Result<Command> {
        Ok(self.deployed.cluster.kubectl()?.args(["--namespace", NAMESPACE]))
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl()?
            .args(["apply", "--filename", "-"])
            .input(object.to_string())
            .output()
            .map(drop)
    }

    fn make_secrets(&self, keys: &Path) -> Result<()> {
        machine::ensure(&["ssh-keygen"])?;
        ssh_key(&keys.join("ssh_host_ed25519_key"))?;
        ssh_key(&keys.join("ssh-privatekey"))?;
        fs_err::copy(keys.join("ssh-privatekey.pub"), keys.join("authorized_keys"))?;
        let host_key = fs_err::read_to_string(keys.join("ssh_host_ed25519_key.pub"))?;
        fs_err::write(keys.join("known_hosts"), format!("testbed {host_key}"))?;
        let certificate = rcgen::generate_simple_self_signed(["testbed".to_owned()])?;
        fs_err::write(keys.join("tls.crt"), certificate.cert.pem())?;
        fs_err::write(keys.join("tls.key"), certificate.signing_key.serialize_pem())?;
        fs_err::write(keys.join("htpasswd"), "git:unused\n")?;
        let model_key = match self.model {
            Model::Scripted => "key-of-the-scripted-model",
            Model::Real { key } => key,
        };
        fs_err::write(keys.join("model-key"), "key-of-the-scripted-model")?;
        fs_err::write(keys.join("ANTHROPIC_API_KEY"), model_key)?;
        self.secret(
            keys,
            "testbed-keys",
            &[
                "ssh_host_ed25519_key",
                "authorized_keys",
                "tls.crt",
                "tls.key",
                "htpasswd",
                "model-key",
            ],
        )?;
        self.secret(keys, "git-creds", &["ssh-privatekey", "known_hosts"])?;
        self.secret(keys, "claude-creds", &["ANTHROPIC_API_KEY"])
    }

    fn secret(&self, folder: &Path, name: &str, keys: &[&str]) -> Result<()> {
        let files = keys
            .iter()
            .map(|key| format!("--from-file={}", folder.join(key).display()));
        self.kubectl()?
            .args(["create", "secret", "generic", name])
            .args(files)
            .output()
            .map(drop)
    }

    fn start_testbed(&self) -> Result<()> {
        let tests = workspace::root().join("tests");
        for (name, folder) in [("testbed-project", "project"), ("testbed-scripts", "scripts")] {
            let from = format!("--from-file={}", tests.join(folder).display());
            self.kubectl()?
                .args(["create", "configmap", name, &from])
                .output()?;
        }
        let manifest = fs_err::read_to_string(tests.join("testbed/testbed.yaml"))?;
        let manifest = manifest.replace("TESTBED_IMAGE", &self.deployed.testbed_image);
        self.kubectl()?
            .args(["apply", "--filename", "-"])
            .input(manifest)
            .output()?;
        let wait = ["wait", "pod/testbed", "--for=condition=Ready", "--timeout=120s"];
        self.kubectl()?.args(wait).output().map(drop)
    }
}

fn ssh_key(path: &Path) -> Result<()> {
    Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f"])
        .arg(path)
        .run()
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    })
}

fn rig() -> Value {
    json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Rig",
        "metadata": {"name": "calculator"},
        "spec": {
            "gitURL": "git@testbed:/srv/git/calculator.git",
            "beadsPrefix": "calc",
            "gitSecretRef": {"name": "git-creds"},
            "claudeCredsSecretRef": {"name": "claude-creds"},
        },
    })
}

/// The bead's text is in the project's `.beads/issues.jsonl`; it selects the script.
fn polecat(model: &Model) -> Value {
    let mut polecat = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Polecat",
        "metadata": {"name": POLECAT, "namespace": NAMESPACE},
        "spec": {
            "rig": "calculator",
            "desiredState": "Working",
            "beadID": "calc-1",
            "agentConfig": {"model": "claude-sonnet-4-5"},
            "budget": {"usd": 5.0},
        },
    });
    if let Model::Scripted = model {
        polecat["spec"]["agentConfig"]["modelProvider"] = json!({"endpoint": "http://testbed:8080"});
    }
    polecat
}
