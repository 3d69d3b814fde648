//! Who asked the API server for what: its audit log, read as it grows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the requests of this program call themselves, so that they are told from the operator's.
pub const USER_AGENT: &str = "gastown-bench";

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether this program sent it.
    pub own: bool,
    /// Such as `create` or `watch`.
    pub verb: String,
    /// Such as `pods` or `polecats/status`.
    pub resource: String,
    /// The object, where it has a name.
    pub name: String,
    /// When it arrived.
    pub received: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
    /// The HTTP status of the answer.
    pub code: u16,
}

impl Request {
    /// How long the API server took for it.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.answered.duration_since(self.received).unsigned_abs()
    }

    /// Whether it changes something.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether the bars of writes count it: the Lease, deletions, and the Rig's counts they do not. The only patch of a
    /// pod lets it go after Done, the first step of its deletion.
    #[must_use]
    pub fn counts(&self) -> bool {
        let lets_go = self.verb == "patch" && self.resource == "pods";
        self.writes()
            && !lets_go
            && !self.verb.starts_with("delete")
            && self.resource != "leases"
            && !self.resource.starts_with("rigs")
    }

    /// The polecat it is about, by the name of the polecat or of its pod.
    #[must_use]
    pub fn polecat(&self) -> Option<&str> {
        match self.resource.split('/').next() {
            Some("polecats") => Some(&self.name),
            Some("pods") => self.name.strip_prefix("polecat-"),
            _ => None,
        }
    }
}

/// How often something was asked for, by verb and resource, such as `create pods`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tally(pub BTreeMap<String, usize>);

impl<'a> FromIterator<&'a Request> for Tally {
    fn from_iter<I: IntoIterator<Item = &'a Request>>(requests: I) -> Self {
        let mut tally = Self::default();
        for request in requests {
            let failed = if request.code >= 400 {
                format!(" ({})", request.code)
            } else {
                String::new()
            };
            let key = format!("{} {}{failed}", request.verb, request.resource);
            *tally.0.entry(key).or_default() += 1;
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|(what, times)| format!("{times} {what}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// Writes of one polecat until its pod exists, the pod's creation included; none where it was not created.
#[must_use]
pub fn writes_until_pod(requests: &[Request], polecat: &str) -> Option<usize> {
    let of_it: Vec<_> = requests
        .iter()
        .filter(|request| request.counts() && request.polecat() == Some(polecat))
        .collect();
    let born =
        |request: &&&Request| request.resource == "pods" && request.verb == "create" && request.code < 300;
    let pod = of_it.iter().find(born)?;
    Some(
        of_it
            .iter()
            .filter(|request| request.received <= pod.received)
            .count(),
    )
}

/// The log, from where the last reading ended.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    rest: Vec<u8>,
}

impl Log {
    /// The log at `path`; what it holds now is passed over.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path)
            .with_context(|| format!("failed to open the audit log {:?}", path.display()))?;
        let mut log = Self {
            path,
            file,
            rest: Vec::new(),
        };
        log.read()?;
        Ok(log)
    }

    /// The requests since the last call.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        self.append()?;
        // The API server renames a log that has grown to 100 MiB and goes on in a new file.
        let now = std::fs::metadata(&self.path)
            .with_context(|| format!("failed to look at {:?}", self.path.display()))?;
        if now.ino()
            != self
                .file
                .metadata()
                .context("failed to look at the audit log")?
                .ino()
        {
            self.append()?;
            self.file = File::open(&self.path)
                .with_context(|| format!("failed to open {:?}", self.path.display()))?;
            self.append()?;
        }
        let end = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| parse(line).transpose()).collect()
    }

    fn append(&mut self) -> Result<()> {
        self.file
            .read_to_end(&mut self.rest)
            .with_context(|| format!("failed to read {:?}", self.path.display()))?;
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct ObjectRef {
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

/// A watch is logged when it starts and when it ends; it is one request, and counts when it starts.
fn parse(line: &[u8]) -> Result<Option<Request>> {
    let line: Line = serde_json::from_slice(line).with_context(|| {
        format!(
            "failed to read a line of the audit log: {}",
            String::from_utf8_lossy(line)
        )
    })?;
    let stage = if line.verb == "watch" {
        "ResponseStarted"
    } else {
        "ResponseComplete"
    };
    let Some(object) = line.object_ref.filter(|_| line.stage == stage) else {
        return Ok(None);
    };
    let resource = if object.subresource.is_empty() {
        object.resource
    } else {
        format!("{}/{}", object.resource, object.subresource)
    };
    Ok(Some(Request {
        own: line.user_agent.starts_with(USER_AGENT),
        verb: line.verb,
        resource,
        name: object.name,
        received: line.request_received_timestamp,
        answered: line.stage_timestamp,
        code: line.response_status.map_or(0, |status| status.code),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verb: &str, stage: &str, resource: &str, name: &str, second: u8) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","objectRef":{{"resource":"{resource}","name":"{name}"}},"responseStatus":{{"code":201}},"requestReceivedTimestamp":"2026-01-01T00:00:{second:02}.000000Z","stageTimestamp":"2026-01-01T00:00:{second:02}.500000Z"}}"#
        )
    }

    fn requests(lines: &[String]) -> Vec<Request> {
        let parsed = lines.iter().map(|line| parse(line.as_bytes()).unwrap());
        parsed.flatten().collect()
    }

    #[test]
    fn a_watch_counts_once() {
        let lines = ["ResponseStarted", "ResponseComplete"].map(|stage| line("watch", stage, "pods", "", 1));
        assert_eq!(requests(&lines).len(), 1);
    }

    #[test]
    fn writes_after_the_pods_creation_are_not_needed_for_it() {
        let lines = [
            line("patch", "ResponseComplete", "polecats", "x", 1),
            line("create", "ResponseComplete", "pods", "polecat-x", 2),
            line("patch", "ResponseComplete", "polecats", "x", 3),
            line("patch", "ResponseComplete", "polecats", "y", 1),
            line("patch", "ResponseComplete", "pods", "polecat-x", 9),
        ];
        let requests = requests(&lines);
        assert_eq!(requests.iter().filter(|request| request.counts()).count(), 4);
        assert_eq!(writes_until_pod(&requests, "x"), Some(2));
        assert_eq!(writes_until_pod(&requests, "y"), None);
    }

    #[test]
    fn a_half_written_line_is_read_when_it_is_whole() {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut log = Log::open(file.path().to_path_buf()).unwrap();
        let text = format!("{}\n", line("create", "ResponseComplete", "pods", "polecat-x", 1));
        let (head, tail) = text.split_at(20);
        file.write_all(head.as_bytes()).unwrap();
        assert_eq!(log.read().unwrap(), []);
        file.write_all(tail.as_bytes()).unwrap();
        assert_eq!(
            Tally::from_iter(&log.read().unwrap()).to_string(),
            "1 create pods"
        );
    }
}
