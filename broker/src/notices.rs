//! What the other containers tell the broker on its git host's port besides git. The agent can say all of it too: a
//! false sign of life lets it be silent until the deadline, a false alarm ends its own attempt, saved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::work_order::DiskOrder;
use http::StatusCode;

use super::record::{MODEL_CALLS, Record};
use polecat_common::disk::{Disk, Look};
use polecat_common::loopback::{
    ALIVE, CALLS, CHECKPOINT, Checkpoint, DISK_FULL, DiskFull, TURNS, UNSEEN, Volume,
};

/// The most bytes of a notice.
const MAX_NOTICE: usize = 1024;

/// The most of a log that stays on the node: the kubelet keeps five files of 10 MiB, unless it is told otherwise.
const MOST_OF_A_LOG: u64 = 50 << 20;

#[derive(Clone)]
struct Desk {
    record: Record,
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

/// The routes.
pub fn router(record: Record, disk: DiskOrder, storage: Storage) -> Router {
    Router::new()
        .route(TURNS, get(turns))
        .route(CALLS, get(calls))
        .route(ALIVE, post(alive))
        .route(DISK_FULL, post(disk_full))
        .route(UNSEEN, get(unseen))
        .route(CHECKPOINT, post(checkpoint))
        .layer(DefaultBodyLimit::max(MAX_NOTICE))
        .with_state(Desk {
            record,
            disk,
            storage,
        })
}

/// A turn is a call of the model that was answered.
async fn turns(State(desk): State<Desk>) -> String {
    desk.record.spent().0.requests.to_string()
}

async fn calls(State(desk): State<Desk>) -> String {
    let free = desk.record.model_calls().available_permits();
    MODEL_CALLS.saturating_sub(free).to_string()
}

async fn alive(State(desk): State<Desk>, logged: String) -> StatusCode {
    desk.record.touch();
    if let Ok(bytes) = logged.parse() {
        desk.storage.log.fetch_max(bytes, Ordering::Relaxed);
    }
    StatusCode::NO_CONTENT
}

async fn unseen(State(desk): State<Desk>) -> String {
    desk.storage.unseen().to_string()
}

async fn checkpoint(State(desk): State<Desk>, Json(checkpoint): Json<Checkpoint>) -> StatusCode {
    if desk.record.set_checkpoint(checkpoint.failure) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::CONFLICT
    }
}

async fn disk_full(State(desk): State<Desk>, Json(notice): Json<DiskFull>) -> StatusCode {
    stop(&desk.record, &desk.disk, &desk.storage, notice);
    StatusCode::NO_CONTENT
}

fn stop(record: &Record, disk: &DiskOrder, storage: &Storage, notice: DiskFull) {
    let volume = |name, limit| (format!("the volume {name}"), limit);
    let (what, limit) = match notice.volume {
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
        message: format!("{what} held {} of {limit} bytes", notice.used),
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
    use http::Request;
    use http_body_util::BodyExt as _;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::fixture;

    async fn ask(record: &Record, request: Request<Body>) -> (StatusCode, String) {
        let storage = Storage::new(Some(1000));
        let service = TowerToHyperService::new(router(record.clone(), fixture::order().disk, storage));
        let answer = service.call(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    fn post(path: &str, body: &str) -> Request<Body> {
        let request = Request::post(path).header("content-type", "application/json");
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
        let get = Request::get(TURNS).body(Body::empty()).unwrap();
        assert_eq!(ask(&record, get).await, (StatusCode::OK, "3".to_owned()));
    }

    #[tokio::test]
    async fn calls_under_way_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let get = || Request::get(CALLS).body(Body::empty()).unwrap();
        assert_eq!(ask(&record, get()).await.1, "0");
        let calls = record.model_calls();
        let call = calls.acquire().await.unwrap();
        assert_eq!(ask(&record, get()).await.1, "1");
        drop(call);
        assert_eq!(ask(&record, get()).await.1, "0");
    }

    #[tokio::test]
    async fn a_failed_checkpoint_is_told_until_another_one_is_saved_and_never_more_often_than_the_bell_can_ring()
     {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap();
        let say = async |body: &str| ask(&record, post(CHECKPOINT, body)).await.0;
        assert_eq!(say(r#"{"failure":null}"#).await, StatusCode::NO_CONTENT);
        assert!(!record.news().borrow().checkpoints_failing, "nothing is new");
        assert_eq!(say(r#"{"failure":"no space"}"#).await, StatusCode::NO_CONTENT);
        assert!(record.news().borrow().checkpoints_failing);
        assert_eq!(record.evidence().checkpoints_failing.as_deref(), Some("no space"));
        assert_eq!(say(r#"{"failure":"still none"}"#).await, StatusCode::NO_CONTENT);
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
            ..order.disk
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
            let (status, _) = ask(&record, post(DISK_FULL, body)).await;
            assert!(status.is_client_error(), "{body}");
        }
        let long = format!(r#"{{"volume":"home","used":1}}{}"#, " ".repeat(2 * MAX_NOTICE));
        assert!(ask(&record, post(DISK_FULL, &long)).await.0.is_client_error());
        assert_eq!(record.evidence().state, BrokerState::Starting);
        let (status, _) = ask(&record, post(DISK_FULL, r#"{"volume":"home","used":7}"#)).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
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
        ask(&record, post(DISK_FULL, r#"{"volume":"pod","used":950}"#)).await;
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
        let routes = router(record, fixture::order().disk, storage.clone());
        for (said, unseen) in [
            ("", 1000),
            ("x", 1000),
            ("500", 1500),
            ("7", 1500),
            ("18446744073709551615", 1000 + MOST_OF_A_LOG),
        ] {
            let service = TowerToHyperService::new(routes.clone());
            service.call(post(ALIVE, said)).await.unwrap();
            assert_eq!(storage.unseen(), unseen, "{said:?}");
        }
    }
}
