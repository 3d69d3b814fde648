//! Takes a push: commands judged first, then the pack in quarantine, then the remote moved and re-read, and only then
//! the mirror. So nothing reaches the remote that a rule refuses, and the mirror never says what the remote does not.

pub mod error;

use std::pin::Pin;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use gastown_api::evidence::{BrokerState, RefusedPush, truncate};
use gastown_api::reason::Reason;
use http::{StatusCode, header};
use tokio::sync::MutexGuard;

use super::child::RunGit;
use super::inbound::{Inbound, ReadBody};
use super::inspect::inspect;
use super::pkt::{self, MAX_HEAD, Request};
use super::policy::{Move, Refusal, Target, decide};
use super::quarantine::Quarantine;
use super::repository::{Repository, State};
use error::{Inspected, Receive};
use polecat_common::limits::INSPECT;

/// How often a push in flight counts as a sign of life: the agent waits for it, and the host for its hooks.
const ALIVE: Duration = Duration::from_secs(15);

impl Repository {
    /// What `info/refs?service=git-receive-pack` answers.
    pub async fn advertise(&self) -> Response {
        let state = self.state.lock().await;
        let mut refs = vec![(self.names.base.clone(), state.base_branch.clone())];
        if let Some(work) = &state.tips.work {
            refs.retain(|(name, _)| *name != self.names.work);
            refs.push((self.names.work.clone(), work.clone()));
        }
        if let Some(wip) = &state.tips.wip {
            refs.push((self.names.wip.clone(), wip.clone()));
        }
        answer(
            "application/x-git-receive-pack-advertisement",
            pkt::advertisement(&refs, self.hex_length),
        )
    }

    /// Takes a push.
    pub async fn receive(&self, mut inbound: Inbound) -> Response {
        let taken = std::pin::pin!(self.take(&mut inbound));
        match self.alive_while(taken).await {
            Ok(text) => answer("application/x-git-receive-pack-result", text),
            Err(error) => {
                let status = match &error {
                    Receive::ReadBody(ReadBody::Bound { .. }) | Receive::Refuse(_) => {
                        StatusCode::PAYLOAD_TOO_LARGE
                    }
                    Receive::ReadBody(_) | Receive::ParseRequest(_) | Receive::CutShort => {
                        StatusCode::BAD_REQUEST
                    }
                    Receive::RunGit(_) | Receive::KeepObjects { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                };
                tracing::warn!(%error, "a push could not be read");
                if !matches!(error, Receive::Refuse(_)) {
                    self.refuse("", &error.to_string(), None);
                }
                (status, format!("{error}\n")).into_response()
            }
        }
    }

    /// A push for which the host takes its time is no silence of the agent.
    async fn alive_while<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        loop {
            match tokio::time::timeout(ALIVE, &mut work).await {
                Ok(outcome) => return outcome,
                Err(_) => self.record.touch(),
            }
        }
    }

    async fn take(&self, inbound: &mut Inbound) -> Result<String, Receive> {
        let (request, rest) = read_head(inbound).await?;
        if request.commands.is_empty() {
            // git asks so whether it may send a large push.
            return Ok(String::new());
        }
        let mut state = self.state.lock().await;
        let step = match self.decide(&request, &state) {
            Ok(step) => step,
            Err(refusal) => {
                drop(state);
                return self.report_refusal(&request, refusal, inbound).await;
            }
        };
        let mut quarantine = Quarantine::open(&self.git)?;
        let mut outcome = self.try_move(&mut state, &step, &quarantine, rest, inbound).await;
        if step.target == Target::Work {
            outcome = self
                .once_git_works(state, &request, &mut quarantine, outcome)
                .await;
        }
        quarantine.close();
        match outcome {
            Ok(()) => {
                let text = pkt::report(Ok(()), &[(self.names.of(step.target), Ok(()))]);
                Ok(reported(&request, text))
            }
            Err(Inspected::Refuse(refusal)) => self.report_refusal(&request, refusal, inbound).await,
            Err(Inspected::Fail(error)) => Err(error),
        }
    }

    /// Tries again what a host did not take that refuses the credential, as often as it is repaired.
    async fn once_git_works<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        request: &Request,
        quarantine: &mut Quarantine,
        mut outcome: Result<(), Inspected>,
    ) -> Result<(), Inspected> {
        let mut places = self.waiting.iter().enumerate();
        let free = places.find_map(|(place, lock)| Some((place, lock.try_lock().ok()?)));
        while let Some((place, _)) = &free
            && self.record.is_git_refused()
            && is_of_the_remote(&outcome)
        {
            quarantine.set_aside(*place).map_err(Inspected::Fail)?;
            drop(state);
            self.record.until_git_works().await;
            state = self.state.lock().await;
            outcome = match self.decide(request, &state) {
                Ok(step) => self.move_remote(&mut state, &step, quarantine).await,
                Err(refusal) => Err(refusal.into()),
            };
        }
        outcome
    }

    async fn try_move(
        &self,
        state: &mut State,
        step: &Move,
        quarantine: &Quarantine,
        rest: Bytes,
        inbound: &mut Inbound,
    ) -> Result<(), Inspected> {
        let limit = self.order.max_push_bytes;
        quarantine.index(rest, inbound, limit).await?;
        let judged = inspect(&quarantine.git, step, state, &self.order.denied_paths);
        tokio::time::timeout(INSPECT, judged)
            .await
            .map_err(|_| RunGit::AwaitEnd {
                command: "the inspection of a push".to_owned(),
                seconds: INSPECT.as_secs(),
            })??;
        self.move_remote(state, step, quarantine).await
    }

    /// Moves the remote, and then the mirror, to objects that were judged.
    async fn move_remote(
        &self,
        state: &mut State,
        step: &Move,
        quarantine: &Quarantine,
    ) -> Result<(), Inspected> {
        let seen = self.forward(state, step, &quarantine.git).await?;
        quarantine.keep(&self.git).map_err(Inspected::Fail)?;
        if step.target == Target::Work {
            self.record.set_pushed(step.new.clone());
        }
        self.settle(state, step.target, Some(seen)).await?;
        Ok(())
    }

    fn decide(&self, request: &Request, state: &State) -> Result<Move, Refusal> {
        decide(
            request,
            &self.names.pushable(&state.tips),
            self.stopped(),
            self.hex_length,
        )
    }

    fn stopped(&self) -> Option<Reason> {
        match self.record.evidence().state {
            BrokerState::Stopped { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Records the rule and reports it; the client listens once it has sent everything.
    async fn report_refusal(
        &self,
        request: &Request,
        refusal: Refusal,
        inbound: &mut Inbound,
    ) -> Result<String, Receive> {
        let why = refusal.to_string();
        let name = request.commands.first().map_or("", |command| &command.name);
        self.refuse(name, &why, refusal.reason());
        if inbound.drain().await.is_err() {
            return Err(refusal.into());
        }
        let names = request.commands.iter().map(|command| command.name.as_str());
        let refs: Vec<(&str, Result<(), &str>)> = names.map(|name| (name, Err(why.as_str()))).collect();
        Ok(reported(request, pkt::report(Ok(()), &refs)))
    }

    fn refuse(&self, name: &str, why: &str, reason: Option<Reason>) {
        tracing::warn!(name, why, "refused a push");
        let (mut ref_name, mut why) = (name.to_owned(), why.to_owned());
        truncate(&mut ref_name, 200);
        truncate(&mut why, 300);
        self.record.refuse(RefusedPush {
            ref_name,
            why,
            reason,
        });
    }
}

/// Whether the remote, and no rule of ours, kept a push from being taken.
fn is_of_the_remote(outcome: &Result<(), Inspected>) -> bool {
    matches!(outcome, Err(Inspected::Refuse(Refusal::Remote { .. })))
}

fn reported(request: &Request, text: String) -> String {
    let wanted = request
        .capabilities
        .iter()
        .any(|capability| capability == "report-status");
    if wanted { text } else { String::new() }
}

fn answer(content_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// The list of commands, and what came after it.
pub(super) async fn read_head(inbound: &mut Inbound) -> Result<(Request, Bytes), Receive> {
    let mut head = BytesMut::new();
    loop {
        if let Some((request, used)) = pkt::parse_request(&head)? {
            let rest = head.split_off(used).freeze();
            return Ok((request, rest));
        }
        if head.len() >= MAX_HEAD {
            return Err(pkt::ParseRequest::BoundHead.into());
        }
        let part = inbound.next().await?.ok_or(Receive::CutShort)?;
        head.extend_from_slice(&part);
    }
}
