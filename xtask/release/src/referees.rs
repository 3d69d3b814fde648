//! `cargo xtask release referees`: programs of others, each asked about a finished release. What they are asked can be pasted.

mod bills;
mod copies;
pub mod cosign;
mod policies;
mod schemas;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use xtask_image::progress;

use crate::folder::{self, Shipped};
use crate::keys::Verifier;
use crate::layout::Layout;
use crate::pipeline::pushed_name;
use crate::registry::Repository;
use crate::registry::real::{self, Kind, Registry};
use crate::verify::{self, Verified};

/// The folder that the release has in the registries.
const TEAM: &str = "team";

/// A finished release, and the registries that it was pushed to.
pub struct Bench<'a> {
    pub folder: &'a Path,
    pub key: &'a Path,
    pub shipped: Vec<Shipped>,
    /// Without the referrers API, and with it.
    pub registries: [Registry; 2],
    /// For what referees write.
    pub place: TempDir,
}

/// Somebody else's program.
struct Referee {
    name: &'static str,
    /// Says, a line each, what was asked and answered; fails where the answer is not what it must be.
    ask: fn(&Bench) -> Result<Vec<String>>,
}

const REFEREES: [Referee; 9] = [
    Referee {
        name: "registries",
        ask: copies::registries,
    },
    Referee {
        name: "cosign",
        ask: cosign::three,
    },
    Referee {
        name: "cosign2",
        ask: cosign::two,
    },
    Referee {
        name: "cyclonedx",
        ask: bills::cyclonedx,
    },
    Referee {
        name: "syft",
        ask: bills::syft,
    },
    Referee {
        name: "copies",
        ask: copies::copies,
    },
    Referee {
        name: "helm",
        ask: copies::helm,
    },
    Referee {
        name: "kubeconform",
        ask: schemas::kubeconform,
    },
    Referee {
        name: "kyverno",
        ask: policies::kyverno,
    },
];

/// Asks those named in `only`, or all, and prints what they say; fails if one of them does not agree.
pub fn ask(folder: &Path, key: &Path, only: &[String]) -> Result<()> {
    let known: Vec<_> = REFEREES.iter().map(|one| one.name).collect();
    for name in only {
        ensure!(
            known.contains(&name.as_str()),
            "there is no referee {name:?}; there are {}",
            known.join(", ")
        );
    }
    let bench = Bench::set_up(folder, key)?;
    let is_wanted = |one: &&Referee| only.is_empty() || only.iter().any(|name| name == one.name);
    let mut failed = Vec::new();
    for referee in REFEREES.iter().filter(is_wanted) {
        let start = Instant::now();
        let said = (referee.ask)(&bench);
        let took = start.elapsed().as_secs_f64();
        match said {
            Ok(lines) => {
                println!("{} agrees ({took:.1} s)", referee.name);
                for line in lines {
                    println!("  {line}");
                }
            }
            Err(error) => {
                println!("{} does not agree ({took:.1} s)\n  {error:#}", referee.name);
                failed.push(referee.name);
            }
        }
    }
    ensure!(failed.is_empty(), "not agreed: {}", failed.join(", "));
    Ok(())
}

impl<'a> Bench<'a> {
    /// Verifies the release, and pushes it to both registries.
    fn set_up(folder: &'a Path, key: &'a Path) -> Result<Self> {
        folder::everything(folder, &Verifier::read(key)?)?;
        let place = tempfile::tempdir().context("failed to make a folder for referees")?;
        let start = |kind: Kind, name: &str| {
            let folder = place.path().join(name);
            fs_err::create_dir(&folder)?;
            real::start(kind, &folder)
        };
        let registries = [
            start(Kind::Distribution, "distribution")?,
            start(Kind::Referrers, "referrers")?,
        ];
        let bench = Self {
            folder,
            key,
            shipped: folder::shipped(folder)?,
            registries,
            place,
        };
        progress::step("push the release to two registries", || bench.push())?;
        Ok(bench)
    }

    fn push(&self) -> Result<()> {
        for registry in &self.registries {
            let mut pushed = Vec::new();
            for one in &self.shipped {
                if !pushed.contains(&&one.name) {
                    let layout = Layout::open(&self.folder.join("images").join(&one.name))?;
                    Repository::open(&Self::at(registry, one))?.push(&layout)?;
                    pushed.push(&one.name);
                }
            }
        }
        Ok(())
    }

    /// The chart that ships.
    pub fn chart(&self) -> Result<&Shipped> {
        let mut shipped = self.shipped.iter();
        shipped.find(|one| one.name == "chart").context("no chart ships")
    }

    /// The repository of something that ships, in a registry.
    pub fn at(registry: &Registry, shipped: &Shipped) -> String {
        pushed_name(&format!("{}/{TEAM}", registry.host), &shipped.repository)
    }

    /// What the release's folder has of something that ships: the index first, if there is one.
    fn found(&self, shipped: &Shipped) -> Result<Vec<Verified>> {
        let layout = Layout::open(&self.folder.join("images").join(&shipped.name))?;
        let tag = shipped.tags.first().context("what ships has a tag")?;
        verify::image(&layout, tag, &Verifier::read(self.key)?, verify::Depth::Manifests)
    }

    /// Asks about everything that ships in each registry.
    fn in_each_registry(
        &self,
        mut ask: impl FnMut(&str, &[Verified]) -> Result<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for registry in &self.registries {
            for one in &self.shipped {
                said.extend(ask(&Self::at(registry, one), &self.found(one)?)?);
            }
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referee_that_is_not_there_is_named_with_those_that_are() {
        let nowhere = Path::new("/nowhere");
        let error = ask(nowhere, nowhere, &["notary".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"notary\"") && error.contains("cosign, cosign2"),
            "{error}"
        );
    }
}
