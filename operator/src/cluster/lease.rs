//! Keeps the Lease, by the rules of [`crate::leader`], and says whether this replica leads.

use std::time::{Duration, Instant};

use gastown_api::text::chain;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Call, Cluster};
use crate::leader::{DEADLINE, Decision, LOOK_PERIOD, Memory, RENEW_PERIOD, held, released};

/// A replica that leads or waits to.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    memory: Memory,
    held: Option<(Lease, Instant)>,
    leads: watch::Sender<bool>,
}

impl Elector {
    /// A replica that does not lead yet, and what it will say.
    #[must_use]
    pub fn new(cluster: &Cluster, namespace: &str, name: &str) -> (Self, watch::Receiver<bool>) {
        let (leads, receiver) = watch::channel(false);
        let elector = Self {
            api: Api::namespaced(cluster.client.clone(), namespace),
            name: name.to_owned(),
            identity: cluster.identity.clone(),
            memory: Memory::default(),
            held: None,
            leads,
        };
        (elector, receiver)
    }

    /// Renews or waits, until the process is told to stop; then lets the Lease go.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let turn = timeout(self.patience(), self.turn());
            let outcome = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                outcome = turn => outcome,
            };
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), lease = self.name, "failed to keep the lease");
                }
                Err(_) => tracing::warn!(
                    lease = self.name,
                    "the API server did not answer about the lease in time"
                ),
            }
            self.step_down_if_late();
            let pause = if self.held.is_some() {
                RENEW_PERIOD
            } else {
                LOOK_PERIOD
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.let_go().await;
    }

    /// A leader asks no longer than it may lead.
    fn patience(&self) -> Duration {
        let left = self
            .held
            .as_ref()
            .map(|(_, since)| DEADLINE.saturating_sub(since.elapsed()));
        left.map_or(DEADLINE, |left| left.max(Duration::from_millis(50)))
    }

    async fn turn(&mut self) -> Result<(), Call> {
        let lease = match &self.held {
            Some((lease, _)) => lease.clone(),
            None => self.read().await?,
        };
        let asked = Instant::now();
        match self
            .memory
            .decide(&self.identity, &lease, Timestamp::now(), asked)
        {
            Decision::Wait => {
                self.held = None;
                Ok(())
            }
            Decision::Write(spec) => self.write(lease, spec, asked).await,
        }
    }

    async fn read(&self) -> Result<Lease, Call> {
        let found = self
            .api
            .get_opt(&self.name)
            .await
            .map_err(|error| self.failed("read", error))?;
        if let Some(lease) = found {
            return Ok(lease);
        }
        let fresh = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(held(&self.identity, &LeaseSpec::default(), Timestamp::now())),
        };
        self.api
            .create(&PostParams::default(), &fresh)
            .await
            .map_err(|error| self.failed("create", error))
    }

    /// The resource version in `lease` is the precondition.
    async fn write(&mut self, mut lease: Lease, spec: LeaseSpec, asked: Instant) -> Result<(), Call> {
        lease.spec = Some(spec);
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(written) => {
                self.held = Some((written, asked));
                if self.say(true) {
                    tracing::info!(lease = self.name, identity = self.identity, "leads");
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                // Someone else was faster, or changed it: it is read anew. Until then we lead no more.
                self.held = None;
                Ok(())
            }
            Err(error) => Err(self.failed("renew", error)),
        }
    }

    fn step_down_if_late(&mut self) {
        let late = self
            .held
            .as_ref()
            .is_none_or(|(_, since)| since.elapsed() >= DEADLINE);
        if late {
            self.held = None;
            if self.say(false) {
                tracing::warn!(lease = self.name, "leads no more");
            }
        }
    }

    /// Says whether this replica leads; answers whether that is news.
    fn say(&self, leads: bool) -> bool {
        self.leads
            .send_if_modified(|said| std::mem::replace(said, leads) != leads)
    }

    async fn let_go(mut self) {
        self.say(false);
        let Some((mut lease, _)) = self.held.take() else {
            return;
        };
        lease.spec = Some(released(&lease.spec.unwrap_or_default(), Timestamp::now()));
        let params = PostParams::default();
        let gone = timeout(DEADLINE, self.api.replace(&self.name, &params, &lease)).await;
        if !matches!(gone, Ok(Ok(_))) {
            tracing::warn!(
                lease = self.name,
                "failed to release the lease; another replica waits until it expires"
            );
        }
    }

    fn failed(&self, act: &'static str, error: kube::Error) -> Call {
        Call::from_kube(act, &format!("lease {}", self.name), error)
    }
}
