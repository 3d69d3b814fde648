//! `cargo xtask image lock`: takes the newest packages, and says loudly what that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::Name;
use crate::apt::{Apt, Record};
use crate::definition::Definition;
use crate::lock::{Lock, Package};
use crate::recipe::npm;
use crate::{progress, workspace};

const SUITE: &str = "trixie";
const ARCHITECTURE: &str = "amd64";
const DAY: u64 = 24 * 60 * 60;

/// Writes the lock file anew.
pub fn lock() -> Result<()> {
    let old = if Lock::file().exists() {
        Some(Lock::load()?)
    } else {
        None
    };
    let mut new = resolve()?;
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

fn resolve() -> Result<Lock> {
    let apt = progress::step(format!("read the indexes of Debian {SUITE}"), || {
        Apt::current(SUITE, ARCHITECTURE)
    })?;
    let mut images = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    let mut npm_names = BTreeSet::new();
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
        npm_names.extend(definition.npm.into_keys());
    }
    let names: Vec<_> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let available = apt.versions(&names)?;
    let packages = wanted
        .iter()
        .map(|(name, version)| package(name, version, &available));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(Lock {
        epoch: now.as_secs() / DAY * DAY,
        suite: SUITE.to_owned(),
        architecture: ARCHITECTURE.to_owned(),
        images,
        packages: packages.collect::<Result<_>>()?,
        npm_packages: npm_names
            .iter()
            .map(|name| npm::newest(name))
            .collect::<Result<_>>()?,
    })
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
