//! One call from the agent, from its first byte to its settlement.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;
use gastown_api::work_order::ModelOrder;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bill::Bill;
use super::body::{self, Call};
use super::budget::{Budget, Refused};
use super::classify::{self, Handling, Wait};
use super::credential::{self, Credential, Paths};
use super::endpoint::Endpoint;
use super::error::Refusal;
use super::headers;
use super::opening::{Answer, Outage};
use super::parking;
use super::refused::{explain, refine};
use super::stream;
use super::upstream::{Outgoing, Unreached, Upstream};
use crate::record::Record;

/// How often a call whose connection broke before an answer is tried again before it is held.
const RETRIES: u32 = 3;

/// How long the upstream may take to begin its answer. Without a stream that is the whole answer; the API itself gives
/// up after ten minutes.
const BEGIN: Duration = Duration::from_mins(15);

/// How long an agent may take to send a body over loopback.
const SEND_BODY: Duration = Duration::from_mins(1);

/// Bodies that may be in memory at a time, in MiB: an agent that sends several large ones waits.
const ROOM: usize = 48;

/// The proxy's state, shared by all calls.
pub(super) struct Proxy {
    order: ModelOrder,
    record: Record,
    upstream: Upstream,
    paths: Paths,
    budget: Arc<Budget>,
    calls: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// A request that was read and checked.
struct Checked {
    endpoint: Endpoint,
    beta: bool,
    headers: http::HeaderMap,
    body: Bytes,
    call: Call,
    _room: OwnedSemaphorePermit,
}

/// What became of one try.
enum Outcome {
    /// It is answered.
    Answer(Response),
    /// The connection broke before an answer.
    Broken(String),
    /// It is to be tried again.
    Wait {
        reason: Reason,
        message: String,
        wait: Wait,
    },
    /// Its token is refused; another one may come.
    Renew,
    /// The key is refused.
    Stop(String),
    /// It failed for good.
    Fail(Refusal),
}

impl Outcome {
    /// A connection that breaks again and again is an endpoint that is away.
    fn after(self, failures: u32, waits: u32) -> Self {
        match self {
            Self::Broken(message) if failures >= RETRIES => Self::Wait {
                reason: Reason::ModelUnreachable,
                message,
                wait: classify::guess(waits),
            },
            other => other,
        }
    }
}

impl Proxy {
    pub(super) fn new(order: ModelOrder, record: Record, upstream: Upstream, paths: Paths) -> Self {
        let budget = Arc::new(Budget::new(&order, &paths.control));
        if let Some(granted) = budget.granted() {
            record.account_for(granted);
        }
        let calls = record.model_calls();
        Self {
            order,
            record,
            upstream,
            paths,
            budget,
            calls,
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Body>) -> Response {
        match self.carry_out(request).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn carry_out(self: &Arc<Self>, request: Request<Body>) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let endpoint = Endpoint::read(&parts.method, &parts.uri, &self.order.apis)?;
        headers::check(&parts.headers)?;
        self.check_still_on()?;
        self.record.touch();
        let slot = permits(&self.calls, 1).await?;
        let (body, room) = self.read(body).await?;
        let call = body::check(&body, endpoint, &self.order)?;
        let checked = Checked {
            endpoint,
            beta: parts.uri.query() == Some("beta=true"),
            headers: headers::request(&parts.headers, self.may_be_long(&call)),
            body,
            call,
            _room: room,
        };
        self.ask(Arc::new(checked), Arc::new(slot)).await
    }

    /// Whether a prompt of more than 200,000 tokens can be charged; without a price nothing is.
    fn may_be_long(&self, call: &Call) -> bool {
        let price = self.order.price(&call.model);
        price.is_none_or(|price| price.long_context.is_some())
    }

    async fn read(&self, body: Body) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let broken = || Refusal::bad_request("the body broke off, or is larger than 32 MiB");
        let size = body
            .size_hint()
            .exact()
            .map_or(Ok(body::MAX_BYTES), usize::try_from);
        let size = size
            .ok()
            .filter(|size| *size <= body::MAX_BYTES)
            .ok_or_else(broken)?;
        let room = permits(&self.room, size.div_ceil(1024 * 1024).max(1)).await?;
        let mut body = Limited::new(body, body::MAX_BYTES);
        let read = async {
            let mut bytes = BytesMut::with_capacity(size);
            while let Some(frame) = body.frame().await {
                if let Ok(chunk) = frame.map_err(|_| broken())?.into_data() {
                    bytes.extend_from_slice(&chunk);
                }
            }
            Ok(bytes.freeze())
        };
        let bytes = tokio::time::timeout(SEND_BODY, read)
            .await
            .map_err(|_| broken())??;
        Ok((bytes, room))
    }

    /// Tries until the upstream has answered; what it does not answer for a reason that passes is waited for.
    async fn ask(
        self: &Arc<Self>,
        checked: Arc<Checked>,
        slot: Arc<OwnedSemaphorePermit>,
    ) -> Result<Response, Refusal> {
        let (mut waits, mut failures) = (0, 0);
        let mut refused: Option<Credential> = None;
        // The attempt stays parked until a try succeeds, so that each try does not show as an end of the wait.
        let mut held = None;
        loop {
            self.record.until_git_works().await;
            let credential = self.credential(refused.as_ref()).await?;
            let bill = self.open_bill(&checked).await?;
            // From here on the provider may bill, so an agent that hangs up must not end the call: a task goes on.
            let (proxy, checked, slot) = (Arc::clone(self), Arc::clone(&checked), Arc::clone(&slot));
            let used = credential.clone();
            let task =
                tokio::spawn(async move { proxy.attempt(checked, credential, bill, waits, slot).await });
            let outcome = task.await.map_err(|_| Refusal::over("the broker is ending"))?;
            match outcome.after(failures, waits) {
                Outcome::Answer(response) => return Ok(response),
                Outcome::Fail(refusal) => return Err(refusal),
                Outcome::Stop(message) => return Err(self.stop(Reason::ModelCredentialRefused, message)),
                Outcome::Renew => refused = Some(used),
                Outcome::Broken(message) => {
                    failures += 1;
                    tracing::warn!(%message, failures, "a model call broke off");
                    let pause = Duration::from_secs(u64::from(failures));
                    parking::wait(&self.record, pause, || false).await;
                }
                Outcome::Wait {
                    reason,
                    message,
                    wait,
                } => {
                    waits += 1;
                    tracing::info!(%reason, %message, seconds = wait.delay.as_secs(), "a model call waits");
                    let parked = parking::park(&self.record, reason, message, wait);
                    held = parked.or(held);
                    let renewed = || self.current(None).is_ok_and(|credential| credential != used);
                    parking::wait(&self.record, wait.delay, renewed).await;
                }
            }
            self.check_still_on()?;
        }
    }

    async fn attempt(
        &self,
        checked: Arc<Checked>,
        credential: Credential,
        bill: Option<Bill>,
        waits: u32,
        slot: Arc<OwnedSemaphorePermit>,
    ) -> Outcome {
        let outgoing = Outgoing {
            endpoint: checked.endpoint,
            beta: checked.beta,
            headers: checked.headers.clone(),
            body: checked.body.clone(),
            credential: &credential,
        };
        let response = match tokio::time::timeout(BEGIN, self.upstream.send(outgoing)).await {
            Ok(Ok(response)) => response,
            Ok(Err(unreached)) => {
                waive(bill);
                return unreached_outcome(unreached, waits);
            }
            // It may have been carried out and billed all the same: the dropped bill charges it.
            Err(_) => {
                return Outcome::Fail(Refusal::timed_out(
                    "the model endpoint did not answer in 15 minutes",
                ));
            }
        };
        let status = response.status();
        let handling = classify::classify(status, response.headers(), &credential, waits, Timestamp::now());
        if handling == Handling::Pass {
            return pass(checked.call.stream, response, bill, slot, waits).await;
        }
        // What a provider answered is charged, whatever is wrong with it; a page in its place it did not answer.
        if !status.is_success() || matches!(handling, Handling::Wait { .. }) {
            waive(bill);
        }
        match handling {
            Handling::Wait {
                reason,
                message,
                wait,
            } => {
                let (reason, message) = refine(reason, message, response, &credential).await;
                Outcome::Wait {
                    reason,
                    message,
                    wait,
                }
            }
            Handling::Renew => Outcome::Renew,
            Handling::Stop { message } => Outcome::Stop(self.credential_words(&message)),
            Handling::Fail(refusal) => Outcome::Fail(explain(refusal, response, &credential).await),
            Handling::Pass => Outcome::Fail(Refusal::upstream("the answer was lost")),
        }
    }

    /// Waits for a credential, parked: its secret may be filled or renewed while the pod runs.
    async fn credential(&self, refused: Option<&Credential>) -> Result<Credential, Refusal> {
        let current = || self.current(refused);
        let found = parking::until(&self.record, current).await;
        found.ok_or_else(|| self.over())
    }

    fn current(&self, refused: Option<&Credential>) -> Result<Credential, credential::Absent> {
        credential::read(&self.order, &self.paths, refused, Timestamp::now())
    }

    fn credential_words(&self, message: &str) -> String {
        format!("{message} of {}", credential::secret_of(&self.order))
    }

    /// Reserves what the call may cost; counting tokens is free.
    async fn open_bill(&self, checked: &Checked) -> Result<Option<Bill>, Refusal> {
        let call = &checked.call;
        let reservation = match checked.endpoint {
            Endpoint::CountTokens => None,
            Endpoint::Messages | Endpoint::Responses => {
                match self.budget.reserve(call, &self.order, &self.record).await {
                    Ok(reservation) => Some(reservation),
                    Err(Refused::Spent(message)) => return Err(self.stop(Reason::BudgetSpent, message)),
                    Err(Refused::Over) => return Err(self.over()),
                }
            }
        };
        self.check_still_on()?;
        let price = self.order.price(&call.model);
        Ok(reservation.map(|reservation| Bill::open(self.record.clone(), call, price, reservation)))
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
}

async fn permits(semaphore: &Arc<Semaphore>, count: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let permits = Arc::clone(semaphore).acquire_many_owned(count).await;
    permits.map_err(|_| Refusal::over("the broker is ending"))
}

fn waive(bill: Option<Bill>) {
    if let Some(bill) = bill {
        bill.waive();
    }
}

/// Passes the answer on. The slot is held until its usage is on disk. The headers of an outage that was answered with 200 are
/// those of an answer: they do not tell how long to wait.
async fn pass(
    stream: bool,
    response: http::Response<Incoming>,
    bill: Option<Bill>,
    slot: Arc<OwnedSemaphorePermit>,
    waits: u32,
) -> Outcome {
    let (parts, answer) = response.into_parts();
    let stream = classify::is_stream(&parts.headers).unwrap_or(stream);
    let mut answer = Answer::unread(answer);
    if stream {
        answer = match answer.begin().await {
            Ok(answer) => answer,
            Err(Outage { reason, message }) => {
                waive(bill);
                let wait = classify::guess(waits);
                return Outcome::Wait {
                    reason,
                    message,
                    wait,
                };
            }
        };
    }
    let mut passed = Response::new(stream::pass(answer, stream, bill, slot));
    *passed.status_mut() = parts.status;
    *passed.headers_mut() = headers::response(&parts.headers);
    Outcome::Answer(passed)
}

/// Without a connection nothing can have been asked, so it is waited for like a provider that has no time.
fn unreached_outcome(unreached: Unreached, waits: u32) -> Outcome {
    let Unreached { unconnected, message } = unreached;
    if unconnected {
        Outcome::Wait {
            reason: Reason::ModelUnreachable,
            message,
            wait: classify::guess(waits),
        }
    } else {
        Outcome::Broken(message)
    }
}
