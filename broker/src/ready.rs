//! The doorbell: readiness flips when the operator should read the evidence. It says 200 or 503 and nothing else, since
//! it listens on the pod's address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use gastown_api::evidence::BrokerState;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::record::News;
use super::serve::serve_others;

/// How long it is ready between two states that are not, so that the kubelet's probe, every 2 s, sees a flip.
const FLIP: Duration = Duration::from_secs(5);

/// The kubelet probes on one connection; the rest is for people. The agent gets none.
const CONNECTIONS: usize = 16;

/// Serves `GET /readyz` on `listener` by what there is to read.
pub async fn ring(listener: TcpListener, news: watch::Receiver<News>) {
    let ready = Arc::new(AtomicBool::new(true));
    let router = Router::new()
        .route("/readyz", get(answer))
        .with_state(Arc::clone(&ready));
    tokio::join!(
        serve_others(listener, router, CONNECTIONS),
        follow(news, &ready, FLIP)
    );
}

async fn answer(State(ready): State<Arc<AtomicBool>>) -> StatusCode {
    if ready.load(Ordering::Relaxed) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn follow(mut news: watch::Receiver<News>, ready: &AtomicBool, flip: Duration) {
    // When it last became ready again: an end of parking that lasts a moment must be seen too.
    let mut again: Option<Instant> = None;
    loop {
        let wanted = is_ready(&news.borrow_and_update());
        if !ready.load(Ordering::Relaxed) {
            ready.store(true, Ordering::Relaxed);
            again = Some(Instant::now());
        }
        if !wanted {
            if let Some(again) = again {
                sleep_until(again + flip).await;
            }
            if news.has_changed().unwrap_or(false) {
                continue;
            }
            ready.store(false, Ordering::Relaxed);
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

fn is_ready(news: &News) -> bool {
    match &news.state {
        _ if news.asks.is_some() || news.checkpoints_failing => false,
        BrokerState::Starting | BrokerState::Serving => true,
        BrokerState::Parked { .. } | BrokerState::Stopped { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;

    use super::*;

    fn parked() -> BrokerState {
        BrokerState::Parked {
            reason: Reason::SecretMissing,
            message: String::new(),
            until: None,
        }
    }

    fn stopped() -> BrokerState {
        BrokerState::Stopped {
            reason: Reason::SecretMissing,
            message: String::new(),
        }
    }

    fn news(state: BrokerState) -> News {
        News {
            state,
            asks: None,
            checkpoints_failing: false,
        }
    }

    #[test]
    fn a_part_of_the_budget_that_is_asked_for_and_a_checkpoint_that_failed_are_to_be_read() {
        let serving = || news(BrokerState::Serving);
        assert!(is_ready(&serving()));
        assert!(!is_ready(&News {
            asks: Some(gastown_api::budget::Share::default()),
            ..serving()
        }));
        assert!(!is_ready(&News {
            checkpoints_failing: true,
            ..serving()
        }));
    }

    /// Whether a broker that was parked and goes through `states` at once is seen ready between, and not ready at the end.
    async fn flips(states: Vec<BrokerState>) {
        let (sender, receiver) = watch::channel(news(BrokerState::Starting));
        let ready = Arc::new(AtomicBool::new(true));
        let shown = Arc::clone(&ready);
        tokio::spawn(async move { follow(receiver, &ready, Duration::from_millis(600)).await });
        let look = async |millis| {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            shown.load(Ordering::Relaxed)
        };
        assert!(look(10).await);
        sender.send_replace(news(parked()));
        assert!(!look(10).await, "the first time at once");
        for state in states {
            sender.send_replace(news(state));
            assert!(look(10).await);
        }
        assert!(!look(1000).await);
    }

    #[tokio::test]
    async fn from_parked_to_stopped_readiness_flips_twice() {
        flips(vec![stopped()]).await;
    }

    #[tokio::test]
    async fn between_two_parkings_readiness_flips_however_short_it_is() {
        flips(vec![BrokerState::Serving, parked()]).await;
        flips(vec![
            BrokerState::Serving,
            parked(),
            BrokerState::Serving,
            stopped(),
        ])
        .await;
    }
}
