//! Rigs: whether they can be used, and how many polecats they have.

pub mod plan;

use std::convert::Infallible;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use gastown_api::labels::PREDECESSOR_RIG_FINALIZER;
use gastown_api::rig::Rig;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::applier;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{Lookup as _, ObjectRef};

use super::{CONCURRENCY, Context};
use crate::cluster::Call;

/// A rig's counts change with every polecat; its status is written no more often than this.
const PAUSE: Duration = Duration::from_secs(1);
/// When a failed call is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Looks at every rig, and then at each that changes or whose counts do.
pub async fn run(context: Arc<Context>) {
    let wakes = context.rig_wakes.listen();
    context
        .rig_wakes
        .send_all(context.rigs.state().iter().map(|rig| rig.name_any()));
    let queue = wakes.map(|name| Ok::<_, Infallible>(ObjectRef::<Rig>::new(&name)));
    let config = controller::Config::default().concurrency(CONCURRENCY);
    applier(
        |rig, context| Box::pin(reconcile(rig, context)),
        |rig, error, _| error_policy(&rig, error),
        context.clone(),
        context.rigs.clone(),
        queue,
        config,
    )
    .for_each(|outcome| {
        if let Err(controller::Error::ObjectNotFound(rig)) = outcome {
            last_writes(&context).remove(&rig.name);
        }
        std::future::ready(())
    })
    .await;
}

async fn reconcile(rig: Arc<Rig>, context: Arc<Context>) -> Result<Action, Call> {
    let started = Instant::now();
    let outcome = bring_up_to_date(&rig, &context).await;
    let result = outcome.as_ref().map_or_else(Call::result, |_| "ok");
    context.metrics.reconciled("Rig", result, started.elapsed());
    outcome
}

async fn bring_up_to_date(rig: &Rig, context: &Context) -> Result<Action, Call> {
    if rig.finalizers().iter().any(|f| f == PREDECESSOR_RIG_FINALIZER) {
        context.cluster.release_rig(rig).await?;
        return Ok(Action::await_change());
    }
    if rig.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let name = rig.name_any();
    let status = plan::status(rig, context.census.of(&name), Timestamp::now());
    if rig.status.as_ref() == Some(&status) {
        return Ok(Action::await_change());
    }
    let wait = last_writes(context)
        .get(&name)
        .map(|at| PAUSE.saturating_sub(at.elapsed()));
    if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
        return Ok(Action::requeue(wait));
    }
    last_writes(context).insert(name, Instant::now());
    context.cluster.apply_rig_status(rig, &status).await?;
    Ok(Action::await_change())
}

fn last_writes(context: &Context) -> MutexGuard<'_, std::collections::HashMap<String, Instant>> {
    context.rig_writes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn error_policy(rig: &Rig, error: &Call) -> Action {
    let object = rig.to_object_ref(());
    match error {
        Call::Conflict { .. } | Call::Gone { .. } => Action::requeue(PAUSE),
        Call::Api { .. } | Call::Encode { .. } | Call::Build { .. } => {
            tracing::warn!(error = ?error, rig = %object, "tries again");
            Action::requeue(RETRY)
        }
    }
}
