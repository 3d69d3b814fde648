//! Reads the work order that the operator wrote into the pod's annotation.

use std::path::{Path, PathBuf};

use gastown_api::labels::WORK_ORDER;
use gastown_api::pod::{ORDER_DIGEST_ENV, ORDER_FILE};
use gastown_api::reason::Reason;
use gastown_api::work_order::{Role, WorkOrder};
use gastown_crypto::sha256;

use crate::console::explain;

/// The file in a container's private folder.
const KEPT: &str = "work-order.json";

/// Why the work order cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadOrder {
    /// The file cannot be read.
    #[error("failed to read the work order {path:?}; the pod must mount its annotation there")]
    ReadFile {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what the pod was made with.
    #[error(
        "refused the work order: someone changed the annotation {WORK_ORDER:?} after the pod was made; find out who may \
         patch pods"
    )]
    Check {
        /// The attempt that the refused order names.
        attempt: u32,
    },
    /// The order cannot be kept.
    #[error("failed to keep the work order as {path:?}; a restart will need the annotation as it is")]
    Keep {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no work order.
    #[error(
        "failed to parse {field:?} of the work order {path:?}; operator and agent image must be of one version"
    )]
    Parse {
        /// Where it was read.
        path: PathBuf,
        /// Where in it.
        field: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ReadOrder {
    /// What `git-init` says of it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Check { .. } => Reason::WorkOrderChanged,
            Self::ReadFile { .. } | Self::Keep { .. } | Self::Parse { .. } => Reason::CloneFailed,
        }
    }
}

/// The work order of this pod.
pub fn read() -> Result<WorkOrder, ReadOrder> {
    let (json, digest) = mounted()?;
    check(&json, digest.as_deref())?;
    parse(&json, ORDER_FILE.into())
}

/// The work order of this pod, for a container that may be started again: the order is kept in its private folder, so that
/// a change of the annotation changes nothing. `warn` is told of one.
pub fn read_or_kept(private: &Path, warn: impl Fn(&str)) -> Result<WorkOrder, ReadOrder> {
    let (json, digest) = mounted()?;
    let json = choose(json, digest.as_deref(), &private.join(KEPT), warn)?;
    parse(&json, ORDER_FILE.into())
}

/// The annotation as the kubelet mounts it, and the digest that the order was given when the pod was made; an operator of
/// an earlier version gave none.
fn mounted() -> Result<(Vec<u8>, Option<String>), ReadOrder> {
    let path = PathBuf::from(ORDER_FILE);
    let json = std::fs::read(&path).map_err(|source| ReadOrder::ReadFile { path, source })?;
    Ok((json, std::env::var(ORDER_DIGEST_ENV).ok()))
}

/// The order that was mounted when the container was first started, whatever is mounted now.
fn choose(
    mounted: Vec<u8>,
    digest: Option<&str>,
    kept: &Path,
    warn: impl Fn(&str),
) -> Result<Vec<u8>, ReadOrder> {
    let before = std::fs::read(kept).ok();
    match check(&mounted, digest) {
        Ok(()) => {
            if digest.is_some() && before.as_ref() != Some(&mounted) {
                keep(&mounted, kept).unwrap_or_else(|error| warn(&explain(&error)));
            }
            Ok(mounted)
        }
        Err(changed) => match before.filter(|before| check(before, digest).is_ok()) {
            None => Err(changed),
            Some(before) => {
                warn(&format!("{changed}; goes on with the order that it began with"));
                Ok(before)
            }
        },
    }
}

/// Written whole or not at all: the container may be killed at any time.
fn keep(json: &[u8], kept: &Path) -> Result<(), ReadOrder> {
    let new = kept.with_extension("new");
    let written = std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, kept));
    written.map_err(|source| ReadOrder::Keep {
        path: kept.to_owned(),
        source,
    })
}

fn check(json: &[u8], digest: Option<&str>) -> Result<(), ReadOrder> {
    if digest.is_none_or(|digest| sha256(json).hex() == digest) {
        return Ok(());
    }
    let order: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let attempt = order["attempt"]
        .as_u64()
        .and_then(|number| number.try_into().ok());
    Err(ReadOrder::Check {
        attempt: attempt.unwrap_or_default(),
    })
}

fn parse(json: &[u8], path: PathBuf) -> Result<WorkOrder, ReadOrder> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let order: Result<WorkOrder<Role>, _> = serde_path_to_error::deserialize(&mut json);
    let order = order.map_err(|error| (error.path().to_string(), error.into_inner()));
    let order = order.and_then(|order| match json.end() {
        Ok(()) => Ok(order),
        Err(error) => Err(("the end".to_owned(), error)),
    });
    let order = order.map_err(|(field, source)| ReadOrder::Parse { path, field, source })?;
    Ok(order.map(|Role::Polecat(own)| *own))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn order() -> WorkOrder<Role> {
        serde_json::from_str(include_str!("order/sample.json")).unwrap()
    }

    fn refused(json: &str) -> String {
        let error = parse(json.as_bytes(), ORDER_FILE.into()).expect_err(json);
        let error = explain(&error);
        assert!(
            error.contains(ORDER_FILE) && error.contains("one version"),
            "{error}"
        );
        error
    }

    /// Where something else is put, what, the field that is named, and its value.
    fn shapes() -> Vec<(&'static str, Value, &'static str, &'static str)> {
        vec![
            ("/attempt", json!(-1), "attempt", "-1"),
            ("/attempt", json!("one"), "attempt", "one"),
            ("/attempt", json!(4_294_967_296_u64), "attempt", "4294967296"),
            ("/owner", json!(null), "owner", "null"),
            ("/role", json!({"mayor": {}}), "role", "mayor"),
            ("/surprise", json!(1), "surprise", "unknown field"),
            (
                "/limits/deadlineSeconds",
                json!("1h"),
                "limits.deadlineSeconds",
                "1h",
            ),
            ("/limits/graceSeconds", Value::Null, "limits.graceSeconds", "null"),
        ]
    }

    /// The same in the part of a polecat.
    fn shapes_of_a_polecat() -> Vec<(&'static str, Value, &'static str, &'static str)> {
        vec![
            ("/role/polecat/task", json!(["a"]), "task", "sequence"),
            (
                "/role/polecat/git/surprise",
                json!(1),
                "git.surprise",
                "unknown field",
            ),
            (
                "/role/polecat/git/remote/repository",
                json!("file:///etc"),
                "git.remote.repository",
                "file:///etc",
            ),
            (
                "/role/polecat/git/remote/repository",
                json!("-oProxyCommand=id"),
                "git.remote.repository",
                "-oProxyCommand=id",
            ),
            (
                "/role/polecat/git/baseBranch",
                json!("a..b"),
                "git.baseBranch",
                "a..b",
            ),
            (
                "/role/polecat/git/workBranch",
                json!("-x"),
                "git.workBranch",
                "-x",
            ),
            (
                "/role/polecat/git/workBranch",
                json!("HEAD"),
                "git.workBranch",
                "HEAD",
            ),
            ("/role/polecat/git/base", json!("abc"), "git.base", "abc"),
            (
                "/role/polecat/git/base",
                json!("0".repeat(40)),
                "git.base",
                "not all zero",
            ),
            (
                "/role/polecat/git/maxPushBytes",
                json!(-5),
                "git.maxPushBytes",
                "-5",
            ),
            (
                "/role/polecat/git/deniedPaths",
                json!("x"),
                "git.deniedPaths",
                "x",
            ),
            (
                "/role/polecat/model/tokensLeft",
                json!(1.5),
                "model.tokensLeft",
                "1.5",
            ),
            (
                "/role/polecat/model/prices",
                json!({"m": {"input": 1}}),
                "model.prices.m",
                "missing field",
            ),
        ]
    }

    #[test]
    fn orders_of_another_shape_are_refused_by_field_and_value() {
        for (at, put, field, value) in shapes().into_iter().chain(shapes_of_a_polecat()) {
            let mut order = serde_json::to_value(self::order()).unwrap();
            let (parent, key) = at.rsplit_once('/').unwrap();
            order.pointer_mut(parent).unwrap()[key] = put;
            let error = refused(&order.to_string());
            assert!(error.contains(field) && error.contains(value), "{at}: {error}");
        }
    }

    #[test]
    fn what_is_no_order_at_all_is_refused() {
        for json in ["", "{", "[]", "null", "{}", "\u{feff}{}", "{\"git\": {}}"] {
            refused(json);
        }
        let whole = serde_json::to_string(&self::order()).unwrap();
        refused(&(whole + "{}"));
    }

    #[test]
    fn an_order_that_was_changed_after_the_pod_was_made_is_refused() {
        let order = serde_json::to_vec(&self::order()).unwrap();
        let digest = sha256(&order).hex();
        assert!(check(&order, Some(&digest)).is_ok());
        assert!(check(&order, None).is_ok(), "an operator of an earlier version");
        let text = String::from_utf8(order.clone()).unwrap();
        for changed in [
            text.replace("https://", "http://evil."),
            format!("{text} "),
            text[1..].to_owned(),
            String::new(),
        ] {
            let error = check(changed.as_bytes(), Some(&digest)).expect_err(&changed);
            assert!(error.to_string().contains("gastown.io/work-order"), "{error}");
        }
        assert!(check(&order, Some("")).is_err(), "an empty digest fits nothing");
    }

    #[test]
    fn a_container_that_is_started_again_goes_on_with_the_order_that_it_began_with() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join(KEPT);
        let order = serde_json::to_vec(&self::order()).unwrap();
        let digest = sha256(&order).hex();
        let choose = |mounted: &[u8]| choose(mounted.to_vec(), Some(&digest), &kept, |_| ());
        assert!(choose(b"{}").is_err(), "it never had another");
        assert_eq!(choose(&order).unwrap(), order);
        for changed in [&b"{}"[..], b"", &order[1..]] {
            assert_eq!(choose(changed).unwrap(), order);
        }
        std::fs::write(&kept, "{}").unwrap();
        assert!(choose(b"{}").is_err(), "what was kept is checked as well");
        std::fs::remove_file(&kept).unwrap();
        assert_eq!(super::choose(order.clone(), None, &kept, |_| ()).unwrap(), order);
        assert!(!kept.exists(), "without a digest nothing is believed later");
    }
}
