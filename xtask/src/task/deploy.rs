//! Images and chart onto the cluster: what the demo and the end-to-end tests share.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use sha2::{Digest as _, Sha256};

use super::cluster::{self, Cluster};
use super::image::{self, BuiltImage};
use crate::{progress, workspace};

/// The chart, and the namespace and name it is installed under, as the README does.
const CHART: &str = "helm/gastown-operator";
const RELEASE: &str = "gastown-operator";
const NAMESPACE: &str = "gastown-system";

/// A cluster with the operator on it.
pub struct Deployed {
    /// The cluster.
    pub cluster: Cluster,
    images: Images,
}

struct Images {
    operator: BuiltImage,
    agent: BuiltImage,
    testbed: BuiltImage,
}

/// Brings the cluster up and builds the images at the same time, then installs the chart with `values`, a file below
/// the root.
pub fn ensure(values: &str) -> Result<Deployed> {
    let (cluster, images) = thread::scope(|scope| {
        let cluster = scope.spawn(cluster::ensure_up);
        let images = build_images();
        (
            cluster
                .join()
                .map_err(|_| anyhow!("bringing the cluster up panicked")),
            images,
        )
    });
    let deployed = Deployed {
        cluster: cluster??,
        images: images?,
    };
    deployed.load_images()?;
    deployed.install(values)?;
    Ok(deployed)
}

fn build_images() -> Result<Images> {
    let build = |name| image::build(name, image::Profile::Dev);
    Ok(Images {
        operator: build(image::Name::Operator)?,
        agent: build(image::Name::PolecatAgent)?,
        testbed: build(image::Name::Testbed)?,
    })
}

impl Deployed {
    /// The image of the git host and the scripted model, by digest.
    pub fn testbed_image(&self) -> String {
        self.images.testbed.reference()
    }

    /// What the end-to-end tests are told by environment variables.
    pub fn environment(&self) -> Result<Vec<(&'static str, String)>> {
        let audit = self
            .cluster
            .audit_log()
            .context("the end-to-end tests need the kind cluster's audit log")?;
        Ok(vec![
            ("GASTOWN_TESTBED_IMAGE", self.images.testbed.reference()),
            ("GASTOWN_AGENT_IMAGE", self.images.agent.reference()),
            ("GASTOWN_AUDIT_LOG", audit.display().to_string()),
        ])
    }

    fn load_images(&self) -> Result<()> {
        for image in [&self.images.operator, &self.images.agent, &self.images.testbed] {
            let mark = self.loaded_mark(image)?;
            if !mark.exists() {
                self.cluster.load_image(&image.archive)?;
                fs_err::write(mark, "")?;
            }
        }
        Ok(())
    }

    /// A file that exists when this very cluster has the image: a new cluster has a new kubeconfig.
    fn loaded_mark(&self, image: &BuiltImage) -> Result<PathBuf> {
        let cluster = Sha256::digest(fs_err::read(&self.cluster.kubeconfig)?);
        let folder = workspace::root()
            .join("target/cluster/loaded")
            .join(format!("{cluster:x}"));
        fs_err::create_dir_all(&folder)?;
        Ok(folder.join(image.digest.replace(':', "-")))
    }

    /// Helm installs CRDs but never changes them, so they are applied before it.
    fn install(&self, values: &str) -> Result<()> {
        let chart = workspace::root().join(CHART);
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename"];
        self.cluster
            .kubectl()?
            .args(apply)
            .arg(chart.join("crds"))
            .output()?;
        progress::step("install the chart", || self.helm(&chart, values))
    }

    fn helm(&self, chart: &Path, values: &str) -> Result<()> {
        let set = |path: &str, value: &str| ["--set-string".to_owned(), format!("{path}={value}")];
        let (operator, agent) = (&self.images.operator, &self.images.agent);
        let helm = self
            .cluster
            .helm()?
            .args(["upgrade", "--install", RELEASE])
            .arg(chart);
        helm.args([
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--skip-crds",
            "--wait",
            "--timeout",
            "120s",
        ])
        .arg("--values")
        .arg(workspace::root().join(values))
        .args(set("image.repository", &operator.name))
        .args(set("image.digest", &operator.digest))
        .args(set("agentImage.repository", &agent.name))
        .args(set("agentImage.digest", &agent.digest))
        .output()?;
        Ok(())
    }
}
