//! `cargo xtask release`: from a commit to signed images and files, and how anyone verifies them.

mod advisories;
mod airgap;
mod artefacts;
mod attach;
mod bundle;
mod checkout;
mod cryptography;
mod dependencies;
mod describe;
mod difference;
mod downloads;
mod explain;
mod folder;
mod hello;
mod keys;
mod layout;
mod licences;
mod notes;
mod pipeline;
mod plan;
mod policy;
mod preflight;
mod programs;
mod rebuild;
mod receipt;
mod referees;
mod registry;
mod sbom;
mod signing;
mod smoke;
mod statement;
mod verify;
mod vex;
#[cfg(test)]
mod workflows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use xtask_image::{Architecture, Edition, workspace};

use crate::checkout::Checkout;
use crate::keys::{Signer, Verifier};
use crate::layout::Layout;
use crate::pipeline::Release;
use crate::plan::{Plan, Wanted};
use crate::preflight::Facts;
use crate::referees::cosign::Major;
use crate::registry::Repository;

/// Build, describe, sign and publish a release; or verify one.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask release",
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    release: Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a release's folder, a file of it, or an image in a registry, offline but for that registry.
    Verify(VerifyArgs),
    /// Pack a release's folder into one file for clusters that reach no registry.
    Bundle(BundleArgs),
    /// Push a release's folder to two registries of this machine, and ask the programs of others about it: cosign 3 and 2,
    /// `CycloneDX`'s library, syft, oras, skopeo, helm, kubeconform, Kyverno.
    Referees(RefereesArgs),
    /// Make a key pair: NAME.key, not encrypted, and NAME.pub.
    Key {
        /// Path of the files, without their ending.
        name: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Args {
    /// Where everything goes; what is there and still right is not made again.
    #[arg(long, value_name = "DIR", default_value = "target/release-out")]
    out: PathBuf,
    /// Editions to build; by default both.
    #[arg(long = "edition", value_name = "EDITION")]
    editions: Vec<Edition>,
    /// Architectures to build; by default those that images/images.lock has packages for, with --dev the machine's own.
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Architecture>,
    /// Run only these jobs and what they need.
    #[arg(long, value_name = "JOB")]
    only: Vec<String>,
    /// Private key to sign with, in a file or as `env://COSIGN_PRIVATE_KEY`; the variable `COSIGN_PASSWORD` is its password if it is encrypted.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A copy of the advisory-db of `RustSec`: the release fails for what it says of crates and sbom/vex does not answer.
    #[arg(long, value_name = "DIR")]
    advisory_db: Option<PathBuf>,
    /// The folder of the release before: the notes say which components and which statements on vulnerabilities have changed.
    #[arg(long, value_name = "DIR")]
    previous: Option<PathBuf>,
    /// Make everything that needs no key, and stop.
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    /// Push the images there, under the last part of their names; credentials are those of `docker login`.
    #[arg(long, value_name = "HOST/PATH")]
    registry: Option<String>,
    /// Do everything but the push; in CI (where the variable CI is set) the default is to push.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dry_run: Option<bool>,
    /// Compile as tests do, to try the pipeline in minutes; the provenance says so.
    #[arg(long)]
    dev: bool,
    /// Print the plan and do nothing.
    #[arg(long)]
    plan: bool,
    /// How the plan is printed.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// A folder that a release made, a file with its .sigstore.json beside it, or `HOST/REPOSITORY:TAG`.
    target: String,
    /// The public key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Ask cosign too, which is built from its pinned source.
    #[arg(long)]
    cosign: bool,
    /// Build the release in the folder again from its commit, compare every byte, and sign a verification summary.
    #[arg(long, requires = "rebuild_key")]
    rebuild: bool,
    /// Private key of whoever builds again, not that of the release.
    #[arg(long, value_name = "FILE")]
    rebuild_key: Option<PathBuf>,
    /// Demand the verification summary of whoever has this public key.
    #[arg(long, value_name = "FILE", conflicts_with = "rebuild")]
    rebuilt_by: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct BundleArgs {
    /// The folder that a release made.
    folder: PathBuf,
    /// The public key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The registry that clusters will find the images in.
    #[arg(long, value_name = "HOST/PATH")]
    mirror: String,
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "gastown-bundle.tar.zst")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
struct RefereesArgs {
    /// The folder that a release made.
    folder: PathBuf,
    /// The public key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Ask only these.
    #[arg(long, value_name = "REFEREE")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => release(&cli.release),
        Some(Command::Verify(args)) => verify(&args),
        Some(Command::Bundle(args)) => bundle(&args),
        Some(Command::Referees(args)) => referees::ask(&args.folder, &args.key, &args.only),
        Some(Command::Key { name }) => make_key(&name),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn release(args: &Args) -> Result<()> {
    let checkout = Checkout::read()?;
    let is_dry = args.dry_run.unwrap_or_else(|| std::env::var_os("CI").is_none());
    let wanted = Wanted {
        editions: or_all(&args.editions, &Edition::ALL),
        architectures: or_all(&args.architectures, &architectures(args.dev)?),
        is_dev: args.dev,
        registry: args.registry.clone().filter(|_| !is_dry),
        asks_advisories: args.advisory_db.is_some(),
        is_unsigned: args.unsigned,
        only: args.only.clone(),
    };
    let plan = Plan::new(&checkout, &wanted)?;
    if args.plan {
        return show(&plan, args.output);
    }
    // Whether the key can be read is known before the first job; the key itself is not kept.
    let key = args
        .key
        .as_deref()
        .map(|file| Signer::read(file).map(drop).map_err(|error| format!("{error:#}")));
    preflight::check(&plan, &Facts::gather(&plan, &checkout, key)?)?;
    if args.advisory_db.is_none() {
        xtask_image::progress::say("known vulnerabilities are not looked for; `--advisory-db DIR` does");
    }
    if is_dry && args.registry.is_some() {
        xtask_image::progress::say("nothing will be pushed; `--dry-run=false` pushes");
    }
    let release = Release {
        plan,
        folder: workspace::root().join(&args.out),
        key: args.key.clone(),
        advisories: args.advisory_db.clone(),
        previous: args.previous.clone(),
        started: jiff::Timestamp::now().to_string(),
    };
    fs_err::create_dir_all(&release.folder)?;
    let ended = release.run()?;
    let mut failed = Vec::new();
    println!("{}", release.folder.display());
    for job in ended {
        match job.result {
            Ok(took) => println!("  {:<24} {:>8.1} s", job.name, took.as_secs_f64()),
            Err(error) => {
                println!("  {:<24}   failed", job.name);
                failed.push(format!("{error:#}"));
            }
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Those to build where none is named: all that the lock has packages for, or in a trial the machine's own.
fn architectures(is_dev: bool) -> Result<Vec<Architecture>> {
    let mut all = preflight::locked()?;
    all.retain(|one| !is_dev || one.is_native());
    Ok(all)
}

fn or_all<T: Copy + PartialEq>(chosen: &[T], all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all } else { chosen }.to_vec()
}

fn show(plan: &Plan, format: Format) -> Result<()> {
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(plan)?);
        return Ok(());
    }
    println!("{} from commit {}", plan.version, plan.commit);
    for step in &plan.jobs {
        let outputs: Vec<_> = step
            .outputs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        println!(
            "  {:<24} needs {:<50} makes {}",
            step.name,
            step.needs.join(" "),
            outputs.join(" ")
        );
    }
    Ok(())
}

fn verify(args: &VerifyArgs) -> Result<()> {
    let verifier = Verifier::read(&args.key)?;
    let path = Path::new(&args.target);
    let of_folder = args.rebuild || args.rebuilt_by.is_some();
    ensure!(
        !of_folder || path.is_dir(),
        "only the folder of a release is built again; {path:?} is none"
    );
    if let Some(key) = args.rebuild_key.as_deref().filter(|_| args.rebuild) {
        print(&rebuild::rebuild(path, &verifier, key)?);
    } else if path.is_dir() {
        print(&folder::everything(path, &verifier)?);
        if let Some(key) = &args.rebuilt_by {
            print(&[rebuild::verify(path, &Verifier::read(key)?)?]);
        }
    } else if path.exists() {
        verify::file(path, &verifier)?;
        println!("{} signed", path.display());
    } else {
        return image(args, &verifier);
    }
    if args.cosign {
        print(&referees::cosign::files(path, &args.key)?);
    }
    Ok(())
}

fn bundle(args: &BundleArgs) -> Result<()> {
    airgap::pack(&args.folder, &Verifier::read(&args.key)?, &args.mirror, &args.to)?;
    println!("wrote {}", args.to.display());
    Ok(())
}

fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// Verifies an image of a registry.
fn image(args: &VerifyArgs, verifier: &Verifier) -> Result<()> {
    let folder = tempfile::tempdir().context("failed to make a folder for manifests")?;
    let layout = Layout::create(folder.path())?;
    let (repository, tag, digest) = split(&args.target)?;
    Repository::open(repository)?.pull(&layout, tag, digest, "wanted")?;
    let found = verify::image(&layout, "wanted", verifier, verify::Depth::Manifests)?;
    for one in &found {
        println!("{repository}@{} {one}", one.digest);
    }
    if args.cosign {
        print(&referees::cosign::images(
            Major::Three,
            repository,
            &found,
            &args.key,
        )?);
    }
    Ok(())
}

/// The repository, the tag and the digest of an image's name.
fn split(name: &str) -> Result<(&str, Option<&str>, Option<&str>)> {
    if !name.contains('/') {
        bail!("{name:?} is neither a file here nor an image, `HOST/REPOSITORY:TAG`")
    }
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    Ok(match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag), digest),
        _ => (name, None, digest),
    })
}

fn make_key(name: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let (private, public) = keys::pair()?;
    let file = name.with_extension("key");
    let mut options = std::fs::OpenOptions::new();
    // Never over a key that something is already signed with.
    let opened = options.write(true).create_new(true).mode(0o600).open(&file);
    let mut opened =
        opened.with_context(|| format!("failed to create {file:?}; a key that is there stays"))?;
    std::io::Write::write_all(&mut opened, private.as_bytes())
        .with_context(|| format!("failed to write {file:?}"))?;
    fs_err::write(name.with_extension("pub"), public)?;
    println!(
        "wrote {} and {}",
        file.display(),
        name.with_extension("pub").display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_image_has_a_tag_or_a_digest_and_maybe_a_port() {
        assert_eq!(
            split("localhost:5000/a:1").unwrap(),
            ("localhost:5000/a", Some("1"), None)
        );
        assert_eq!(
            split("localhost:5000/a").unwrap(),
            ("localhost:5000/a", None, None)
        );
        assert_eq!(
            split("h/a:1@sha256:b").unwrap(),
            ("h/a", Some("1"), Some("sha256:b"))
        );
        assert!(split("nothing").is_err());
    }

    #[test]
    fn a_key_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("cosign");
        make_key(&name).unwrap();
        let private = fs_err::read_to_string(name.with_extension("key")).unwrap();
        assert_eq!(
            Signer::from_pem(&private, None).unwrap().public(),
            fs_err::read_to_string(name.with_extension("pub")).unwrap()
        );
        assert!(
            make_key(&name)
                .unwrap_err()
                .to_string()
                .contains("a key that is there stays")
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
