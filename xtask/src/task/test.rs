//! `cargo xtask test`: every test of the project, and how many there were.

mod changed;
mod compile;
mod count;
mod plan;
mod slowest;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::count::Count;
use self::slowest::Slowest;
use crate::{jobs, progress, workspace};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to run; by default all.
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Only tests whose name contains this (not unit).
    #[arg(long)]
    only: Option<String>,
    /// Only the suites that can tell of a change since the branch left its upstream, or main; uncommitted ones too.
    #[arg(long, conflicts_with = "suites")]
    changed: bool,
}

/// A set of tests with the same needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Suite {
    /// Beside the code, and in the FIPS edition where it differs; needs nothing.
    Unit,
    /// Manifests against etcd and a real API server.
    Admission,
    /// Every command of the kubectl plugin against a real API server, as transcripts.
    Plugin,
    /// An operator on whose way to a real API server requests, answers and watches are lost, and that is killed.
    Faults,
    /// Polecats on kind.
    E2e,
    /// The release pipeline, whose libraries nothing else compiles.
    Release,
}

/// Runs every suite even when one fails, so that one run tells everything.
pub fn run(args: Args) -> Result<()> {
    let suites = match (args.changed, args.suites.is_empty()) {
        (true, _) => changed::suites()?,
        (false, true) => Suite::value_variants().to_vec(),
        (false, false) => args.suites,
    };
    let slowest = Slowest::start()?;
    let plan = plan::Plan::new(&suites, args.only.as_deref(), &slowest);
    let jobs = plan.jobs();
    progress::say(format!("plan: {}", jobs::describe(&jobs)));
    let ended = jobs::run(&workspace::root().join("target/test"), jobs)?;
    let broken: Vec<_> = ended.iter().filter_map(|job| job.result.as_ref().err()).collect();
    for job in &ended {
        if let Ok(took) = &job.result {
            println!("{:7.1} s  {}", took.as_secs_f64(), job.name);
        }
    }
    slowest.print()?;
    for error in &broken {
        eprintln!("error: {error:#}");
    }
    let total = plan.total();
    let found_none = total == Count::default() && !suites.is_empty();
    if found_none {
        eprintln!("error: no test was run");
    }
    let failed = total.failed.max(usize::from(!broken.is_empty() || found_none));
    println!("\n{} passed, {failed} failed", total.passed);
    if failed > 0 {
        bail!("not all tests passed");
    }
    Ok(())
}
