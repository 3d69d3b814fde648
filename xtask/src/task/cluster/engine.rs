//! The Docker engine: the one that is there, or one of our own.
//!
//! One per machine: two would fight over the default bridge and the packet filter.

mod host_cleanup;
mod own_engine;
pub mod runtime_shim;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use self::own_engine::OwnEngine;
use crate::machine;
use crate::process::Command;
use crate::tools::{self, Tool};
use crate::workspace;

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    docker: PathBuf,
    kind: PathBuf,
    own: Option<OwnEngine>,
}

impl Engine {
    /// The engine that answers now, ours first.
    pub fn running() -> Result<Option<Self>> {
        if let Some(own) = OwnEngine::running()? {
            return Self::with(Some(own)).map(Some);
        }
        if !docker_info(Command::new("docker")) {
            return Ok(None);
        }
        Self::with(None).map(Some)
    }

    /// The engine that answers, or our own, installed and started.
    pub fn ensure() -> Result<Self> {
        if let Some(engine) = Self::running()? {
            return Ok(engine);
        }
        machine::ensure(&["dockerd", "docker-init", "unshare", "iptables-restore", "ip"])?;
        // Installing the package may have started the machine's own engine.
        if let Some(engine) = Self::running()? {
            return Ok(engine);
        }
        Self::with(Some(OwnEngine::start()?))
    }

    /// Stops our own engine and removes what it left on the machine, unless a container still runs in it.
    pub fn stop_own_if_unused() -> Result<()> {
        let Some(engine) = Self::running()?.filter(|engine| engine.own.is_some()) else {
            return OwnEngine::remove_traces_of_dead();
        };
        if engine.docker().args(["ps", "--quiet"]).text()?.is_empty() {
            engine.docker().args(["network", "prune", "--force"]).output()?;
            OwnEngine::stop()?;
        }
        Ok(())
    }

    /// The lock that runs on this machine hold while they change the engine or a cluster in it.
    pub fn lock() -> Result<fs_err::File> {
        workspace::lock(&own_engine::run_folder()?.join("lock"))
    }

    fn with(own: Option<OwnEngine>) -> Result<Self> {
        let [kind] = tools::ensure([Tool::Kind])?;
        let docker = match own {
            // The client that came with the engine: a newer one may refuse to speak with it.
            Some(_) => own_engine::client(),
            None => machine::find("docker").context("docker is not on the PATH")?,
        };
        Ok(Self { docker, kind, own })
    }

    /// The process id of our own engine.
    pub fn own_pid(&self) -> Option<i32> {
        self.own.as_ref().map(OwnEngine::pid)
    }

    /// The engine's version.
    pub fn version(&self) -> Result<String> {
        self.docker()
            .args(["version", "--format", "{{.Server.Version}}"])
            .text()
    }

    /// Whether the engine has the network that kind puts nodes into.
    pub fn has_kind_network(&self) -> bool {
        self.docker().args(["network", "inspect", "kind"]).succeeds()
    }

    /// Removes the network that kind put nodes into, unless a container is still in it.
    pub fn remove_kind_network(&self) -> bool {
        self.docker().args(["network", "rm", "kind"]).succeeds()
    }

    /// `docker`, speaking with this engine.
    pub fn docker(&self) -> Command {
        self.environment(Command::new(&self.docker))
    }

    /// `kind`, speaking with this engine.
    pub fn kind(&self) -> Command {
        self.environment(Command::new(&self.kind))
            .env("KIND_EXPERIMENTAL_PROVIDER", "docker")
    }

    /// Makes `command` find and use this engine.
    pub fn environment(&self, command: Command) -> Command {
        match &self.own {
            Some(_) => OwnEngine::environment(command),
            None => command,
        }
    }
}

fn docker_info(docker: Command) -> bool {
    docker.args(["info", "--format", "{{.ID}}"]).succeeds()
}
