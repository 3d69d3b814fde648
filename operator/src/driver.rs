//! One driver for every kind. A kind says what it observes, which step is next and how a step is carried out; the driver
//! does the rest: it reconciles what is triggered while this replica leads, waits for watches to show what was written,
//! bounds the steps, tries again after errors, and measures.

mod background;
mod reconcile;
mod roster;
mod term;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::runtime::watcher::Event;

pub use self::background::Release;
pub use self::roster::Roster;
pub use self::writes::Writes;
use crate::cache::{Expectations, ReconcileTriggers, Reflected, Stored, Unreadable};
use crate::cluster::{Call, Cluster};
use crate::metrics::Metrics;
use crate::types::{Key, Step};

/// An object of a controller's kind.
pub type ObjectOf<C> = <<C as Controller>::Stored as Stored>::Object;

/// What one kind adds to the driver.
pub trait Controller: Send + Sync + 'static {
    /// The form in which the cache holds the objects of the kind.
    type Stored: Stored;
    /// Everything that the next step depends on, besides the time.
    type Observed: Send;
    /// One write, one read that no cache can answer, or an errand after which the object is triggered.
    type Act: Send;
    /// Why no step can be planned.
    type Flaw: std::error::Error + Send + Sync + 'static;

    /// The kind, in metrics and messages.
    const KIND: &'static str;
    /// The shortest pause after [`Step::Wait`] with a time: plans in whole seconds would else be asked twice in one.
    const SHORTEST_WAIT: Duration = Duration::from_secs(1);

    /// This replica begins to lead, with caches that are filled: what was decided in an earlier term counts for nothing.
    fn begin(&self) {}

    /// What is known of the object and of what it depends on, from the caches.
    fn observe(&self, object: Arc<ObjectOf<Self>>) -> Result<Self::Observed, Unreadable>;

    /// The next step; a pure function of what was observed and the time.
    fn next(&self, observed: &Self::Observed, now: Timestamp) -> Result<Step<Self::Act>, Self::Flaw>;

    /// The name of an act, in metrics and messages: one of a few.
    fn name_of(act: &Self::Act) -> &'static str;

    /// Makes one call of the API server, and puts what came of it into `observed`.
    fn carry_out(
        &self,
        act: Self::Act,
        observed: &mut Self::Observed,
        writes: &Writes,
    ) -> impl Future<Output = Result<Then, Call>> + Send;

    /// Forgets an object that was triggered and is gone, and clears what it left behind.
    fn gone(&self, key: &Key, writes: &Writes) -> impl Future<Output = ()> + Send;
}

/// What follows on an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next step is planned at once.
    Next,
    /// Nothing, until the object is triggered again.
    Wait,
}

/// A controller with what the driver keeps for it.
pub struct Driver<C: Controller> {
    controller: C,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    objects: Arc<Reflected<C::Stored>>,
    triggers: Arc<ReconcileTriggers>,
    expectations: Arc<Expectations>,
}

/// A driver of any kind.
pub trait Drive: Send + Sync {
    /// Reconciles every object, and then each that is triggered, until [`Self::close`].
    fn lead(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// Takes no triggers any more.
    fn close(&self);
}

/// Triggers each object of a kind that a watch of the kind delivers. Of a new list, each is triggered once all are held:
/// one that was triggered before would be reconciled as it was.
fn trigger_what_is_delivered<S: Stored>(objects: &Reflected<S>, triggers: Arc<ReconcileTriggers>) {
    objects.listen(move |delivery| match delivery.event {
        Event::Apply(object) | Event::Delete(object) => triggers.send(Key::of(object)),
        Event::Init | Event::InitApply(_) => {}
        Event::InitDone => {
            triggers.send_all(delivery.gone.iter().cloned());
            triggers.send_all(delivery.scope.keys());
        }
    });
}

#[cfg(test)]
mod tests;
