//! `cargo xtask test`: every test of the project, and how many there were.

mod count;

use std::thread;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::count::Count;
use super::cluster::api_tier::Options;
use super::cluster::tools;
use super::{cluster, deploy};
use crate::process::Command;
use crate::{progress, workspace};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to run; by default all.
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Only tests whose name contains this (not unit).
    #[arg(long)]
    only: Option<String>,
}

/// A set of tests with the same needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Beside the code, in both editions; needs nothing.
    Unit,
    /// Manifests against etcd and a real API server.
    Admission,
    /// Every command of the kubectl plugin against a real API server, as transcripts.
    Plugin,
    /// An operator on whose way to a real API server requests, answers and watches are lost, and that is killed.
    Faults,
    /// Polecats on kind.
    E2e,
}

/// Runs every suite even when one fails, so that one run tells everything.
pub fn run(args: Args) -> Result<()> {
    let all = [
        Suite::Unit,
        Suite::Admission,
        Suite::Plugin,
        Suite::Faults,
        Suite::E2e,
    ];
    let suites = if args.suites.is_empty() {
        all.to_vec()
    } else {
        args.suites
    };
    let (total, broken) = thread::scope(|scope| {
        // Minutes of compilation on a new machine, which the other suites leave processors for.
        let tools = suites
            .contains(&Suite::E2e)
            .then(|| scope.spawn(tools::ensure_all));
        let (total, mut broken) = run_suites(&suites, args.only.as_deref());
        match tools.map(thread::ScopedJoinHandle::join) {
            Some(Ok(Err(error))) => broken.push(format!("{error:#}")),
            Some(Err(_)) => broken.push("building the tools of the cluster panicked".to_owned()),
            Some(Ok(Ok(()))) | None => {}
        }
        (total, broken)
    });
    for error in &broken {
        eprintln!("error: {error}");
    }
    let failed = total.failed.max(usize::from(!broken.is_empty()));
    println!("\n{} passed, {failed} failed", total.passed);
    if failed > 0 {
        bail!("not all tests passed");
    }
    Ok(())
}

/// How many tests of `suites` passed and failed, and what kept a suite from its end.
fn run_suites(suites: &[Suite], only: Option<&str>) -> (Count, Vec<String>) {
    let mut total = Count::default();
    let mut broken = Vec::new();
    for suite in suites {
        let name = suite
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        match progress::step(format!("run the {name} tests"), || suite.run(only)) {
            Ok(count) => total += count,
            Err(error) => broken.push(format!("{error:#}")),
        }
    }
    (total, broken)
}

impl Suite {
    fn run(self, only: Option<&str>) -> Result<Count> {
        match self {
            Self::Unit => unit(),
            Self::Admission => on_api_tier(Options::default(), suite("gastown-tests", "admission", only)),
            Self::Plugin => on_api_tier(Options::default(), suite("kubectl-gt", "transcript", only)),
            Self::Faults => on_api_tier(
                // It collects the pods of nodes that are gone.
                Options {
                    controller_manager: true,
                },
                suite("gastown-tests", "faults", only),
            ),
            Self::E2e => e2e(only),
        }
    }
}

fn unit() -> Result<Count> {
    let root = workspace::root();
    let cargo = |args: &[&str]| cargo_test().args(args).current_dir(&root);
    let parts = ["--workspace", "--lib", "--bins"];
    let mut count = count::run(cargo(&parts))?;
    count += count::run(cargo(&parts).args(["--no-default-features", "--features", "fips"]))?;
    let xtask = cargo_test().arg("--target-dir").arg(root.join("target/xtask"));
    count += count::run(xtask.current_dir(root.join("xtask")))?;
    Ok(count)
}

/// Runs `tests` against an empty API server.
fn on_api_tier(options: Options, tests: Command) -> Result<Count> {
    let tier = cluster::api_tier::ensure_up(options)?;
    let outcome = count::run(tests.env("KUBECONFIG", &tier.kubeconfig));
    cluster::api_tier::down()?;
    outcome
}

fn e2e(only: Option<&str>) -> Result<Count> {
    let deployed = deploy::ensure("tests/testbed/values.yaml")?;
    let mut tests = suite("gastown-tests", "e2e", only).env("KUBECONFIG", &deployed.cluster.kubeconfig);
    tests = cluster::Cluster::with_engine(tests)?;
    for (name, value) in deployed.environment()? {
        tests = tests.env(name, value);
    }
    count::run(tests)
}

/// A test program of a package; those of `tests/` share one build with the images.
fn suite(package: &str, name: &str, only: Option<&str>) -> Command {
    let command = cargo_test().args(["--package", package, "--test", name]);
    command
        .arg("--")
        .args(["--test-threads", "4"])
        .args(only)
        .current_dir(workspace::root())
}

/// `--no-fail-fast`, because the count is of all tests.
fn cargo_test() -> Command {
    Command::new("cargo").args(["test", "--locked", "--no-fail-fast"])
}
