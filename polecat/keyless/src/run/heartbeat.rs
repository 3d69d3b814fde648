//! Tells the broker by a beat that the agent is writing something, so that the agent does not count as hung. The agent
//! could send beats itself, but would only gain that it may be silent until the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polecat_common::control;

/// The minimum time between two beats.
const EVERY: Duration = Duration::from_secs(30);

/// Sends a beat to the broker once per period in which the agent wrote something.
#[derive(Debug)]
pub struct Heartbeat {
    wrote: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Heartbeat {
    /// Starts to send beats to loopback `port`.
    pub fn start(port: u16) -> Self {
        Self::every(EVERY, port)
    }

    fn every(period: Duration, port: u16) -> Self {
        let wrote = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn({
            let wrote = Arc::clone(&wrote);
            async move {
                loop {
                    if wrote.swap(false, Ordering::Relaxed) {
                        control::alive(port).await;
                    }
                    tokio::time::sleep(period).await;
                }
            }
        });
        Self { wrote, task }
    }

    /// Records that the agent wrote something.
    pub fn send(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use gastown_api::control_api::{Alive, Request as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn it_beats_at_the_start_and_after_output_and_not_without() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, mut heard) = mpsc::unbounded_channel();
        let hear = move || {
            let sender = sender.clone();
            async move { sender.send(()).unwrap() }
        };
        let router = Router::new().route(Alive::PATH, post(hear));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let heartbeat = Heartbeat::every(Duration::from_millis(20), port);
        heard.recv().await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(200), heard.recv()).await;
        assert!(silence.is_err(), "nothing was written");
        heartbeat.send();
        heard.recv().await.unwrap();
    }
}
