//! `cargo xtask bench`: where the operator, the model proxy and the plugin stand against the bars of the design.
//!
//! What is measured, and how, is in `tests/src/bench`; this starts what it needs and prints its report.

mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use self::table::Row;
use super::cluster::api_tier::{self, ApiTier, Options, Site};
use super::install;
use crate::process::Command;
use crate::{progress, workspace};
use xtask_image::{self as image, Binary, Profile};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Everything at a tenth, for work on the measurements themselves.
    #[arg(long)]
    quick: bool,
}

/// The part of the report that is printed.
#[derive(Debug, Deserialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    processors: usize,
    load: [String; 2],
}

/// Measures, prints the bars, and keeps the report. That a bar is missed is no failure.
pub fn run(args: &Args) -> Result<()> {
    let [operator, model_proxy, plugin, bench] = compile()?;
    let folder = workspace::root().join("target/bench");
    fs_err::create_dir_all(&folder)?;
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ");
    let report = folder.join(format!("{time}.json"));
    // An API server gets slower with what it holds, so this one has held nothing before.
    api_tier::down(Site::SHARED)?;
    let tier = api_tier::ensure_up(Site::SHARED, Options::default())?;
    let measured = define(&tier).and_then(|()| {
        let api_server = tier.api_server_pid().context("the api tier has no API server")?;
        let command = Command::new(bench)
            .arg("--kubeconfig")
            .arg(&tier.kubeconfig)
            .arg("--audit-log")
            .arg(&tier.audit_log)
            .args(["--api-server", &api_server.to_string()])
            .arg("--operator")
            .arg(operator)
            .arg("--operator-log")
            .arg(report.with_extension("operator.log"))
            .arg("--model-proxy")
            .arg(model_proxy)
            .arg("--plugin")
            .arg(plugin)
            .arg("--report")
            .arg(&report);
        let command = if args.quick {
            command.arg("--quick")
        } else {
            command
        };
        progress::step("measure", || command.run())
    });
    api_tier::down(Site::SHARED)?;
    measured?;
    show(&report)
}

/// The operator, the model proxy, the plugin and the program that measures them.
///
/// The release profile is separate from the one that tests and the demo share: the first run compiles everything again.
fn compile() -> Result<[PathBuf; 4]> {
    let binary = |package: &str, name: &str| Binary {
        package: package.to_owned(),
        name: name.to_owned(),
    };
    let operator = binary("gastown-operator", "gastown-operator");
    let plugin = install::plugin();
    let model_proxy = binary("gastown-tests", "bench-model-proxy");
    let bench = binary("gastown-tests", "bench");
    // Each as it ships: with the programs of the tests the others would get features that only those want.
    let (shipped, of_tests) = ([&operator, &plugin], [&model_proxy, &bench]);
    let shipped = progress::step("compile for release", || {
        image::compile(&shipped, Profile::Release)
    })?;
    let of_tests = progress::step("compile what measures", || {
        image::compile(&of_tests, Profile::Release)
    })?;
    let path = |programs: &image::Programs, binary| programs.get(binary).map(Path::to_path_buf);
    Ok([
        path(&shipped, &operator)?,
        path(&of_tests, &model_proxy)?,
        path(&shipped, &plugin)?,
        path(&of_tests, &bench)?,
    ])
}

fn define(tier: &ApiTier) -> Result<()> {
    let definitions = workspace::root().join("helm/gastown-operator/crds");
    tier.kubectl()?
        .args(["apply", "--server-side", "--filename"])
        .arg(definitions)
        .output()?;
    tier.kubectl()?
        .args([
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ])
        .output()?;
    Ok(())
}

fn show(file: &Path) -> Result<()> {
    let report: Report = serde_json::from_slice(&fs_err::read(file)?)
        .with_context(|| format!("{file:?} is no report of the measurements"))?;
    println!("\n{}", table::render(&report.rows));
    let Machine { processors, load } = report.machine;
    println!(
        "{processors} processors, load averages {} before and {} after",
        load[0], load[1]
    );
    println!("all figures: {}", file.display());
    Ok(())
}
