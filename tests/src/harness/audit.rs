//! What the API server says it was asked: its audit log.

use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// One request, as far as tests read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `patch`, `update`, `delete`.
    pub verb: String,
    /// The resource with its subresource, such as `polecats/status`.
    pub resource: String,
    /// The namespace, empty where there is none.
    pub namespace: String,
    /// The name, empty where there is none.
    pub name: String,
}

/// A place in the audit log.
pub struct Mark {
    path: PathBuf,
    offset: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

impl Mark {
    /// Where the log ends now.
    #[must_use]
    pub fn now() -> Self {
        let path = PathBuf::from(std::env::var_os("GASTOWN_AUDIT_LOG").unwrap_or_else(|| {
            panic!("GASTOWN_AUDIT_LOG is not set: run `cargo xtask test e2e`, which says where the API server logs")
        }));
        let meta = std::fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            offset: meta.len(),
            path,
        }
    }

    /// The requests that `user` began since, in order.
    #[must_use]
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        let mut file = std::fs::File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        let mut requests = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line.unwrap();
            // The last line may still be in the writing.
            let Ok(parsed) = serde_json::from_str::<Line>(&line) else {
                continue;
            };
            // A watch is logged when it starts and when it ends; a plain request only when it ends.
            let counted = parsed.stage == "ResponseComplete" && parsed.verb != "watch"
                || parsed.stage == "ResponseStarted";
            if counted && parsed.user.username == user {
                requests.push(request(parsed));
            }
        }
        requests
    }
}

fn request(line: Line) -> Request {
    let object = line.object_ref.unwrap_or_default();
    let resource = if object.subresource.is_empty() {
        object.resource
    } else {
        format!("{}/{}", object.resource, object.subresource)
    };
    Request {
        verb: line.verb,
        resource,
        namespace: object.namespace,
        name: object.name,
    }
}

impl Request {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }
}
