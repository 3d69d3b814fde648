//! The control API, served on the git host's port. The agent can say all of it too: a false sign of life lets it be silent
//! until the deadline, a false alarm ends its own attempt, saved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use gastown_api::control_api::{
    Alive, BeadStore, BeadStores, Checkpoint, DiskFull, Heard, MAX_REQUEST, ModelActivity, ModelCalls,
    Refused, Request, RereadRemote, UnseenStorage, UsedStorage, Volume,
};
use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::work_order::DiskOrder;
use http::StatusCode;
use polecat_common::disk::{Disk, Look};

use super::git::Host;
use super::record::{MODEL_CALLS, Record};

/// The most of a log that stays on the node: the kubelet keeps five files of 10 MiB, unless it is told otherwise.
const MOST_OF_A_LOG: u64 = 50 << 20;

#[derive(Clone)]
struct ControlState {
    record: Record,
    host: Host,
    disk: DiskOrder,
    storage: Storage,
}

/// The pod's ephemeral storage: its limit, and what of it only the broker knows.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// Bytes; none: it has no limit.
    limit: Option<u64>,
    own: Arc<AtomicU64>,
    log: Arc<AtomicU64>,
}

impl Storage {
    /// Nothing is used yet.
    pub fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    fn unseen(&self) -> u64 {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        load(&self.own).saturating_add(load(&self.log).min(MOST_OF_A_LOG))
    }
}

/// The routes. A request that is too long or of another shape is refused before anything is done.
pub fn router(record: Record, host: Host, disk: DiskOrder, storage: Storage) -> Router {
    Router::new()
        .route(ModelActivity::PATH, post(model_activity))
        .route(Alive::PATH, post(alive))
        .route(DiskFull::PATH, post(disk_full))
        .route(UnseenStorage::PATH, post(unseen_storage))
        .route(Checkpoint::PATH, post(checkpoint))
        .route(RereadRemote::PATH, post(reread_remote))
        .route(BeadStore::PATH, post(bead_store))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(ControlState {
            record,
            host,
            disk,
            storage,
        })
}

/// What a request of type `R` is answered.
type Answered<R> = Result<Json<<R as Request>::Answer>, Refusal>;

/// Why a request is refused.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, Json(Refused { message })).into_response()
    }
}

async fn model_activity(
    State(state): State<ControlState>,
    Json(ModelActivity {}): Json<ModelActivity>,
) -> Answered<ModelActivity> {
    let free = state.record.model_calls().available_permits();
    let under_way = MODEL_CALLS.saturating_sub(free);
    Ok(Json(ModelCalls {
        turns: state.record.spent().0.requests,
        under_way: u64::try_from(under_way).unwrap_or(u64::MAX),
    }))
}

async fn alive(State(state): State<ControlState>, Json(alive): Json<Alive>) -> Answered<Alive> {
    state.record.touch();
    state.storage.log.fetch_max(alive.logged_bytes, Ordering::Relaxed);
    Ok(Json(Heard {}))
}

async fn unseen_storage(
    State(state): State<ControlState>,
    Json(UnseenStorage {}): Json<UnseenStorage>,
) -> Answered<UnseenStorage> {
    let bytes = state.storage.unseen();
    Ok(Json(UsedStorage { bytes }))
}

async fn checkpoint(
    State(state): State<ControlState>,
    Json(checkpoint): Json<Checkpoint>,
) -> Answered<Checkpoint> {
    if state.record.set_checkpoint(checkpoint.failure) {
        Ok(Json(Heard {}))
    } else {
        let message = "the opposite was said a moment ago; say it again later".to_owned();
        Err(Refusal(StatusCode::CONFLICT, message))
    }
}

async fn disk_full(State(state): State<ControlState>, Json(full): Json<DiskFull>) -> Answered<DiskFull> {
    stop(&state.record, &state.disk, &state.storage, full);
    Ok(Json(Heard {}))
}

async fn reread_remote(
    State(state): State<ControlState>,
    Json(RereadRemote {}): Json<RereadRemote>,
) -> Answered<RereadRemote> {
    let repository = state.host.repository_for_snapshots();
    let repository = repository.map_err(|absent| Refusal(absent.status(), absent.to_string()))?;
    match repository.reread().await {
        Ok(()) => Ok(Json(Heard {})),
        Err(failure) => Err(Refusal(StatusCode::BAD_GATEWAY, failure.to_string())),
    }
}

async fn bead_store(
    State(state): State<ControlState>,
    Json(BeadStore {}): Json<BeadStore>,
) -> Answered<BeadStore> {
    let repository = state.host.repository_for_clones();
    let repository = repository.map_err(|absent| Refusal(absent.status(), absent.to_string()))?;
    let dolt = repository.beads_in_dolt;
    Ok(Json(BeadStores { dolt }))
}

fn stop(record: &Record, disk: &DiskOrder, storage: &Storage, full: DiskFull) {
    let volume = |name, limit| (format!("the volume {name}"), limit);
    let (what, limit) = match full.volume {
        Volume::Workspace => volume("workspace", disk.workspace),
        Volume::Home => volume("home", disk.home),
        Volume::Tmp => volume("tmp", disk.tmp),
        Volume::Keeper => volume("keeper", disk.keeper),
        Volume::Broker => volume("broker", disk.broker),
        Volume::Pod => (
            "volumes and logs, which the pod's limit of ephemeral storage bounds,".to_owned(),
            storage.limit.unwrap_or_default(),
        ),
    };
    record.enter(BrokerState::Stopped {
        reason: Reason::DiskFull,
        message: format!("{what} held {} of {limit} bytes", full.used),
    });
}

/// Watches the broker's own volume in `dir`, which pushes fill, and stops the attempt while a last snapshot still fits.
pub async fn watch_volume(record: Record, dir: PathBuf, order: DiskOrder, storage: Storage) {
    let mut disk = Disk::of_broker(&dir, order);
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let look = disk.look(0);
            (disk, look)
        });
        let Ok((returned, Look { full, used, pause })) = looked.await else {
            return;
        };
        disk = returned;
        storage.own.store(used, Ordering::Relaxed);
        if let Some(full) = full {
            return stop(&record, &order, &storage, full);
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use gastown_api::usage::Usage;
    use http_body_util::BodyExt as _;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::fixture;
    use gastown_api::control_api::Request;

    /// It has no repository yet.
    fn host(record: &Record) -> Host {
        Host::new(record.clone())
    }

    async fn ask(record: &Record, request: http::Request<Body>) -> (StatusCode, String) {
        let storage = Storage::new(Some(1000));
        let service = TowerToHyperService::new(router(
            record.clone(),
            host(record),
            fixture::order().role.disk,
            storage,
        ));
        let answer = service.call(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    fn post(path: &str, body: &str) -> http::Request<Body> {
        let request = http::Request::post(path).header("content-type", "application/json");
        request.body(Body::from(body.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn turns_are_the_answered_calls() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let usage = Usage {
            requests: 1,
            ..Usage::default()
        };
        for _ in 0..3 {
            record.settle("claude-x", usage, Some(1)).unwrap();
        }
        let (status, calls) = ask(&record, post(ModelActivity::PATH, "{}")).await;
        assert_eq!(
            (status, &calls[..]),
            (StatusCode::OK, r#"{"turns":3,"underWay":0}"#)
        );
    }

    #[tokio::test]
    async fn calls_under_way_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let under_way = async || {
            let (_, calls) = ask(&record, post(ModelActivity::PATH, "{}")).await;
            let calls: ModelCalls = serde_json::from_str(&calls).unwrap();
            calls.under_way
        };
        assert_eq!(under_way().await, 0);
        let calls = record.model_calls();
        let call = calls.acquire().await.unwrap();
        assert_eq!(under_way().await, 1);
        drop(call);
        assert_eq!(under_way().await, 0);
    }

    #[tokio::test]
    async fn a_failed_checkpoint_is_told_until_another_one_is_saved_and_never_more_often_than_the_bell_can_ring()
     {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let say = async |body: &str| ask(&record, post(Checkpoint::PATH, body)).await.0;
        assert_eq!(say(r#"{"failure":null}"#).await, StatusCode::OK);
        assert!(!record.news().borrow().checkpoints_failing, "nothing is new");
        assert_eq!(say(r#"{"failure":"no space"}"#).await, StatusCode::OK);
        assert!(record.news().borrow().checkpoints_failing);
        assert_eq!(record.evidence().checkpoints_failing.as_deref(), Some("no space"));
        assert_eq!(say(r#"{"failure":"still none"}"#).await, StatusCode::OK);
        assert_eq!(say(r#"{"failure":null}"#).await, StatusCode::CONFLICT, "too soon");
        assert!(record.evidence().checkpoints_failing.is_some());
        for body in ["", "{}}", r#"{"failure":1}"#, r#"{"failure":"x","more":1}"#] {
            assert!(say(body).await.is_client_error(), "{body}");
        }
    }

    #[tokio::test]
    async fn a_full_volume_of_the_broker_stops_the_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let order = fixture::order();
        let record = Record::open(dir.path(), dir.path().join("t"), &order).unwrap();
        std::fs::write(dir.path().join("pack"), vec![1; 95_000]).unwrap();
        let disk = DiskOrder {
            broker: 100_000,
            ..order.role.disk
        };
        let storage = Storage::default();
        watch_volume(record.clone(), dir.path().to_owned(), disk, storage.clone()).await;
        assert!(storage.unseen() >= 95_000, "the keeper hears it");
        let BrokerState::Stopped { reason, message } = record.evidence().state else {
            panic!("it goes on")
        };
        assert_eq!(reason, Reason::DiskFull);
        assert!(message.contains("the volume broker held"), "{message}");
    }

    #[tokio::test]
    async fn a_full_disk_stops_the_attempt_in_our_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        for body in [
            "",
            "{}",
            r#"{"volume":"root","used":1}"#,
            r#"{"volume":"home","used":-1}"#,
            r#"{"volume":"home","used":1,"message":"forged"}"#,
        ] {
            let (status, _) = ask(&record, post(DiskFull::PATH, body)).await;
            assert!(status.is_client_error(), "{body}");
        }
        let long = format!(r#"{{"volume":"home","used":1}}{}"#, " ".repeat(2 * MAX_REQUEST));
        assert!(
            ask(&record, post(DiskFull::PATH, &long))
                .await
                .0
                .is_client_error()
        );
        assert_eq!(record.evidence().state, BrokerState::Starting);
        let (status, _) = ask(&record, post(DiskFull::PATH, r#"{"volume":"home","used":7}"#)).await;
        assert_eq!(status, StatusCode::OK);
        let BrokerState::Stopped { reason, message } = record.evidence().state else {
            panic!("it goes on")
        };
        assert_eq!(reason, Reason::DiskFull);
        assert_eq!(message, "the volume home held 7 of 1073741824 bytes");
    }

    #[tokio::test]
    async fn a_full_pod_is_called_that_and_names_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        ask(&record, post(DiskFull::PATH, r#"{"volume":"pod","used":950}"#)).await;
        let BrokerState::Stopped { message, .. } = record.evidence().state else {
            panic!("it goes on")
        };
        assert!(
            message.contains("ephemeral storage") && message.contains("950 of 1000"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn what_the_keeper_cannot_see_is_told_and_no_word_of_the_agent_makes_it_large() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let storage = Storage::new(None);
        storage.own.store(1000, Ordering::Relaxed);
        let routes = router(
            record.clone(),
            host(&record),
            fixture::order().role.disk,
            storage.clone(),
        );
        for (said, unseen) in [
            ("", 1000),
            ("500", 1000),
            (r#"{"loggedBytes":-1}"#, 1000),
            (r#"{"loggedBytes":9,"more":1}"#, 1000),
            (r#"{"loggedBytes":500}"#, 1500),
            (r#"{"loggedBytes":7}"#, 1500),
            (r#"{"loggedBytes":18446744073709551615}"#, 1000 + MOST_OF_A_LOG),
        ] {
            let service = TowerToHyperService::new(routes.clone());
            service.call(post(Alive::PATH, said)).await.unwrap();
            assert_eq!(storage.unseen(), unseen, "{said:?}");
        }
    }

    #[tokio::test]
    async fn the_remote_is_read_again_only_where_there_is_a_repository_and_the_answer_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let asked = async || ask(&record, post(RereadRemote::PATH, "{}")).await;
        let (status, words) = asked().await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(words, r#"{"message":"starting"}"#);
        record.enter(BrokerState::Stopped {
            reason: Reason::BranchNotFound,
            message: "no such branch".to_owned(),
        });
        let (status, words) = asked().await;
        assert_eq!(status, StatusCode::GONE);
        assert_eq!(words, r#"{"message":"BranchNotFound: no such branch"}"#);
    }

    #[tokio::test]
    async fn a_request_of_another_version_method_or_shape_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        for (path, body) in [
            ("/alive", r#"{"loggedBytes":1}"#),
            ("/v2/alive", r#"{"loggedBytes":1}"#),
            (ModelActivity::PATH, ""),
            (ModelActivity::PATH, "null"),
            (ModelActivity::PATH, r#"{"x":1}"#),
            (RereadRemote::PATH, r#"{"ref":"refs/heads/main"}"#),
            (BeadStore::PATH, r#"{"dolt":true}"#),
        ] {
            let (status, _) = ask(&record, post(path, body)).await;
            assert!(status.is_client_error(), "{path} {body}: {status}");
        }
        let get = http::Request::get(ModelActivity::PATH)
            .body(Body::empty())
            .unwrap();
        assert_eq!(ask(&record, get).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}
