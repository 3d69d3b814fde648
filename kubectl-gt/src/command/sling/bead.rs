//! The rig that a bead belongs to: the one whose prefix it has.

use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::error::{CommandError, Error};
use crate::view::Rig;

/// How many rigs an error names.
const MOST_NAMED: usize = 10;

/// The prefix of a bead, such as `mp` of `mp-a1b2`.
fn prefix(bead: &str) -> Option<&str> {
    let (prefix, rest) = bead.split_once('-')?;
    let letters = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_lowercase());
    (letters && !rest.is_empty()).then_some(prefix)
}

/// The rigs whose beads begin as this one.
async fn owners(cluster: &Cluster, bead: &str) -> Result<Vec<String>, Call> {
    let Some(prefix) = prefix(bead) else {
        return Ok(Vec::new());
    };
    let rigs = cluster.list(Resource::RIGS, &Selection::default()).await?;
    let rigs = rigs.iter().map(Rig::read);
    Ok(rigs
        .filter(|rig| rig.spec.beads_prefix == prefix)
        .map(|rig| rig.metadata.name)
        .collect())
}

/// The rig of a bead that was named without one.
pub async fn rig_of(cluster: &Cluster, bead: &str) -> Result<String, Error> {
    let wrong = |why: String| {
        let example =
            format!("name the rig: `kubectl gt sling {bead} RIG`, or say what to do with --message");
        Err(CommandError::Usage(format!("{why}; {example}")).into())
    };
    match owners(cluster, bead).await?.as_slice() {
        [rig] => Ok(rig.clone()),
        [] => wrong(format!(
            "{bead:?} is a bead of no rig that is known, by its prefix{}",
            prefixes(cluster).await?
        )),
        rigs => wrong(format!("{bead:?} may be a bead of {}", rigs.join(", "))),
    }
}

/// Which rigs have which prefixes, in words that follow others.
async fn prefixes(cluster: &Cluster) -> Result<String, Call> {
    let rigs = cluster.list(Resource::RIGS, &Selection::default()).await?;
    let rigs = rigs.iter().map(Rig::read);
    let known: Vec<_> = rigs
        .map(|rig| format!("{}- ({})", rig.spec.beads_prefix, rig.metadata.name))
        .take(MOST_NAMED)
        .collect();
    Ok(if known.is_empty() {
        ": there is no rig".to_owned()
    } else {
        format!(": known are {}", known.join(", "))
    })
}

/// An error where another rig than `rig` has the bead's prefix: its polecats would look for the bead in vain. Beads with a
/// prefix that no rig has are taken as they are.
pub async fn guard(cluster: &Cluster, bead: &str, rig: &Rig) -> Result<(), Error> {
    if prefix(bead).is_none_or(|prefix| prefix == rig.spec.beads_prefix) {
        return Ok(());
    }
    let owners = match owners(cluster, bead).await {
        // Who may not list rigs has to know what they do.
        Err(Call::Forbidden { .. }) => return Ok(()),
        owners => owners?,
    };
    match owners.first() {
        Some(owner) => Err(CommandError::Invalid(format!(
            "bead {bead:?} belongs to rig {owner:?} by its prefix, not to {:?}; sling it there, or pass --force to sling it here",
            rig.metadata.name
        ))
        .into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::testing::answering;
    use crate::exit::Exit;

    fn rig(name: &str, prefix: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"gitURL": "git@h:r", "beadsPrefix": prefix}})
    }

    fn cluster() -> Cluster {
        answering(|_| {
            let rigs = [rig("demo", "mp"), rig("first", "tw"), rig("second", "tw")];
            (200, json!({"items": rigs}))
        })
    }

    #[tokio::test]
    async fn a_bead_finds_the_one_rig_of_its_prefix() {
        for bead in ["mp-a1b2", "mp-a1b2.1", "mp-x-y"] {
            assert_eq!(rig_of(&cluster(), bead).await.unwrap(), "demo", "{bead}");
        }
        for (bead, part) in [
            ("tw-1", "first, second"),
            ("zz-1", "known are mp- (demo), tw- (first), tw- (second);"),
            ("mp", "no rig"),
            ("MP-1", "no rig"),
            ("mp-", "no rig"),
        ] {
            let error = rig_of(&cluster(), bead).await.unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{bead}");
            assert!(error.to_string().contains(part), "{bead}: {error}");
        }
    }

    #[tokio::test]
    async fn only_a_bead_that_is_another_rigs_is_refused() {
        let guard = async |bead: &str, prefix: &str| {
            let rig = Rig::read(&rig("mine", prefix));
            guard(&cluster(), bead, &rig).await.err()
        };
        for (bead, prefix) in [("mp-1", "mp"), ("issue-123", "mp"), ("123", "mp"), ("GH-7", "mp")] {
            assert!(guard(bead, prefix).await.is_none(), "{bead}");
        }
        for (bead, owner) in [("mp-1", "demo"), ("tw-1.2", "first")] {
            let error = guard(bead, "my").await.unwrap();
            assert_eq!(error.exit(), Exit::Invalid);
            assert!(error.to_string().contains(owner), "{bead}: {error}");
        }
    }
}
