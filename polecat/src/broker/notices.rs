//! What the other containers tell the broker on its git host's port besides git. The agent can say all of it too: a
//! false sign of life lets it be silent until the deadline, a false alarm ends its own attempt, saved.

use std::path::PathBuf;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::work_order::DiskOrder;
use http::StatusCode;

use super::record::{MODEL_CALLS, Record};
use crate::keeper::disk::Disk;
use crate::loopback::{ALIVE, CALLS, DISK_FULL, DiskFull, TURNS, Volume};

/// The most bytes of a notice.
const MAX_NOTICE: usize = 1024;

#[derive(Clone)]
struct Desk {
    record: Record,
    disk: DiskOrder,
}

/// The routes.
pub fn router(record: Record, disk: DiskOrder) -> Router {
    Router::new()
        .route(TURNS, get(turns))
        .route(CALLS, get(calls))
        .route(ALIVE, post(alive))
        .route(DISK_FULL, post(disk_full))
        .layer(DefaultBodyLimit::max(MAX_NOTICE))
        .with_state(Desk { record, disk })
}

/// A turn is a call of the model that was answered.
async fn turns(State(desk): State<Desk>) -> String {
    desk.record.spent().0.requests.to_string()
}

async fn calls(State(desk): State<Desk>) -> String {
    let free = desk.record.model_calls().available_permits();
    MODEL_CALLS.saturating_sub(free).to_string()
}

async fn alive(State(desk): State<Desk>) -> StatusCode {
    desk.record.touch();
    StatusCode::NO_CONTENT
}

async fn disk_full(State(desk): State<Desk>, Json(notice): Json<DiskFull>) -> StatusCode {
    stop(&desk.record, &desk.disk, notice);
    StatusCode::NO_CONTENT
}

fn stop(record: &Record, disk: &DiskOrder, notice: DiskFull) {
    let (name, limit) = match notice.volume {
        Volume::Workspace => ("workspace", disk.workspace),
        Volume::Home => ("home", disk.home),
        Volume::Tmp => ("tmp", disk.tmp),
        Volume::Keeper => ("keeper", disk.keeper),
        Volume::Broker => ("broker", disk.broker),
    };
    record.enter(BrokerState::Stopped {
        reason: Reason::DiskFull,
        message: format!("the volume {name} held {} of {limit} bytes", notice.used),
    });
}

/// Watches the broker's own volume in `dir`, which pushes fill, and stops the attempt while a last snapshot still fits.
pub async fn watch_volume(record: Record, dir: PathBuf, order: DiskOrder) {
    let mut disk = Disk::of_broker(&dir, order);
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let (full, pause) = disk.look();
            (disk, full, pause)
        });
        let Ok((returned, full, pause)) = looked.await else {
            return;
        };
        disk = returned;
        if let Some(full) = full {
            return stop(&record, &order, full);
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
    use crate::broker::fixture;

    async fn ask(record: &Record, request: Request<Body>) -> (StatusCode, String) {
        let service = TowerToHyperService::new(router(record.clone(), fixture::order().disk));
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
    async fn a_full_volume_of_the_broker_stops_the_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let order = fixture::order();
        let record = Record::open(dir.path(), dir.path().join("t"), &order).unwrap();
        std::fs::write(dir.path().join("pack"), vec![1; 95_000]).unwrap();
        let disk = DiskOrder {
            broker: 100_000,
            ..order.disk
        };
        watch_volume(record.clone(), dir.path().to_owned(), disk).await;
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
}
