//! The upstream repository of a world, as it really is: read with git through the API server's proxy, past every part
//! that is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::World;

/// Far above what tests fetch.
const MOST_BYTES: usize = 64 << 20;

/// The upstream repository, and beside it the model.
pub struct Remote {
    url: String,
    door: JoinHandle<()>,
    client: Client,
    model: String,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As git writes it: `100644`, `100755`, `120000`.
    pub mode: String,
    /// The content.
    pub bytes: Vec<u8>,
}

#[derive(Clone)]
struct Door {
    client: Client,
    prefix: String,
}

impl Remote {
    /// Opens a port on loopback through which git reaches the repository.
    pub async fn open(world: &World) -> Self {
        let proxy = |port: u16| format!("/api/v1/namespaces/{}/pods/testbed:{port}/proxy", world.namespace);
        let door = Door {
            client: world.client.clone(),
            prefix: proxy(8081),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/git/calculator.git", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(door);
        let door = tokio::spawn(async move {
            // It ends when the test's runtime does.
            let _ = axum::serve(listener, router).await;
        });
        Self {
            url,
            door,
            client: world.client.clone(),
            model: proxy(8080),
        }
    }

    /// Every ref of the repository and where it points, without HEAD.
    pub async fn refs(&self) -> BTreeMap<String, String> {
        let listed = git(Path::new("/"), &["ls-remote", &self.url]).await;
        let listed = String::from_utf8(listed).unwrap();
        listed
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(_, name)| *name != "HEAD")
            .map(|(sha, name)| (name.to_owned(), sha.to_owned()))
            .collect()
    }

    /// The commit that `name` points at.
    pub async fn sha(&self, name: &str) -> String {
        let refs = self.refs().await;
        let sha = refs.get(name).cloned();
        sha.unwrap_or_else(|| panic!("the remote has no {name:?}, but {refs:?}"))
    }

    /// Every file of a commit; a name that is no UTF-8 is escaped as Rust escapes bytes.
    pub async fn files(&self, sha: &str) -> BTreeMap<String, Entry> {
        let mirror = self.mirror().await;
        let listed = git(mirror.path(), &["ls-tree", "-r", "-z", sha]).await;
        let mut files = BTreeMap::new();
        for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap();
            let (meta, path) = (str::from_utf8(&line[..tab]).unwrap(), &line[tab + 1..]);
            let mut meta = meta.split(' ');
            let (mode, object) = (meta.next().unwrap(), meta.nth(1).unwrap());
            let entry = Entry {
                mode: mode.to_owned(),
                bytes: git(mirror.path(), &["cat-file", "blob", object]).await,
            };
            let name = str::from_utf8(path).map_or_else(|_| path.escape_ascii().to_string(), str::to_owned);
            files.insert(name, entry);
        }
        files
    }

    /// The messages of the commits that `from..to` names, newest first.
    pub async fn messages(&self, from: &str, to: &str) -> Vec<String> {
        let mirror = self.mirror().await;
        let log = git(
            mirror.path(),
            &["log", "--format=%B%x00", &format!("{from}..{to}")],
        )
        .await;
        let log = String::from_utf8(log).unwrap();
        log.split_terminator('\0')
            .map(|message| message.trim().to_owned())
            .filter(|m| !m.is_empty())
            .collect()
    }

    /// A file of `branch` in the bundle that stands at `path` in the commit `sha`.
    pub async fn file_in_bundle(&self, sha: &str, path: &str, branch: &str, file: &str) -> Vec<u8> {
        let mirror = self.mirror().await;
        let bundle = git(mirror.path(), &["cat-file", "blob", &format!("{sha}:{path}")]).await;
        std::fs::write(mirror.path().join("bundle"), bundle).unwrap();
        git(mirror.path(), &["fetch", "--quiet", "bundle", branch]).await;
        git(
            mirror.path(),
            &["cat-file", "blob", &format!("FETCH_HEAD:{file}")],
        )
        .await
    }

    /// The ids of every object that any ref has, and of those in the bundle of the snapshot `wip`, if there is one; besides,
    /// the paths that the newest commit of `branch` deletes, if its message begins with `subject`.
    pub async fn objects(
        &self,
        wip: Option<&str>,
        branch: &str,
        subject: &str,
    ) -> (BTreeSet<String>, Vec<Vec<u8>>) {
        let mirror = self.mirror().await;
        let path = mirror.path();
        let listed = match wip {
            Some(sha) => git(path, &["ls-tree", "-r", "--name-only", sha]).await,
            None => Vec::new(),
        };
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let held = |name: &&str| name.starts_with("gastown-held") && name.ends_with("/unpushed.bundle");
        if let (Some(sha), Some(name)) = (wip, listed.lines().find(held)) {
            let bundle = git(path, &["cat-file", "blob", &format!("{sha}:{name}")]).await;
            std::fs::write(path.join("bundle"), bundle).unwrap();
            git(path, &["bundle", "unbundle", "bundle"]).await;
        }
        let all = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
        let all = String::from_utf8(git(path, &all).await).unwrap();
        let refs = git(path, &["for-each-ref", "--format=%(refname) %(subject)"]).await;
        let refs = String::from_utf8_lossy(&refs).into_owned();
        let mut deleted = Vec::new();
        if refs
            .lines()
            .any(|line| line.starts_with(&format!("{branch} {subject}")))
        {
            let parent = format!("{branch}^");
            let diff = [
                "diff-tree",
                "-r",
                "-z",
                "--name-only",
                "--no-renames",
                "--diff-filter=D",
                &parent,
                branch,
            ];
            let diff = git(path, &diff).await;
            deleted.extend(
                diff.split(|byte| *byte == 0)
                    .filter(|path| !path.is_empty())
                    .map(<[u8]>::to_vec),
            );
        }
        (all.lines().map(str::to_owned).collect(), deleted)
    }

    async fn mirror(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["clone", "--quiet", "--mirror", &self.url, "."]).await;
        folder
    }

    /// Gives the model a script, as YAML or JSON.
    pub async fn put_script(&self, name: &str, script: &str) {
        let request = http::Request::put(format!("{}/scripts/{name}", self.model))
            .body(script.as_bytes().to_vec())
            .unwrap();
        self.client.request_text(request).await.unwrap();
    }

    /// What the model was asked, oldest first.
    pub async fn model_requests(&self) -> Vec<Value> {
        let request = http::Request::get(format!("{}/requests", self.model))
            .body(Vec::new())
            .unwrap();
        self.client.request(request).await.unwrap()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.door.abort();
    }
}

async fn git(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .await
        .unwrap_or_else(|error| panic!("failed to run git: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    output.stdout
}

/// Sends one request of git on to the pod.
async fn pass(State(door): State<Door>, request: Request) -> Response {
    forward(&door, request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

async fn forward(door: &Door, request: Request) -> Result<Response, String> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, MOST_BYTES)
        .await
        .map_err(|error| error.to_string())?;
    let mut onward = http::Request::builder()
        .method(parts.method)
        .uri(format!("{}{}", door.prefix, parts.uri));
    for name in [&header::CONTENT_TYPE, &header::CONTENT_ENCODING, &header::ACCEPT] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    if let Some(version) = parts.headers.get("git-protocol") {
        onward = onward.header("git-protocol", version);
    }
    let onward = onward
        .body(kube::client::Body::from(bytes.to_vec()))
        .map_err(|error| error.to_string())?;
    let answer = door
        .client
        .send(onward)
        .await
        .map_err(|error| error.to_string())?;
    let (parts, body) = answer.into_parts();
    let bytes = body
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = parts.status;
    *response.headers_mut() = content_type(&parts.headers);
    Ok(response)
}

fn content_type(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.get(header::CONTENT_TYPE);
    kept.map(|value| (header::CONTENT_TYPE, value.clone()))
        .into_iter()
        .collect()
}
