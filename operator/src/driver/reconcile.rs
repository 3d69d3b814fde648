//! The loop: plan a step, carry it out, plan the next, until there is nothing to do but wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use gastown_api::text::chain;
use jiff::Timestamp;
use kube::runtime::applier;
use kube::runtime::controller::{self, Action};

use super::background::{BackgroundWrites, With};
use super::{Controller, Drive, Driver, ObjectOf, Then, Writes};
use crate::cache::{CATCH_UP, Scope, Stored as _, Unreadable};
use crate::cluster::Call;
use crate::types::{Key, Step, time_until};

/// The most objects of one kind and scope that are reconciled at once: it bounds connections and memory.
const CONCURRENCY: u16 = 48;
/// The most steps of one reconcile: the longest way, a polecat's retry whose pod is refused, has six.
const MOST_STEPS: usize = 12;
/// When a failed call is tried again; each object has its own moment in it, so that they do not all come at once.
const RETRY: Duration = Duration::from_secs(5);

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
enum Reconcile<F: std::error::Error> {
    /// A call of the API server failed.
    #[error(transparent)]
    Call(#[from] Call),
    /// No step can be planned.
    #[error("failed to plan the next step")]
    Plan(#[source] F),
    /// What the caches hold cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The plan asks for steps without end.
    #[error("failed to settle {kind} {key} in {MOST_STEPS} steps; the last was {last}")]
    Settle {
        /// The kind.
        kind: &'static str,
        /// The object.
        key: Key,
        /// The last step.
        last: &'static str,
    },
}

/// A driver while this replica leads, for one scope.
struct Term<C: Controller> {
    driver: Arc<Driver<C>>,
    writes: Writes,
}

impl<C: Controller> Drive for Driver<C> {
    fn lead(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.controller.begin();
            let scopes = self.objects.scopes().iter();
            join_all(scopes.map(|scope| self.lead_scope(scope))).await;
        })
    }

    fn close(&self) {
        self.triggers.close();
    }
}

impl<C: Controller> Driver<C> {
    /// Reconciles every object of the scope, and then each that is triggered, until no trigger is taken any more.
    async fn lead_scope(self: &Arc<Self>, scope: &Scope<C::Stored>) {
        let triggered = self.triggers.listen(scope.namespace());
        self.triggers.send_all(scope.keys());
        let queue = triggered.map(|key| Ok::<_, Infallible>(key.object_ref::<C::Stored>()));
        let (background, arriving) = BackgroundWrites::new();
        let term = Arc::new(Term {
            driver: self.clone(),
            writes: Writes {
                cluster: self.cluster.clone(),
                background,
                version: scope.version().clone(),
                triggers: self.triggers.clone(),
                expectations: self.expectations.clone(),
            },
        });
        let reconciles = applier(
            |stored, term| Box::pin(Term::reconcile(term, stored)),
            |stored: Arc<C::Stored>, error, _| error_policy::<C>(&Key::of(&*stored), error),
            term.clone(),
            scope.store(),
            queue,
            controller::Config::default().concurrency(CONCURRENCY),
        )
        .for_each(|outcome| {
            let term = term.clone();
            async move {
                if let Err(controller::Error::ObjectNotFound(object)) = outcome {
                    term.gone(&Key::from_ref(&object)).await;
                }
            }
        });
        let reconciles = async {
            reconciles.await;
            term.writes.background.close();
        };
        let with = With {
            cluster: &self.cluster,
            expectations: &self.expectations,
            triggers: &self.triggers,
        };
        futures::join!(reconciles, term.writes.background.run(arriving, with));
    }
}

impl<C: Controller> Term<C> {
    async fn reconcile(self: Arc<Self>, stored: Arc<C::Stored>) -> Result<Action, Reconcile<C::Flaw>> {
        let (driver, started) = (&self.driver, Instant::now());
        let key = Key::of(&*stored);
        if !driver.expectations.are_met(&key) {
            return Ok(Action::requeue(CATCH_UP));
        }
        if let Some(waited) = driver.triggers.waited(&key) {
            driver.metrics.queued(C::KIND, waited);
        }
        let outcome = match stored.load() {
            Ok(object) => self.settle(&key, object).await,
            Err(unreadable) => Err(unreadable.into()),
        };
        let result = match &outcome {
            Ok(_) => "ok",
            Err(Reconcile::Call(call)) => call.result(),
            Err(Reconcile::Plan(_) | Reconcile::Unreadable(_) | Reconcile::Settle { .. }) => "error",
        };
        driver.metrics.reconciled(C::KIND, result, started.elapsed());
        outcome
    }

    /// Plans a step, carries it out, and plans the next, until there is nothing to do but wait.
    async fn settle(&self, key: &Key, object: Arc<ObjectOf<C>>) -> Result<Action, Reconcile<C::Flaw>> {
        let controller = &self.driver.controller;
        let mut observed = controller.observe(object)?;
        let mut last = "";
        for _ in 0..MOST_STEPS {
            let now = Timestamp::now();
            match controller.next(&observed, now).map_err(Reconcile::Plan)? {
                Step::Wait(None) => return Ok(Action::await_change()),
                Step::Wait(Some(at)) => {
                    return Ok(Action::requeue(time_until(at, now).max(C::SHORTEST_WAIT)));
                }
                Step::Act(act) => {
                    last = C::name_of(&act);
                    if self.act(key, act, &mut observed).await? == Then::Wait {
                        return Ok(Action::await_change());
                    }
                }
            }
        }
        let (kind, key) = (C::KIND, key.clone());
        Err(Reconcile::Settle { kind, key, last })
    }

    async fn act(&self, key: &Key, act: C::Act, observed: &mut C::Observed) -> Result<Then, Call> {
        let (name, started) = (C::name_of(&act), Instant::now());
        tracing::debug!(act = name, kind = C::KIND, %key, "acts");
        let outcome = self
            .driver
            .controller
            .carry_out(act, observed, &self.writes)
            .await;
        self.driver.metrics.acted(C::KIND, name, started.elapsed());
        outcome
    }

    async fn gone(&self, key: &Key) {
        let driver = &self.driver;
        driver.expectations.forget(key);
        // It waits no more; how long it did counts for nothing.
        let _ = driver.triggers.waited(key);
        driver.controller.gone(key, &self.writes).await;
    }
}

/// A conflict and a gone object are followed by an event of the watch; everything else is tried again.
fn error_policy<C: Controller>(key: &Key, error: &Reconcile<C::Flaw>) -> Action {
    match error {
        Reconcile::Call(Call::Conflict { .. } | Call::Gone { .. }) => {
            tracing::debug!(error = %chain(error), kind = C::KIND, %key, "waits for the watch");
            Action::requeue(CATCH_UP)
        }
        Reconcile::Call(_) | Reconcile::Plan(_) | Reconcile::Unreadable(_) | Reconcile::Settle { .. } => {
            tracing::warn!(error = %chain(error), kind = C::KIND, %key, "tries again");
            Action::requeue(RETRY + spread(&key.name))
        }
    }
}

/// A part of [`RETRY`] that is the object's own.
fn spread(name: &str) -> Duration {
    let sum: u32 = name.bytes().map(u32::from).sum();
    RETRY * (sum % 100) / 100
}
