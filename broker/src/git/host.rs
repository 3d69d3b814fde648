//! The loopback git host: clone and fetch by git's own `http-backend`, push by [`super::receive`].

use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use gastown_api::evidence::BrokerState;
use http::{Method, StatusCode, header};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::cgi::{self, Answer};
use super::inbound::Inbound;
use super::pkt::MAX_HEAD;
use super::repository::Repository;
use crate::record::Record;
use polecat_common::loopback::REREAD;

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
    /// Read the remote again.
    Reread,
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
            BrokerState::Stopped { reason, message } => Some(format!("{reason}: {message}\n")),
            _ => None,
        }
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
        (&Method::POST, REREAD, None) => Some(Call::Reread),
        _ => None,
    }
}

async fn answer(State(host): State<Host>, request: Request) -> Response {
    let call = call_of(request.method(), request.uri().path(), request.uri().query());
    let repository = host.repository();
    // When the broker has stopped, a clone would wait in vain; snapshots are still taken, where there is a repository.
    let for_snapshots =
        matches!(call, Some(Call::PushRefs | Call::Push | Call::Reread)) && repository.is_some();
    if let (Some(why), false) = (host.stopped(), for_snapshots) {
        return (StatusCode::GONE, why).into_response();
    }
    let Some(repository) = repository else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "1")],
            "starting\n",
        )
            .into_response();
    };
    match call {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(call @ (Call::FetchRefs | Call::Fetch)) => host.fetch(&repository, call, request).await,
        Some(Call::PushRefs) => repository.advertise().await,
        Some(Call::Reread) => match repository.reread().await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(failure) => (StatusCode::BAD_GATEWAY, format!("{failure}\n")).into_response(),
        },
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
        Call::FetchRefs | Call::PushRefs | Call::Reread => ("GET", "info/refs", "service=git-upload-pack"),
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
