//! Images and chart onto the cluster: what the demo and the end-to-end tests share.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result, anyhow};
use sha2::{Digest as _, Sha256};

use super::cluster::{self, Cluster};
use super::install;
use crate::tools::{self, Tool};
use crate::{progress, workspace};
use xtask_image::{self as image, BuiltImage, Name, Profile, Programs};

/// The chart, and the namespace and name it is installed under, as the README does.
const CHART: &str = "helm/gastown-operator";
const RELEASE: &str = "gastown-operator";
const NAMESPACE: &str = "gastown-system";

/// The images of a polecat's world.
const IMAGES: [Name; 3] = [Name::Operator, Name::PolecatAgent, Name::Testbed];

/// The images on disk, and the programs that they were made of.
pub struct Built {
    programs: Programs,
    operator: BuiltImage,
    agent: BuiltImage,
    testbed: BuiltImage,
    /// See [`Built::path`].
    path: Mutex<Option<String>>,
}

/// A cluster that has the images.
pub struct Deployed {
    /// The cluster.
    pub cluster: Cluster,
    /// The image of the git host and the scripted model, by digest.
    pub testbed_image: String,
    agent_image: String,
    operator_image: String,
    built: Arc<Built>,
}

/// Brings the cluster up, builds helm and builds the images at the same time, then gives the cluster the images.
pub fn images() -> Result<Deployed> {
    let (cluster, images) = thread::scope(|scope| {
        let cluster = progress::spawn(scope, || {
            let cluster = cluster::ensure_up(cluster::Site::Shared)?;
            // Needed last, and minutes of compilation on a new machine.
            tools::ensure([Tool::Helm])?;
            Ok(cluster)
        });
        let layers = progress::spawn(scope, prepare);
        let images = compile().and_then(build);
        (
            joined(cluster, "bringing the cluster up"),
            joined(layers, "making layers").and(images),
        )
    });
    deliver_all(cluster?, &Arc::new(images?))
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>, what: &str) -> Result<T> {
    thread.join().map_err(|_| anyhow!("{what} panicked"))?
}

/// Compiles every program of the workspace as tests do.
pub fn compile() -> Result<Programs> {
    progress::step("compile the programs", || image::compile(&[], Profile::Dev))
}

/// Makes those layers of the images that need no program.
pub fn prepare() -> Result<()> {
    IMAGES.into_iter().try_for_each(image::prepare)
}

/// Puts the images together.
pub fn build(programs: Programs) -> Result<Built> {
    let build = |name| image::assemble(name, Profile::Dev, &programs);
    let [operator, agent, testbed] = IMAGES.map(build);
    Ok(Built {
        operator: operator?,
        agent: agent?,
        testbed: testbed?,
        programs,
        path: Mutex::default(),
    })
}

/// Gives the cluster the images.
pub fn deliver_all(cluster: Cluster, built: &Arc<Built>) -> Result<Deployed> {
    Ok(Deployed {
        operator_image: deliver(&cluster, &built.operator)?,
        agent_image: deliver(&cluster, &built.agent)?,
        testbed_image: deliver(&cluster, &built.testbed)?,
        built: built.clone(),
        cluster,
    })
}

/// Gives the cluster an image it does not have yet, and returns the name by digest.
///
/// What this very cluster was given is remembered under a key made of its kubeconfig, which a new cluster has anew.
fn deliver(cluster: &Cluster, image: &BuiltImage) -> Result<String> {
    let key = Sha256::digest(fs_err::read(&cluster.kubeconfig)?);
    let folder = workspace::root()
        .join("target/cluster/delivered")
        .join(format!("{key:x}"));
    fs_err::create_dir_all(&folder)?;
    let mark = folder.join(image.digest.replace(':', "-"));
    if mark.exists() {
        return Ok(fs_err::read_to_string(mark)?);
    }
    let reference = cluster.deliver_image(&image.archive, &image.name, &image.digest)?;
    fs_err::write(mark, &reference)?;
    Ok(reference)
}

impl Deployed {
    /// Gives the cluster the agent that end-to-end tests put in the real one's place, and returns its image by digest.
    fn stand_in(&self) -> Result<String> {
        let image = image::assemble(Name::AgentStandIn, Profile::Dev, &self.built.programs)?;
        deliver(&self.cluster, &image)
    }

    /// What the end-to-end tests are told by environment variables.
    pub fn environment(&self) -> Result<Vec<(&'static str, String)>> {
        let audit = self
            .cluster
            .audit_log()
            .context("the end-to-end tests need the kind cluster's audit log")?;
        let node = self
            .cluster
            .node()
            .context("the end-to-end tests need the kind cluster's node")?;
        Ok(vec![
            ("GASTOWN_NODE", node),
            ("GASTOWN_STAND_IN_IMAGE", self.stand_in()?),
            ("GASTOWN_TESTBED_IMAGE", self.testbed_image.clone()),
            ("GASTOWN_AGENT_IMAGE", self.agent_image.clone()),
            ("GASTOWN_OPERATOR_IMAGE", self.operator_image.clone()),
            ("GASTOWN_PROGRAMS", self.programs()?),
            (
                "GASTOWN_AGENT_ARCHIVE",
                self.built.agent.archive.display().to_string(),
            ),
            ("GASTOWN_AGENT_TAG", self.built.agent.tagged()),
            ("GASTOWN_AUDIT_LOG", audit.display().to_string()),
        ])
    }

    /// Installs the chart with `values`, a file below the root, and further `flags` of helm.
    pub fn install_chart(&self, values: &str, flags: &[&str]) -> Result<()> {
        progress::step("install the chart", || self.install(values, flags))
    }

    /// Helm installs CRDs but never changes them, so they are applied before it.
    fn install(&self, values: &str, flags: &[&str]) -> Result<()> {
        let chart = workspace::root().join(CHART);
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename"];
        self.cluster
            .kubectl()?
            .args(apply)
            .arg(chart.join("crds"))
            .output()?;
        self.helm(&chart, values, flags)
    }

    fn helm(&self, chart: &Path, values: &str, flags: &[&str]) -> Result<()> {
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
        .args(flags)
        .args(set_image("image", &self.operator_image)?)
        .args(set_image("agentImage", &self.agent_image)?)
        .output()?;
        Ok(())
    }

    /// The folders with the plugin, kubectl and helm, as a PATH: what a person has who follows the README.
    pub fn programs(&self) -> Result<String> {
        self.built.path()
    }
}

impl Built {
    /// Installs the plugin once: tests of two clusters run the same.
    fn path(&self) -> Result<String> {
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if path.is_none() {
            *path = Some(self.install_programs()?);
        }
        path.clone().context("the programs were installed")
    }

    fn install_programs(&self) -> Result<String> {
        let plugin = workspace::root().join("target/plugin");
        install::into(&plugin, &self.programs)?;
        let tools = tools::ensure([Tool::Kubectl, Tool::Helm])?;
        let folders = tools.iter().filter_map(|tool| tool.parent());
        let folders = std::iter::once(plugin.as_path()).chain(folders);
        let path = std::env::join_paths(folders).context("a folder of a program has a colon in its name")?;
        path.into_string()
            .map_err(|path| anyhow!("the folders {path:?} of programs are no UTF-8"))
    }
}

/// `--set` flags that name an image by digest.
fn set_image(value: &str, reference: &str) -> Result<[String; 4]> {
    let (repository, digest) = reference
        .split_once('@')
        .context("an image is delivered by digest")?;
    let set = "--set-string".to_owned();
    Ok([
        set.clone(),
        format!("{value}.repository={repository}"),
        set,
        format!("{value}.digest={digest}"),
    ])
}
