//! Reads the work order that the operator wrote into the pod's annotation.

use std::path::PathBuf;

use gastown_api::pod::ORDER_FILE;
use gastown_api::work_order::WorkOrder;

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

/// The work order of this pod.
pub fn read() -> Result<WorkOrder, ReadOrder> {
    let path = PathBuf::from(ORDER_FILE);
    let json = std::fs::read(&path).map_err(|source| ReadOrder::ReadFile {
        path: path.clone(),
        source,
    })?;
    parse(&json, path)
}

fn parse(json: &[u8], path: PathBuf) -> Result<WorkOrder, ReadOrder> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let order = serde_path_to_error::deserialize(&mut json);
    let order = order.map_err(|error| (error.path().to_string(), error.into_inner()));
    let order = order.and_then(|order| match json.end() {
        Ok(()) => Ok(order),
        Err(error) => Err(("the end".to_owned(), error)),
    });
    order.map_err(|(field, source)| ReadOrder::Parse { path, field, source })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::console::explain;

    fn refused(json: &str) -> String {
        let error = parse(json.as_bytes(), ORDER_FILE.into()).expect_err(json);
        let error = explain(&error);
        assert!(
            error.contains(ORDER_FILE) && error.contains("one version"),
            "{error}"
        );
        error
    }

    #[test]
    fn orders_of_another_shape_are_refused_by_field_and_value() {
        let cases = [
            ("/attempt", json!(-1), "attempt", "-1"),
            ("/attempt", json!("one"), "attempt", "one"),
            ("/attempt", json!(4_294_967_296_u64), "attempt", "4294967296"),
            ("/polecat", json!(null), "polecat", "null"),
            ("/task", json!(["a"]), "task", "sequence"),
            ("/surprise", json!(1), "surprise", "unknown field"),
            ("/git/surprise", json!(1), "git.surprise", "unknown field"),
            (
                "/git/repository",
                json!("file:///etc"),
                "git.repository",
                "file:///etc",
            ),
            (
                "/git/repository",
                json!("-oProxyCommand=id"),
                "git.repository",
                "-oProxyCommand=id",
            ),
            ("/git/baseBranch", json!("a..b"), "git.baseBranch", "a..b"),
            ("/git/workBranch", json!("-x"), "git.workBranch", "-x"),
            ("/git/workBranch", json!("HEAD"), "git.workBranch", "HEAD"),
            ("/git/base", json!("abc"), "git.base", "abc"),
            ("/git/base", json!("0".repeat(40)), "git.base", "not all zero"),
            ("/git/maxPushBytes", json!(-5), "git.maxPushBytes", "-5"),
            ("/git/deniedPaths", json!("x"), "git.deniedPaths", "x"),
            ("/model/tokensLeft", json!(1.5), "model.tokensLeft", "1.5"),
            (
                "/model/prices",
                json!({"m": {"input": 1}}),
                "model.prices.m",
                "missing field",
            ),
            (
                "/limits/deadlineSeconds",
                json!("1h"),
                "limits.deadlineSeconds",
                "1h",
            ),
            ("/limits/graceSeconds", Value::Null, "limits.graceSeconds", "null"),
        ];
        for (at, put, field, value) in cases {
            let mut order = serde_json::to_value(crate::testing::order()).unwrap();
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
        let whole = serde_json::to_string(&crate::testing::order()).unwrap();
        refused(&(whole + "{}"));
    }
}
