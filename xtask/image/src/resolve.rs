//! `cargo xtask image lock`: takes the newest packages, and says loudly what that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::apt::{Apt, Record};
use crate::definition::Definition;
use crate::lock::{Lock, NpmPackage, Package};
use crate::recipe::npm;
use crate::{Architecture, Name, progress, workspace};

const SUITE: &str = "trixie";
const DAY: u64 = 24 * 60 * 60;

/// Writes the lock file anew; with `keep_agents`, npm packages stay at the versions that are locked.
pub fn lock(keep_agents: bool) -> Result<()> {
    let old = if Lock::file().exists() {
        Some(Lock::load()?)
    } else {
        None
    };
    let kept = old.as_ref().filter(|_| keep_agents);
    let mut new = resolve(kept.map_or(&[], |old| &old.npm_packages))?;
    let changes = match &old {
        Some(old) => old.changes(&new),
        None => vec![format!(
            "{} Debian and {} npm packages: new",
            new.packages.len(),
            new.npm_packages.len()
        )],
    };
    if let Some(old) = &old
        && changes.is_empty()
    {
        // Equal packages keep their time, so that images keep their digests.
        new.epoch = old.epoch;
    }
    if old.as_ref() == Some(&new) {
        println!(
            "images/images.lock is up to date: {} Debian packages",
            new.packages.len()
        );
        return Ok(());
    }
    workspace::write_whole(&Lock::file(), new.render()?.as_bytes())?;
    println!("images/images.lock CHANGED:");
    for change in &changes {
        println!("  {change}");
    }
    if changes.is_empty() {
        println!("  other sets of the same packages");
    }
    Ok(())
}

fn resolve(agents: &[NpmPackage]) -> Result<Lock> {
    let (mut images, mut packages) = (BTreeMap::new(), Vec::new());
    let mut npm_names = BTreeSet::new();
    for architecture in Architecture::ALL {
        let (of_images, found) = of_architecture(architecture)?;
        images.insert(architecture, of_images);
        packages.extend(found);
        for name in Name::ALL {
            let definition = Definition::load(name)?;
            npm_names.extend(definition.npm(architecture).map(|(name, _)| name.to_owned()));
        }
    }
    packages.sort_by(|one, other| (&one.name, &one.architecture).cmp(&(&other.name, &other.architecture)));
    // Packages of all architectures come once with each.
    packages.dedup();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(Lock {
        epoch: now.as_secs() / DAY * DAY,
        suite: SUITE.to_owned(),
        images,
        packages,
        npm_packages: npm::resolve(&npm_names, agents)?,
    })
}

/// The names of the packages of each image.
type Sets = BTreeMap<String, Vec<String>>;

/// The names of each image's packages on an architecture, and these packages.
fn of_architecture(architecture: Architecture) -> Result<(Sets, Vec<Package>)> {
    let what = format!("read the indexes of Debian {SUITE} for {}", architecture.as_str());
    let apt = progress::step(what, || Apt::current(SUITE, architecture.as_str()))?;
    let mut images = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    for name in Name::ALL {
        let definition = Definition::load(name)?;
        let closure = apt.closure(&definition.packages, &definition.without);
        let mut closure =
            closure.with_context(|| format!("the packages of image {name} cannot be resolved"))?;
        closure.sort();
        images.insert(
            name.as_str().to_owned(),
            closure.iter().map(|(name, _)| name.clone()).collect(),
        );
        wanted.extend(closure);
    }
    let names: Vec<_> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let available = apt.versions(&names)?;
    let packages = wanted
        .iter()
        .map(|(name, version)| package(name, version, &available));
    Ok((images, packages.collect::<Result<_>>()?))
}

fn package(name: &str, version: &str, available: &[Record]) -> Result<Package> {
    let Some(record) = available
        .iter()
        .find(|record| record.name == name && record.version == version)
    else {
        bail!("apt would install {name} {version}, which the archive does not describe")
    };
    Ok(Package {
        name: record.name.clone(),
        version: record.version.clone(),
        architecture: record.architecture.clone(),
        path: record.path.clone(),
        sha256: record.sha256.clone(),
        size: record.size,
    })
}
