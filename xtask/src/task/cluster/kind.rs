//! The whole cluster: kind's, or the one that the kubeconfig names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::engine::Engine;
use super::state::{self, Site, State};
use super::{node_image, registry};
use crate::process::Command;
use crate::tools::{self, Tool};
use crate::{progress, workspace};

/// A cluster that is up.
#[derive(Debug)]
pub struct Cluster {
    /// A kubeconfig whose current context is the cluster, with full rights.
    pub kubeconfig: PathBuf,
    /// The registry, as `HOST/PATH`, that images must be pushed to; None for kind, which they are loaded into.
    pub registry: Option<String>,
    site: Site,
}

impl Cluster {
    /// `kubectl`, speaking with this cluster.
    pub fn kubectl(&self) -> Result<Command> {
        let [kubectl] = tools::ensure([Tool::Kubectl])?;
        Ok(Command::new(kubectl).arg("--kubeconfig").arg(&self.kubeconfig))
    }

    /// `helm`, speaking with this cluster.
    pub fn helm(&self) -> Result<Command> {
        let [helm] = tools::ensure([Tool::Helm])?;
        Ok(Command::new(helm).arg("--kubeconfig").arg(&self.kubeconfig))
    }

    /// Makes the image `name` with `digest` of an OCI archive available to the cluster, loaded into kind's nodes or
    /// pushed to the registry, and returns the name by digest that pods must use.
    pub fn deliver_image(&self, archive: &Path, name: &str, digest: &str) -> Result<String> {
        let Some(registry) = &self.registry else {
            self.load_image(archive)?;
            return Ok(format!("{name}@{digest}"));
        };
        progress::step(format!("push {name} to {registry}"), || {
            registry::push(archive, name, digest, registry)
        })
    }

    /// Puts the images of an OCI or Docker archive into the kind cluster's nodes.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        if let Some(registry) = &self.registry {
            bail!("this cluster pulls its images: push {archive:?} to {registry:?} instead of loading it");
        }
        load_into(&self.site.cluster_name(), archive)
    }

    /// The API server's log of requests, as JSON lines; only the kind cluster has it.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.registry
            .is_none()
            .then(|| self.site.audit_folder().join("audit.log"))
    }

    /// The name of the node, a container of the engine; only the kind cluster has it.
    pub fn node(&self) -> Option<String> {
        self.registry
            .is_none()
            .then(|| format!("{}-control-plane", self.site.cluster_name()))
    }

    /// Makes `command` find the engine that the node runs in.
    pub fn with_engine(command: Command) -> Result<Command> {
        let engine = Engine::running()?.context("no Docker engine runs; run `cargo xtask cluster up`")?;
        Ok(engine.environment(command))
    }

    /// Whether the API server answers and is ready.
    ///
    /// A cluster that is not ready is made anew, so a busy machine gets time to answer.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(self.kubeconfig.is_file()
            && self
                .kubectl()?
                .args(["--request-timeout=20s", "get", "--raw=/readyz"])
                .succeeds())
    }
}

/// The cluster of this checkout at `site`, brought up if it is not.
pub fn ensure_up(site: Site) -> Result<Cluster> {
    fs_err::create_dir_all(site.folder())?;
    let recipe = recipe()?;
    if let Seen::Up(cluster) = look(site, &recipe)? {
        return Ok(cluster);
    }
    let _alone = Engine::lock()?;
    // Another run may have brought it up while this one waited for the lock.
    match look(site, &recipe)? {
        Seen::Up(cluster) => return Ok(cluster),
        Seen::Nothing => {}
        Seen::Unusable(why) => progress::say(format!("{why}: it is made anew")),
    }
    create(site, recipe)
}

/// The cluster that is remembered in `target/cluster`, without a look at whether it answers.
pub fn remembered(site: Site) -> Result<Option<Cluster>> {
    let registry = match State::read(site)? {
        None => return Ok(None),
        Some(State::Kind { .. }) => None,
        Some(State::Current { registry, .. }) => Some(registry),
    };
    Ok(Some(Cluster {
        kubeconfig: site.kubeconfig(),
        registry,
        site,
    }))
}

/// From now on uses the kubeconfig's current context, and `registry` for its images.
pub fn use_current(registry: &str) -> Result<Cluster> {
    let registry = parse_registry(registry)?;
    let site = Site::Shared;
    if matches!(State::read(site)?, Some(State::Kind { .. })) {
        bail!("this checkout has a kind cluster; run `cargo xtask cluster down` first");
    }
    let [kubectl] = tools::ensure([Tool::Kubectl])?;
    let context = Command::new(&kubectl)
        .args(["config", "current-context"])
        .text()?;
    let kubeconfig = Command::new(&kubectl)
        .args(["config", "view", "--minify", "--flatten", "--raw"])
        .output()?;
    workspace::write_whole(&site.kubeconfig(), &kubeconfig)?;
    let cluster = Cluster {
        kubeconfig: site.kubeconfig(),
        registry: Some(registry.clone()),
        site,
    };
    if !cluster.is_ready()? {
        State::forget(site)?;
        bail!(
            "the cluster of context {context:?} does not answer; choose another with `kubectl config use-context`"
        );
    }
    State::Current {
        context: context.clone(),
        registry,
    }
    .write(site)?;
    progress::say(format!("using the cluster of context {context:?}"));
    Ok(cluster)
}

/// Removes this checkout's clusters, or with `all` every checkout's, and the engine if nothing else uses it.
pub fn down(all: bool) -> Result<()> {
    let mut made_network = false;
    for site in Site::ALL {
        match State::read(site)? {
            Some(State::Current { .. }) => {
                progress::say("forgetting the cluster that was not ours; it stays as it is");
                return State::forget(site);
            }
            Some(State::Kind {
                made_network: made, ..
            }) => made_network |= made,
            None => {}
        }
    }
    let _alone = Engine::lock()?;
    if let Some(engine) = Engine::running()? {
        node_image::remove_build_container(&engine)?;
        let ours = Site::ALL.map(Site::cluster_name);
        let names = engine.kind().args(["get", "clusters"]).text()?;
        for name in names.lines().filter(|name| {
            ours.iter().any(|our| our == name) || (all && name.starts_with(state::CLUSTER_PREFIX))
        }) {
            progress::step(format!("remove cluster {name}"), || delete(&engine, name))?;
        }
        if made_network && !engine.remove_kind_network() {
            progress::say("the Docker network of kind stays: another cluster uses it");
        }
    }
    Site::ALL.into_iter().try_for_each(State::forget)?;
    Engine::stop_own_if_unused()
}

/// Identifies what a cluster of this checkout is made from.
fn recipe() -> Result<String> {
    Ok(tools::key(&[
        node_image::name()?,
        fs_err::read_to_string(config())?,
    ]))
}

fn config() -> PathBuf {
    workspace::root().join("tests/cluster/kind.yaml")
}

/// The configuration of kind for the cluster of `site`, which logs requests in a folder of its own.
fn configuration_of(site: Site) -> Result<String> {
    let shared = Site::Shared.relative_audit_folder().display().to_string();
    let own = site.relative_audit_folder().display().to_string();
    let text = fs_err::read_to_string(config())?;
    ensure!(text.contains(&shared), "{:?} does not mount {shared:?}", config());
    Ok(text.replace(&shared, &own))
}

/// What there is of the cluster that `up` is to bring up.
enum Seen {
    Up(Cluster),
    Unusable(&'static str),
    Nothing,
}

fn look(site: Site, recipe: &str) -> Result<Seen> {
    let (Some(state), Some(cluster)) = (State::read(site)?, remembered(site)?) else {
        return Ok(Seen::Nothing);
    };
    match state {
        State::Kind {
            recipe: made_from, ..
        } if made_from != recipe => Ok(Seen::Unusable("what the cluster is made from has changed")),
        _ if cluster.is_ready()? => Ok(Seen::Up(cluster)),
        State::Kind { .. } => Ok(Seen::Unusable("the cluster does not answer")),
        State::Current { context, .. } => bail!(
            "the cluster of context {context:?} does not answer; `cargo xtask cluster down` makes `up` forget it"
        ),
    }
}

fn create(site: Site, recipe: String) -> Result<Cluster> {
    State::forget(site)?;
    let engine = Engine::ensure()?;
    let image = node_image::ensure_in(&engine)?;
    let name = site.cluster_name();
    // What a killed run left under this name.
    delete(&engine, &name)?;
    let made_network = !engine.has_kind_network();
    fs_err::create_dir_all(site.audit_folder())?;
    let configuration = site.folder().join("kind.yaml");
    fs_err::write(&configuration, configuration_of(site)?)?;
    let cluster = Cluster {
        kubeconfig: site.kubeconfig(),
        registry: None,
        site,
    };
    progress::step(format!("create cluster {name}"), || {
        let create = engine
            .kind()
            .args(["create", "cluster", "--name", &name, "--image", &image]);
        let create = create
            .arg("--config")
            .arg(&configuration)
            .arg("--kubeconfig")
            .arg(&cluster.kubeconfig);
        create
            .args(["--wait", "120s"])
            .current_dir(workspace::root())
            .output()
    })?;
    progress::step("wait for the default service account", || {
        let limit = Duration::from_mins(1);
        progress::wait_until(
            "the default service account",
            limit,
            Duration::from_millis(250),
            || {
                Ok(cluster
                    .kubectl()?
                    .args(["get", "serviceaccount", "default"])
                    .succeeds())
            },
        )
    })?;
    State::Kind {
        recipe,
        made_network,
        since: state::now(),
    }
    .write(site)?;
    Ok(cluster)
}

/// Puts the images of an OCI or Docker archive into the nodes of the kind cluster `name`, whoever created it.
pub fn load_into(name: &str, archive: &Path) -> Result<()> {
    let engine = Engine::running()?.context("no Docker engine runs; run `cargo xtask cluster up`")?;
    let nodes = engine.kind().args(["get", "nodes", "--name", name]).text()?;
    if nodes.is_empty() {
        bail!("kind has no cluster {name:?}; `kind get clusters` lists those that there are");
    }
    let file = archive.file_name().unwrap_or_default().to_string_lossy();
    progress::step(format!("load {file} into the cluster"), || {
        nodes.lines().try_for_each(|node| import(&engine, node, archive))
    })
}

/// As `kind load image-archive` does, but without its `--digests`: that gives each image a second name made of the
/// day, `import-DATE@sha256:…`, which containerd may prefer to the image's own and does not always find again.
fn import(engine: &Engine, node: &str, archive: &Path) -> Result<()> {
    let ctr = engine.docker().args(["exec", "--interactive", node, "ctr"]);
    ctr.args(["--namespace", "k8s.io", "images", "import"])
        .args(["--all-platforms", "--snapshotter", "overlayfs", "-"])
        .input_file(archive)?
        .output()
        .map(drop)
}

fn delete(engine: &Engine, name: &str) -> Result<()> {
    // kind takes the cluster out of a kubeconfig, which is of no use afterwards: ours is deleted with the state.
    let kubeconfig = state::folder().join("deleted");
    engine
        .kind()
        .args(["delete", "cluster", "--name", name, "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .map(drop)
}

/// `HOST/PATH` of a registry, as images are named.
fn parse_registry(registry: &str) -> Result<String> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:/".contains(c))
    };
    match registry.split_once('/') {
        Some((host, path))
            if is_plain(host) && is_plain(path) && !registry.contains("//") && !path.ends_with('/') =>
        {
            Ok(registry.to_owned())
        }
        _ => bail!(
            "registry {registry:?} is not HOST/PATH; give it as in an image's name, such as registry.example/team"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_and_a_path() {
        assert_eq!(
            parse_registry("localhost:5000/a/b").unwrap(),
            "localhost:5000/a/b"
        );
        for wrong in ["", "host", "https://host/a", "host/", "host/a/", "host/a b"] {
            assert!(parse_registry(wrong).is_err(), "{wrong:?}");
        }
    }
}
