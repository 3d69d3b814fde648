//! The loopback git host: clone and fetch by git's own `http-backend`, push by [`super::receive`].

use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gastown_api::evidence::BrokerState;
use http::{Method, StatusCode, header};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::cgi::{self, Answer};
use super::inbound::Inbound;
use super::pkt::MAX_HEAD;
use super::repository::Repository;
use crate::record::Record;

/// The most bytes of a request for a fetch: ids of what is wanted and had.
const MAX_FETCH: u64 = 8 * 1024 * 1024;

/// How many fetches are served at once; each runs git.
const FETCHES: usize = 4;

/// The host; clones share it. Before [`Host::serve_repository`] it asks for patience.
#[derive(Clone)]
pub struct Host {
    record: Record,
    repository: Arc<OnceLock<Arc<Repository>>>,
    fetches: Arc<Semaphore>,
}

/// What is asked of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// What there is to fetch.
    FetchRefs,
    /// Fetch.
    Fetch,
    /// What there is to push to.
    PushRefs,
    /// Push.
    Push,
}

/// Why no repository is served.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// The broker serves no more.
    #[error("{0}")]
    Stopped(String),
    /// The broker does not serve yet.
    #[error("starting")]
    Starting,
}

impl Absent {
    /// The HTTP status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Stopped(_) => StatusCode::GONE,
            Self::Starting => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Absent {
    fn into_response(self) -> Response {
        let (status, words) = (self.status(), format!("{self}\n"));
        match self {
            Self::Stopped(_) => (status, words).into_response(),
            Self::Starting => (status, [(header::RETRY_AFTER, "1")], words).into_response(),
        }
    }
}

impl Host {
    /// A host without a repository yet.
    pub fn new(record: Record) -> Self {
        Self {
            record,
            repository: Arc::new(OnceLock::new()),
            fetches: Arc::new(Semaphore::new(FETCHES)),
        }
    }

    /// From now on `repository` is served.
    pub fn serve_repository(&self, repository: Arc<Repository>) {
        // There is one repository in the life of a broker.
        self.repository.get_or_init(|| repository);
    }

    /// The repository, once there is one.
    pub fn repository(&self) -> Option<Arc<Repository>> {
        self.repository.get().map(Arc::clone)
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    fn stopped(&self) -> Option<String> {
        match self.record.evidence().state {
            BrokerState::Stopped { reason, message } => Some(format!("{reason}: {message}")),
            _ => None,
        }
    }

    /// The repository for a clone, which would wait in vain when the broker has stopped.
    pub fn repository_for_clones(&self) -> Result<Arc<Repository>, Absent> {
        if let Some(why) = self.stopped() {
            return Err(Absent::Stopped(why));
        }
        self.repository().ok_or(Absent::Starting)
    }

    /// The repository for pushes: snapshots are still taken when the broker has stopped, where there is a repository.
    pub fn repository_for_snapshots(&self) -> Result<Arc<Repository>, Absent> {
        self.repository().map_or_else(|| self.repository_for_clones(), Ok)
    }

    async fn fetch(&self, repository: &Repository, call: Call, request: Request) -> Response {
        let Ok(permit) = Arc::clone(&self.fetches).acquire_owned().await else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let command = backend(repository, call, &request);
        let mut inbound = match Inbound::new(request, MAX_FETCH) {
            Ok(inbound) => inbound,
            Err(error) => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{error}\n")).into_response(),
        };
        if call == Call::Fetch && repository.order.other_branches {
            match inbound.peek().await {
                Ok(begin) => repository.fetch_on_demand(&begin).await,
                Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
            }
        }
        match cgi::run(command, inbound).await {
            Ok(Answer {
                status,
                headers,
                body,
            }) => {
                let mut response = Response::new(Body::from_stream(cgi::stream(body, permit)));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                response
            }
            Err(error) => {
                tracing::error!(%error, "failed to serve a fetch");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn call_of(method: &Method, path: &str, query: Option<&str>) -> Option<Call> {
    match (method, path, query) {
        (&Method::GET, "/repo.git/info/refs", Some("service=git-upload-pack")) => Some(Call::FetchRefs),
        (&Method::GET, "/repo.git/info/refs", Some("service=git-receive-pack")) => Some(Call::PushRefs),
        (&Method::POST, "/repo.git/git-upload-pack", None) => Some(Call::Fetch),
        (&Method::POST, "/repo.git/git-receive-pack", None) => Some(Call::Push),
        _ => None,
    }
}

async fn answer(State(host): State<Host>, request: Request) -> Response {
    let call = call_of(request.method(), request.uri().path(), request.uri().query());
    let repository = match call {
        Some(Call::PushRefs | Call::Push) => host.repository_for_snapshots(),
        Some(Call::FetchRefs | Call::Fetch) | None => host.repository_for_clones(),
    };
    let repository = match repository {
        Ok(repository) => repository,
        Err(absent) => return absent.into_response(),
    };
    match call {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(call @ (Call::FetchRefs | Call::Fetch)) => host.fetch(&repository, call, request).await,
        Some(Call::PushRefs) => repository.advertise().await,
        Some(Call::Push) => {
            let head = u64::try_from(MAX_HEAD).unwrap_or(u64::MAX);
            let limit = repository.order.max_push_bytes.saturating_add(head);
            match Inbound::new(request, limit) {
                // A push in flight goes on when its client is gone: the remote may have moved already.
                Ok(inbound) => detached(async move { repository.receive(inbound).await }).await,
                Err(error) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{error}\n")).into_response(),
            }
        }
    }
}

async fn detached(work: impl Future<Output = Response> + Send + 'static) -> Response {
    match tokio::spawn(work).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a push broke off");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// `git http-backend` for one call, its environment as `git-http-backend(1)` has it.
fn backend(repository: &Repository, call: Call, request: &Request) -> Command {
    let mut command = repository.git.command(["http-backend"]);
    let (method, path, query) = match call {
        Call::FetchRefs | Call::PushRefs => ("GET", "info/refs", "service=git-upload-pack"),
        Call::Fetch | Call::Push => ("POST", "git-upload-pack", ""),
    };
    let repo = &repository.git.repo;
    let (root, name) = (
        repo.parent().unwrap_or(repo),
        repo.file_name().unwrap_or_default(),
    );
    command.env_remove("GIT_DIR").env("GIT_PROJECT_ROOT", root).envs([
        ("GIT_HTTP_EXPORT_ALL", "1"),
        ("REQUEST_METHOD", method),
        ("QUERY_STRING", query),
    ]);
    command.env("PATH_INFO", format!("/{}/{path}", name.to_string_lossy()));
    if call == Call::Fetch {
        command.env("CONTENT_TYPE", "application/x-git-upload-pack-request");
    }
    let protocol = request
        .headers()
        .get("git-protocol")
        .and_then(|value| value.to_str().ok());
    if let Some(protocol) = protocol.filter(|text| ["version=1", "version=2"].contains(text)) {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.stdin(Stdio::piped());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_four_calls_is_served() {
        for (method, path, query) in [
            (Method::GET, "/repo.git/HEAD", None),
            (Method::GET, "/repo.git/info/refs", None),
            (
                Method::GET,
                "/repo.git/info/refs",
                Some("service=git-upload-archive"),
            ),
            (
                Method::GET,
                "/repo.git/info/refs",
                Some("service=git-upload-pack&x"),
            ),
            (
                Method::GET,
                "/repo.git/../repo.git/info/refs",
                Some("service=git-upload-pack"),
            ),
            (Method::GET, "/repo.git/objects/info/packs", None),
            (Method::GET, "/ledger.jsonl", None),
            (Method::POST, "/repo.git/git-receive-pack", Some("x")),
            (Method::PUT, "/repo.git/git-receive-pack", None),
        ] {
            assert_eq!(call_of(&method, path, query), None, "{method} {path}");
        }
        let push = call_of(&Method::POST, "/repo.git/git-receive-pack", None);
        assert_eq!(push, Some(Call::Push));
    }
}
