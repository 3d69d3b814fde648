//! `cargo xtask demo`: the main job, from nothing to a verified commit.
//!
//! A real cluster, the chart installed by helm, a git host with a small project, and one polecat that fixes the
//! project's failing test with the real Claude Code; only the model is scripted, unless a key is given.

mod follow;
mod report;
mod scene;

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use self::scene::{Model, Scene};
use super::cluster;
use super::deploy::{self, Deployed};
use crate::process;

/// How to run the demonstration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave cluster, polecat and git host running, to look at.
    #[arg(long)]
    keep: bool,
    /// Use the real model with the API key in this environment variable, instead of the scripted one.
    #[arg(long, value_name = "ENV")]
    model_key_from: Option<String>,
}

/// The polecat works for seconds against the script; a real model thinks.
const PATIENCE: Duration = Duration::from_mins(15);

pub fn run(args: &Args) -> Result<()> {
    let model = Model::choose(args.model_key_from.as_deref())?;
    let was_up = cluster::remembered(cluster::Site::Shared)?.is_some();
    let deployed = deploy::images()?;
    let scene = set_up(&deployed, &model)?;
    let outcome = play(&deployed, &scene, args.keep);
    if !args.keep {
        scene.strike()?;
        if !was_up {
            cluster::down(false)?;
        }
    }
    outcome
}

/// The git host needs no operator, so both are set up at the same time.
fn set_up<'a>(deployed: &'a Deployed, model: &'a Model) -> Result<Scene<'a>> {
    thread::scope(|scope| {
        let chart = scope.spawn(|| deployed.install_chart("tests/testbed/values.yaml", model.flags()));
        let scene = Scene::set(deployed, model);
        chart
            .join()
            .map_err(|_| anyhow!("installing the chart panicked"))??;
        scene
    })
}

fn play(deployed: &Deployed, scene: &Scene<'_>, keep: bool) -> Result<()> {
    scene.sling()?;
    let polecat = follow::to_the_end(scene, PATIENCE)?;
    let report = report::Report::gather(scene, &polecat)?;
    report.print(process::since_the_command()?);
    report::print_next_steps(deployed, keep)?;
    ensure!(
        report.is_delivered(),
        "the polecat did not deliver; look at it with `cargo xtask demo --keep`"
    );
    Ok(())
}

impl Model {
    /// What helm is told, so that polecats slung later ask the same model without naming it.
    fn flags(&self) -> &'static [&'static str] {
        match self {
            Self::Scripted => &["--set", "modelEndpoints={http://testbed:8080}"],
            Self::Real { .. } => &[],
        }
    }

    fn choose(variable: Option<&str>) -> Result<Self> {
        let Some(variable) = variable else {
            return Ok(Self::Scripted);
        };
        let key = std::env::var(variable)
            .with_context(|| format!("failed to read the model key from {variable:?}"))?;
        ensure!(
            !key.trim().is_empty(),
            "the environment variable {variable:?} is empty; put the model key into it"
        );
        Ok(Self::Real {
            key: key.trim().to_owned(),
        })
    }
}
