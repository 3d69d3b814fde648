//! `cargo xtask image`: the images of this checkout on the command line.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use xtask_image::{BuiltImage, Name, Profile};

use super::cluster;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build images as OCI archives below target/image.
    Build {
        /// The images to build.
        #[arg(required = true)]
        names: Vec<Name>,
        /// Compile as tests do, which is quicker than for release.
        #[arg(long)]
        dev: bool,
    },
    /// Build images and give them to the cluster of `cargo xtask cluster up`.
    Load {
        /// The images to build and load.
        #[arg(required = true)]
        names: Vec<Name>,
        /// Compile as tests do, which is quicker than for release.
        #[arg(long)]
        dev: bool,
    },
    /// Take the newest Debian and npm packages into images/images.lock, and show what that changes.
    Lock {
        /// Leave the npm packages, which are the agents, at the versions that are locked.
        #[arg(long)]
        keep_agents: bool,
    },
}

pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Build { names, dev } => names.into_iter().try_for_each(|name| build(name, dev).map(drop)),
        Command::Load { names, dev } => {
            let cluster = cluster::remembered()?
                .context("this checkout has no cluster; run `cargo xtask cluster up`")?;
            names.into_iter().try_for_each(|name| {
                let image = build(name, dev)?;
                let reference = cluster.deliver_image(&image.archive, &image.name, &image.digest)?;
                println!("the cluster has {reference}");
                Ok(())
            })
        }
        Command::Lock { keep_agents } => xtask_image::renew_lock(keep_agents),
    }
}

fn build(name: Name, dev: bool) -> Result<BuiltImage> {
    let profile = if dev { Profile::Dev } else { Profile::Release };
    let image = xtask_image::build(name, profile)?;
    println!("{}\n{}", image.reference(), image.tagged());
    println!(
        "  {:.1} MB compressed, {}",
        megabytes(image.size),
        image.archive.display()
    );
    Ok(image)
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "no image comes near 2^52 bytes, and one digit is shown"
    )]
    let bytes = bytes as f64;
    bytes / 1e6
}
