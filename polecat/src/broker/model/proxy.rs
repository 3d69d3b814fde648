//! One call from the agent, from its first byte to its settlement.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::usage::Usage;
use gastown_api::work_order::ModelOrder;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{self, Call};
use super::budget::{Amount, Budget, Reservation};
use super::endpoint::Endpoint;
use super::error::Refusal;
use super::headers;
use super::judge::{self, Verdict};
use super::parking::{self, Parking};
use super::stream;
use super::upstream::{Key, Outgoing, Upstream};
use crate::broker::record::Record;

/// Calls at a time; others wait.
pub(super) const CALLS: usize = 8;

/// The most of an upstream's error that is read.
const MAX_ERROR: usize = 64 * 1024;

/// How often a call that did not reach the upstream is tried again.
const RETRIES: u32 = 3;

/// The proxy's state, shared by all calls.
pub(super) struct Proxy {
    order: ModelOrder,
    record: Record,
    upstream: Upstream,
    budget: Arc<Budget>,
    parking: Parking,
    calls: Arc<Semaphore>,
}

/// A request that was read and checked.
struct Checked {
    endpoint: Endpoint,
    beta: bool,
    headers: http::HeaderMap,
    body: Bytes,
    call: Call,
}

impl Proxy {
    pub(super) fn new(order: ModelOrder, record: Record, upstream: Upstream) -> Self {
        let budget = Arc::new(Budget::new(&order));
        let calls = Arc::new(Semaphore::new(CALLS));
        Self {
            order,
            record,
            upstream,
            budget,
            parking: Parking::default(),
            calls,
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Body>) -> Response {
        match self.carry_out(request).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn carry_out(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let slot = Arc::clone(&self.calls)
            .acquire_owned()
            .await
            .map_err(|_| Refusal::over("the broker is ending"))?;
        let checked = self.check(request).await?;
        self.ask(checked, slot).await
    }

    async fn check(&self, request: Request<Body>) -> Result<Checked, Refusal> {
        let (parts, body) = request.into_parts();
        let endpoint = Endpoint::read(&parts.method, &parts.uri)?;
        headers::check(&parts.headers)?;
        let body = Limited::new(body, body::MAX_BYTES).collect().await;
        let body = body
            .map_err(|_| Refusal::bad_request("the body broke off, or is larger than 32 MiB"))?
            .to_bytes();
        let call = body::check(&body, &self.order)?;
        let beta = parts.uri.query() == Some("beta=true");
        Ok(Checked {
            endpoint,
            beta,
            headers: headers::request(&parts.headers),
            body,
            call,
        })
    }

    /// Tries until the upstream has answered; what it does not answer for a reason that passes is waited for.
    async fn ask(&self, checked: Checked, slot: OwnedSemaphorePermit) -> Result<Response, Refusal> {
        let (mut waits, mut failures) = (0, 0);
        loop {
            let key = self.key().await?;
            let reservation = self.reserve(&checked).await?;
            self.check_still_on()?;
            let outgoing = Outgoing {
                endpoint: checked.endpoint,
                beta: checked.beta,
                headers: checked.headers.clone(),
                body: checked.body.clone(),
                key: &key,
            };
            let response = match self.upstream.send(outgoing).await {
                Ok(response) => response,
                Err(message) if failures >= RETRIES => return Err(Refusal::upstream(message)),
                Err(message) => {
                    drop(reservation);
                    failures += 1;
                    tracing::warn!(%message, failures, "a model call did not reach its endpoint");
                    tokio::time::sleep(std::time::Duration::from_secs(u64::from(failures))).await;
                    continue;
                }
            };
            match judge::judge(response.status(), response.headers(), waits, Timestamp::now()) {
                Verdict::Pass => return Ok(self.pass(&checked, response, reservation, slot)),
                Verdict::Wait { reason, delay } => {
                    drop(reservation);
                    waits += 1;
                    let message = format!("the model endpoint answered {}", response.status());
                    self.parking.wait(&self.record, reason, message, delay).await;
                }
                Verdict::Stop { message } => {
                    return Err(self.stop(Reason::ModelCredentialRefused, self.credential_words(&message)));
                }
                Verdict::Fail(refusal) => return Err(explain(refusal, response, &key).await),
            }
        }
    }

    /// Waits for the key, parked: its secret may be filled while the pod runs.
    async fn key(&self) -> Result<Key, Refusal> {
        let message = format!(
            "secret {:?} has no key {:?}",
            self.order.secret, self.order.secret_key
        );
        let key = self
            .parking
            .until(&self.record, Reason::SecretMissing, message, || {
                self.upstream.key()
            })
            .await;
        key.ok_or_else(|| self.over())
    }

    fn credential_words(&self, message: &str) -> String {
        format!(
            "{message} of secret {:?}, key {:?}",
            self.order.secret, self.order.secret_key
        )
    }

    async fn reserve(&self, checked: &Checked) -> Result<Option<Reservation>, Refusal> {
        if checked.endpoint == Endpoint::CountTokens {
            return Ok(None);
        }
        let spent = || {
            let (usage, micros) = self.record.spent();
            Amount {
                tokens: usage.tokens(),
                micros: micros.unwrap_or_default(),
            }
        };
        match Budget::reserve(&self.budget, &checked.call, &self.order, spent).await {
            Ok(reservation) => Ok(Some(reservation)),
            Err(spent) => Err(self.stop(Reason::BudgetSpent, spent.message)),
        }
    }

    fn check_still_on(&self) -> Result<(), Refusal> {
        if parking::stopped(&self.record).is_some() {
            Err(self.over())
        } else {
            Ok(())
        }
    }

    fn stop(&self, reason: Reason, message: String) -> Refusal {
        self.record.enter(BrokerState::Stopped { reason, message });
        self.over()
    }

    fn over(&self) -> Refusal {
        Refusal::over(parking::stopped(&self.record).unwrap_or_else(|| "the broker is ending".to_owned()))
    }

    /// Passes the answer on. The slot and the reservation are held until its usage is on disk.
    fn pass(
        &self,
        checked: &Checked,
        response: http::Response<Incoming>,
        reservation: Option<Reservation>,
        slot: OwnedSemaphorePermit,
    ) -> Response {
        let (parts, answer) = response.into_parts();
        let (record, model) = (self.record.clone(), checked.call.model.clone());
        let price = self.order.price(&model);
        let settle = move |told: Option<Usage>| {
            if let Some(reservation) = reservation {
                // An answer that broke off has been paid for all the same.
                let usage = told.unwrap_or(reservation.usage);
                if let Err(error) = record.settle(&model, usage, price.map(|price| price.micros(&usage))) {
                    record.enter(BrokerState::Stopped {
                        reason: Reason::EvidenceMissing,
                        message: error.to_string(),
                    });
                }
            }
            drop(slot);
        };
        let mut passed = Response::new(stream::pass(answer, checked.call.stream, settle));
        *passed.status_mut() = parts.status;
        *passed.headers_mut() = headers::response(&parts.headers);
        passed
    }
}

/// An error of the upstream, with its own words where they are safe.
async fn explain(refusal: Refusal, response: http::Response<Incoming>, key: &Key) -> Refusal {
    let status = response.status();
    if status.is_redirection() {
        return refusal;
    }
    let body = Limited::new(response.into_body(), MAX_ERROR).collect().await;
    judge::redact(
        status,
        &body.map(|body| body.to_bytes()).unwrap_or_default(),
        key.reveal(),
    )
}
