//! The broker's memory: what it has seen and spent, kept in an fsynced journal that outlives a restart of the
//! container, and said aloud in the termination message and on standard output.

mod hold;
mod journal;
mod ledger;
mod message;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gastown_api::budget::{Amount, Share};
use gastown_api::evidence::{BrokerState, Evidence, FinalRead, RefusedPush, WipRef};
use gastown_api::git::Sha;
use gastown_api::usage::Usage;
use gastown_api::work_order::WorkOrder;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, watch};

use hold::Holds;
pub use hold::{Hold, until_stopped};
use journal::Journal;
use ledger::{Heard, Ledger};

/// The most calls of the model at a time.
pub const MODEL_CALLS: usize = 8;

/// Why the ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenRecord {
    /// It exists and cannot be read.
    #[error("failed to read the ledger {path:?}; the broker's volume must be readable by its user")]
    ReadLedger {
        /// The ledger.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No line of it can be read: its first line is never written in part, so its volume is damaged.
    #[error("failed to parse the ledger {path:?}; delete the pod to start a new attempt")]
    ParseLedger {
        /// The ledger.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    WriteLedger(#[from] WriteLedger),
}

/// The ledger cannot be written, so nothing may be spent: it would be forgotten.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the ledger {path:?}; the broker's volume must be writable and not full")]
pub struct WriteLedger {
    path: PathBuf,
    source: std::io::Error,
}

/// How long the attempt has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// Time that counts towards the deadline.
    pub unparked: Duration,
    /// Time parked.
    pub parked: Duration,
    /// Unparked time since the last sign of life.
    pub silent: Duration,
}

/// The broker's memory; clones share it.
#[derive(Clone, Debug)]
pub struct Record {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: Mutex<Ledger>,
    journal: Journal,
    termination_log: PathBuf,
    states: watch::Sender<BrokerState>,
    model_calls: Arc<Semaphore>,
    /// What the operator is to read, each time that it changes.
    news: watch::Sender<News>,
    holds: Mutex<Holds>,
    git_refused: watch::Sender<bool>,
}

/// What the readiness signal follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What the broker is doing.
    pub state: BrokerState,
    /// What has to be set aside of the budget before it goes on.
    pub asks: Option<Share>,
    /// Whether the work tree could not be saved at the last checkpoint.
    pub checkpoints_failing: bool,
}

impl Record {
    /// Opens the ledger in `dir`, or starts one: after a restart the state is `Starting` again, unless it was `Stopped`.
    pub fn open(dir: &Path, termination_log: PathBuf, order: &WorkOrder) -> Result<Self, OpenRecord> {
        let now = Instant::now();
        let ledger = match journal::load(dir)? {
            Some(saved) if saved.evidence.attempt == order.attempt => Ledger::resume(saved, now),
            _ => Ledger::start(order, now),
        };
        let journal = Journal::begin(dir, &ledger.saved())?;
        let state = ledger.evidence().state;
        let (news, _) = watch::channel(News {
            state: state.clone(),
            asks: None,
            checkpoints_failing: ledger.evidence().checkpoints_failing.is_some(),
        });
        let (states, _) = watch::channel(state);
        let record = Self {
            inner: Arc::new(Inner {
                ledger: Mutex::new(ledger),
                journal,
                termination_log,
                states,
                model_calls: Arc::new(Semaphore::new(MODEL_CALLS)),
                news,
                holds: Mutex::default(),
                git_refused: watch::channel(false).0,
            }),
        };
        record.inner.speak(&record.evidence());
        Ok(record)
    }

    /// What the broker says now.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        ledger.evidence()
    }

    /// What this attempt has spent of its budget.
    #[must_use]
    pub fn charged(&self) -> Amount {
        self.inner.lock().evidence().spent()
    }

    /// What this attempt has used, and what that cost in millionths of a US dollar; none where a model without a price
    /// was called.
    #[must_use]
    pub fn spent(&self) -> (Usage, Option<u64>) {
        let evidence = self.inner.lock().evidence();
        (evidence.usage, evidence.cost_micros)
    }

    /// How long this attempt has taken.
    #[must_use]
    pub fn elapsed(&self) -> Elapsed {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        ledger.elapsed()
    }

    /// Adds the usage of one answered call; no end of the container undoes it when this has returned.
    pub fn settle(&self, model: &str, usage: Usage, micros: Option<u64>) -> Result<(), WriteLedger> {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        ledger.settle(model, usage, micros);
        self.inner.journal.save(&ledger.saved())?;
        self.inner.write_termination_message(&ledger.evidence());
        Ok(())
    }

    /// Goes to `state`: ledger, termination message, one line on standard output, and [`Self::watch`]. After `Stopped`
    /// nothing is entered any more, so the first reason stands.
    pub fn enter(&self, state: BrokerState) {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        if ledger.enter(state.clone()) {
            self.inner.keep(&ledger);
            self.inner.speak(&ledger.evidence());
            self.inner.states.send_replace(state.clone());
            self.inner.news.send_modify(|news| news.state = state);
        }
    }

    /// Charges what calls may have spent of `granted` that were under way when an earlier broker of this pod was killed.
    pub fn account_for(&self, granted: Share) {
        let mut ledger = self.inner.lock();
        ledger.account_for(granted);
        self.inner.keep(&ledger);
    }

    /// Asks for a part of the budget to be set aside, or says that it was.
    pub fn ask(&self, asks: Option<Share>) {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        ledger.change(|evidence| evidence.asks = asks);
        self.inner.keep(&ledger);
        self.inner.speak(&ledger.evidence());
        self.inner.news.send_modify(|news| news.asks = asks);
    }

    /// What became of the last checkpoint; false: the opposite was said a moment ago, so it is to be said again.
    #[must_use]
    pub fn set_checkpoint(&self, failure: Option<String>) -> bool {
        let mut ledger = self.inner.lock();
        let now = Instant::now();
        ledger.tick(now);
        let heard = ledger.checkpoint(failure, now);
        if heard == Heard::News {
            self.inner.keep(&ledger);
            let evidence = ledger.evidence();
            self.inner.speak(&evidence);
            let failing = evidence.checkpoints_failing.is_some();
            self.inner
                .news
                .send_modify(|news| news.checkpoints_failing = failing);
        }
        heard != Heard::TooSoon
    }

    /// What the operator is to read.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<News> {
        self.inner.news.subscribe()
    }

    /// A sign of life of the agent: it called the model, or wrote something.
    pub fn touch(&self) {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        ledger.touch();
    }

    /// A permit for each call of the model that may be under way.
    #[must_use]
    pub fn model_calls(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.model_calls)
    }

    /// The state and its changes, so that calls can be held while it is `Parked`.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BrokerState> {
        self.inner.states.subscribe()
    }

    /// What the first attempt found.
    pub fn set_base(&self, base: Sha) {
        self.change(|evidence| evidence.base = Some(base));
    }

    /// The work was done by an earlier attempt, so no agent is started.
    pub fn expect_no_calls(&self) {
        self.change(|evidence| evidence.calls_expected = false);
    }

    /// The work branch as it was re-read from the remote.
    pub fn set_head(&self, head: Option<Sha>) {
        self.change(|evidence| evidence.head = head);
    }

    /// What the last push, re-read, made of the work branch.
    pub fn set_pushed(&self, pushed: Sha) {
        self.change(|evidence| {
            evidence.pushed = Some(pushed);
            evidence.dropped = false;
        });
    }

    /// Whether the work branch no longer holds what was pushed.
    pub fn set_dropped(&self, dropped: bool) {
        self.change(|evidence| evidence.dropped = dropped);
    }

    /// What became of the reading at the end.
    pub fn set_final_read(&self, read: FinalRead) {
        self.change(|evidence| evidence.final_read = Some(read));
    }

    /// Whether the last snapshot is gone from the remote.
    pub fn set_wip_dropped(&self, dropped: bool) {
        self.change(|evidence| evidence.wip_dropped = dropped);
    }

    /// The snapshot as it was re-read from the remote; none: it was deleted.
    pub fn set_wip(&self, wip: Option<WipRef>) {
        self.change(|evidence| {
            evidence.wip = wip;
            evidence.wip_dropped = false;
        });
    }

    /// The snapshot of an earlier attempt that is served.
    pub fn set_resumed(&self, resumed: Sha) {
        self.change(|evidence| evidence.resumed = Some(resumed));
    }

    /// Remembers a push that was refused.
    pub fn refuse(&self, refused: RefusedPush) {
        self.change(|evidence| {
            evidence.refused = Some(refused);
            evidence.refused_count = evidence.refused_count.saturating_add(1);
        });
    }

    /// Writes ledger and termination message once more; the broker's last act. Calls that are still under way are
    /// charged as they are dropped.
    pub fn finish(&self) {
        self.change(|evidence| evidence.settled = Some(true));
    }

    fn change(&self, change: impl FnOnce(&mut Evidence)) {
        let mut ledger = self.inner.lock();
        ledger.tick(Instant::now());
        ledger.change(change);
        self.inner.keep(&ledger);
        self.inner.write_termination_message(&ledger.evidence());
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    /// What the ledger holds besides usage stands on the remote too, so a failed write is reported and survived.
    fn keep(&self, ledger: &Ledger) {
        if let Err(error) = self.journal.save(&ledger.saved()) {
            tracing::error!(cause = %error.source, "{error}");
        }
    }

    /// The termination message and the line on standard output that the operator reads when readiness flips.
    fn speak(&self, evidence: &Evidence) {
        self.write_termination_message(evidence);
        let mut stdout = std::io::stdout().lock();
        if let Err(error) = writeln!(stdout, "{}", evidence.to_json()).and_then(|()| stdout.flush()) {
            tracing::error!(cause = %error, "failed to write the evidence to standard output");
        }
    }

    fn write_termination_message(&self, evidence: &Evidence) {
        if let Err(error) = message::overwrite(&self.termination_log, evidence.to_json()) {
            tracing::error!(cause = %error, path = %self.termination_log.display(), "failed to write the termination message");
        }
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;

    use super::*;
    use crate::fixture;

    fn open(dir: &Path) -> Record {
        Record::open(dir, dir.join("termination-log"), &fixture::order()).unwrap()
    }

    fn said(dir: &Path) -> Evidence {
        serde_json::from_slice(&std::fs::read(dir.join("termination-log")).unwrap()).unwrap()
    }

    fn stopped(reason: Reason) -> BrokerState {
        BrokerState::Stopped {
            reason,
            message: "m".to_owned(),
        }
    }

    #[test]
    fn usage_survives_a_restart_and_an_unknown_price_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let usage = Usage {
            input_tokens: 7,
            requests: 1,
            ..Usage::default()
        };
        open(dir.path()).settle("claude-x", usage, Some(5)).unwrap();
        let record = open(dir.path());
        assert_eq!(record.spent(), (usage, Some(5)));
        record.settle("other", usage, None).unwrap();
        record.settle("claude-x", usage, Some(5)).unwrap();
        let (spent, micros) = open(dir.path()).spent();
        assert_eq!((spent.input_tokens, spent.requests, micros), (21, 3, None));
        assert_eq!(said(dir.path()).model.as_deref(), Some("claude-x"));
    }

    #[test]
    fn calls_are_expected_of_an_agent_with_a_budget_and_of_no_command_in_its_place() {
        let expected = |tokens: Option<u64>, micros: Option<u64>, command: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            let mut order = fixture::order();
            (order.role.model.tokens_left, order.role.model.micros_left) = (tokens, micros);
            order.role.agent.command = command.iter().map(|&word| word.to_owned()).collect();
            for _ in 0..2 {
                drop(Record::open(dir.path(), dir.path().join("termination-log"), &order).unwrap());
            }
            said(dir.path()).is_unmetered()
        };
        assert!(expected(Some(9), None, &[]) && expected(None, Some(9), &[]));
        assert!(!expected(None, None, &[]) && !expected(Some(9), None, &["sh"]));
    }

    #[test]
    fn the_first_reason_to_stop_stands_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let record = open(dir.path());
        record.enter(BrokerState::Serving);
        let watch = record.watch();
        record.enter(stopped(Reason::BudgetSpent));
        record.enter(BrokerState::Serving);
        record.enter(stopped(Reason::DeadlineExceeded));
        assert_eq!(*watch.borrow(), stopped(Reason::BudgetSpent));
        assert_eq!(said(dir.path()).state, stopped(Reason::BudgetSpent));
        assert_eq!(open(dir.path()).evidence().state, stopped(Reason::BudgetSpent));
    }

    #[test]
    fn a_restarted_broker_starts_again_and_remembers_what_it_pushed() {
        let dir = tempfile::tempdir().unwrap();
        let record = open(dir.path());
        record.enter(BrokerState::Serving);
        record.set_head(Some("a".repeat(40).parse().unwrap()));
        record.refuse(RefusedPush {
            ref_name: "refs/tags/x".to_owned(),
            why: "rule".to_owned(),
            reason: None,
        });
        let evidence = open(dir.path()).evidence();
        assert_eq!(evidence.state, BrokerState::Starting);
        assert_eq!(evidence.head.unwrap().as_str(), "a".repeat(40));
        assert_eq!(evidence.refused_count, 1);
    }

    #[test]
    fn a_shorter_message_leaves_nothing_of_a_longer_one() {
        let dir = tempfile::tempdir().unwrap();
        let record = open(dir.path());
        record.enter(BrokerState::Parked {
            reason: Reason::SecretMissing,
            message: "x".repeat(250),
            until: None,
        });
        record.enter(BrokerState::Serving);
        assert_eq!(said(dir.path()).state, BrokerState::Serving);
    }

    #[test]
    fn a_damaged_ledger_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ledger.jsonl"), "{").unwrap();
        let error = Record::open(dir.path(), dir.path().join("t"), &fixture::order()).unwrap_err();
        assert!(error.to_string().contains("ledger.jsonl"), "{error}");
    }
}
