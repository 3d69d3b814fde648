//! Takes a push: commands judged first, then the pack in quarantine, then the remote moved and re-read, and only then
//! the mirror. So nothing reaches the remote that a rule refuses, and the mirror never says what the remote does not.

use std::path::PathBuf;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use gastown_api::evidence::{BrokerState, RefusedPush, WipRef, truncate};
use gastown_api::git::Sha;
use gastown_api::reason::Reason;
use http::{StatusCode, header};
use jiff::Timestamp;

use super::child::{Git, RunGit};
use super::classify::Failure;
use super::inbound::{Inbound, ReadBody};
use super::inspect::{Inspect, inspect};
use super::pkt::{self, MAX_HEAD, Request};
use super::policy::{Move, Refusal, Target, judge};
use super::quarantine::Quarantine;
use super::repository::{Repository, State};

/// How often a push to a host that does not answer is tried again, and after how many seconds.
const PUSH_PAUSES: [u64; 2] = [2, 5];

/// Why a push cannot be answered by a report.
#[derive(Debug, thiserror::Error)]
pub enum Receive {
    /// The body.
    #[error(transparent)]
    ReadBody(#[from] ReadBody),
    /// The list of commands.
    #[error(transparent)]
    ParseRequest(#[from] pkt::ParseRequest),
    /// git.
    #[error(transparent)]
    RunGit(#[from] RunGit),
    /// The broker's volume.
    #[error("failed to keep the objects in {path:?}; the broker's volume must be writable and not full")]
    KeepObjects {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The list of commands ends early.
    #[error("the list of commands is cut short")]
    CutShort,
    /// A rule refused it, and there is too much of it to read on: no report would be heard.
    #[error(transparent)]
    Refuse(#[from] Refusal),
}

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
        let taken = self.take(&mut inbound).await;
        match taken {
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
                    self.refuse("", &error.to_string());
                }
                (status, format!("{error}\n")).into_response()
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
        let judged = judge(
            &request,
            &self.names,
            &state.tips,
            self.stopped(),
            self.hex_length,
        );
        let step = match judged {
            Ok(step) => step,
            Err(refusal) => {
                drop(state);
                return self.report_refusal(&request, refusal, inbound).await;
            }
        };
        let quarantine = Quarantine::open(&self.git)?;
        let outcome = self.try_move(&mut state, &step, &quarantine, rest, inbound).await;
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
        inspect(&quarantine.git, step, state, &self.order.denied_paths).await?;
        let seen = self.forward(state, step, &quarantine.git).await;
        match seen {
            Ok(()) => {
                quarantine.keep(&self.git).map_err(Inspected::Fail)?;
                self.settle(state, step.target, Some(step.new.clone())).await?;
                Ok(())
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Moves the remote and re-reads it: only what is seen there counts, whatever the push itself said.
    async fn forward(&self, state: &mut State, step: &Move, git: &Git) -> Result<(), Refusal> {
        let name = self.remote_name(state, step.target);
        let mut failure = self.push_patiently(git, step, &name).await.err();
        let mut seen = self.reread(git, &name).await;
        let unmoved = |seen: &Result<Option<Sha>, Failure>| matches!(seen, Ok(sha) if *sha == step.old);
        let fallback = &self.names.wip_as_branch;
        let refused = failure
            .as_ref()
            .is_some_and(|failure| failure.reason == Reason::PushRefused);
        if step.target == Target::Wip && refused && unmoved(&seen) && step.old.is_none() && name != *fallback
        {
            tracing::info!(
                name = fallback,
                "the remote refuses the WIP ref; the snapshot goes to a branch"
            );
            failure = self.push_patiently(git, step, fallback).await.err();
            seen = self.reread(git, fallback).await;
            if matches!(&seen, Ok(Some(sha)) if *sha == step.new) {
                fallback.clone_into(&mut state.wip_name);
            }
        }
        match (seen, failure) {
            (Ok(Some(sha)), _) if sha == step.new => Ok(()),
            (Ok(sha), Some(failure)) if sha == step.old => Err(remote(failure)),
            (Ok(sha), _) => {
                tracing::warn!(name, ?sha, "the remote moved by another hand");
                self.follow(state, step.target, sha).await;
                Err(Refusal::RemoteMoved)
            }
            (Err(_), Some(failure)) | (Err(failure), None) => Err(remote(failure)),
        }
    }

    async fn push_patiently(&self, git: &Git, step: &Move, name: &str) -> Result<(), Failure> {
        let mut pauses = PUSH_PAUSES.iter();
        loop {
            match (self.upstream.push(git, &step.new, name).await, pauses.next()) {
                (Err(failure), Some(pause)) if failure.may_pass() => {
                    tracing::warn!(%failure, "pushing again in {pause} s");
                    tokio::time::sleep(Duration::from_secs(*pause)).await;
                }
                (outcome, _) => return outcome,
            }
        }
    }

    async fn reread(&self, git: &Git, name: &str) -> Result<Option<Sha>, Failure> {
        Ok(self.upstream.list(git, &[name]).await?.remove(name))
    }

    /// Another hand moved the remote: the mirror follows, so that the agent can fetch and merge.
    async fn follow(&self, state: &mut State, target: Target, sha: Option<Sha>) {
        if sha.is_some() {
            let refspec = self.refspec(state, target);
            if let Err(failure) = self.upstream.fetch(&self.git, &[&refspec]).await {
                tracing::warn!(%failure, "failed to fetch what the remote moved to");
                return;
            }
        }
        if let Err(error) = self.settle(state, target, sha).await {
            tracing::error!(%error, "failed to move the mirror");
        }
    }

    /// The remote was seen at `sha`: mirror, memory and record say so too.
    async fn settle(&self, state: &mut State, target: Target, sha: Option<Sha>) -> Result<(), RunGit> {
        match target {
            Target::Work => {
                state.tips.work.clone_from(&sha);
                self.record.set_head(sha.clone());
            }
            Target::Wip => {
                state.tips.wip.clone_from(&sha);
                self.record.set_wip(sha.clone().map(|sha| WipRef {
                    name: state.wip_name.clone(),
                    sha,
                    at: Timestamp::now(),
                }));
            }
        }
        tracing::info!(name = self.names.of(target), sha = ?sha, "the remote was re-read after a push");
        self.set_ref(target, sha.as_ref()).await
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
        self.refuse(request.commands.first().map_or("", |command| &command.name), &why);
        if inbound.drain().await.is_err() {
            return Err(refusal.into());
        }
        let names = request.commands.iter().map(|command| command.name.as_str());
        let refs: Vec<(&str, Result<(), &str>)> = names.map(|name| (name, Err(why.as_str()))).collect();
        Ok(reported(request, pkt::report(Ok(()), &refs)))
    }

    fn refuse(&self, name: &str, why: &str) {
        tracing::warn!(name, why, "refused a push");
        let (mut ref_name, mut why) = (name.to_owned(), why.to_owned());
        truncate(&mut ref_name, 200);
        truncate(&mut why, 300);
        self.record.refuse(RefusedPush { ref_name, why });
    }
}

/// Why a push was not taken.
pub(super) enum Inspected {
    Refuse(Refusal),
    Fail(Receive),
}

impl From<Refusal> for Inspected {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<RunGit> for Inspected {
    fn from(error: RunGit) -> Self {
        Self::Fail(error.into())
    }
}

impl From<Inspect> for Inspected {
    fn from(error: Inspect) -> Self {
        match error {
            Inspect::Refuse(refusal) => Self::Refuse(refusal),
            Inspect::Ask(error) => error.into(),
        }
    }
}

fn remote(failure: Failure) -> Refusal {
    Refusal::Remote {
        reason: failure.reason,
        words: failure.message,
    }
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
