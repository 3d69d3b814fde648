//! `cargo xtask image`: the images of this checkout on the command line.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use xtask_image::{BuiltImage, Name, Profile};

use super::cluster::{self, Cluster};

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
    /// Build images and give them to a cluster: that of `cargo xtask cluster up`, or another one of kind.
    Load {
        /// The images to build and load.
        #[arg(required = true)]
        names: Vec<Name>,
        /// Load into this cluster of kind, as `kind get clusters` names it, whoever created it.
        #[arg(long, value_name = "CLUSTER")]
        kind: Option<String>,
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
        Command::Build { names, dev } => build(&names, dev).map(drop),
        Command::Load { names, kind, dev } => {
            let destination = Destination::choose(kind)?;
            build(&names, dev)?.iter().try_for_each(|image| {
                println!("the cluster has {}", destination.load(image)?);
                Ok(())
            })
        }
        Command::Lock { keep_agents } => xtask_image::renew_lock(keep_agents),
    }
}

/// The cluster that images are loaded into.
enum Destination {
    /// That of `cargo xtask cluster up`.
    Ours(Cluster),
    /// The one of kind with this name.
    Kind(String),
}

impl Destination {
    fn choose(kind: Option<String>) -> Result<Self> {
        if let Some(name) = kind {
            return Ok(Self::Kind(name));
        }
        let cluster = cluster::remembered(cluster::Site::Shared)?;
        let cluster = cluster.context(
            "this checkout has no cluster; run `cargo xtask cluster up`, or name a cluster of kind with --kind",
        )?;
        Ok(Self::Ours(cluster))
    }

    /// Loads the image, and answers what it is called there.
    fn load(&self, image: &BuiltImage) -> Result<String> {
        match self {
            Self::Ours(cluster) => cluster.deliver_image(&image.archive, &image.name, &image.digest),
            Self::Kind(name) => {
                cluster::load_into(name, &image.archive)?;
                Ok(image.reference())
            }
        }
    }
}

/// Compiles the programs of all in one build, so that no crate is compiled twice with different features.
fn build(names: &[Name], dev: bool) -> Result<Vec<BuiltImage>> {
    let profile = if dev { Profile::Dev } else { Profile::Release };
    let images = xtask_image::build(names, profile)?;
    for image in &images {
        println!("{}\n{}", image.reference(), image.tagged());
        println!(
            "  {:.1} MB compressed, {}",
            megabytes(image.size),
            image.archive.display()
        );
    }
    Ok(images)
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "no image comes near 2^52 bytes, and one digit is shown"
    )]
    let bytes = bytes as f64;
    bytes / 1e6
}
