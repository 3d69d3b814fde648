//! Polecats: from a spec to one pod at a time, and from the pod's evidence to a status.

pub mod build;
mod errands;
pub mod fetch;
pub mod judge;
pub mod plan;
pub mod retry;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use gastown_api::polecat::Polecat;
use jiff::Timestamp;
use kube::runtime::applier;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{Lookup as _, ObjectRef};
use kube::{Resource as _, ResourceExt as _};

use self::errands::Errands;
use self::fetch::{look_for_pod, observe, read_broker};
use self::plan::{Act, FIRST_ATTEMPT, Observed, PlanPod, Report, Sight, Step, next};
use super::{CONCURRENCY, Context};
use crate::cache::{CATCH_UP, Scope, key_of};
use crate::cluster::Call;
use crate::cluster::apply::Created;
use crate::packed::{Packed, Unreadable};
use crate::pod_view::PodView;

/// The most steps of one look: the longest way, a retry whose pod is refused, has six.
const MOST_STEPS: usize = 12;
/// When a failed call is tried again; each polecat has its own moment in it, so that they do not all come at once.
const RETRY: Duration = Duration::from_secs(5);

/// Why a look at a polecat ended early.
#[derive(Debug, thiserror::Error)]
pub enum Reconcile {
    /// A call of the API server failed.
    #[error(transparent)]
    Call(#[from] Call),
    /// The pod cannot be built.
    #[error(transparent)]
    PlanPod(#[from] PlanPod),
    /// What the caches hold cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The plan asks for steps without end.
    #[error("failed to settle polecat {name:?} in {MOST_STEPS} steps; the last was {last}")]
    Settle {
        /// The polecat.
        name: String,
        /// The last step.
        last: String,
    },
}

/// What the driver is given: the shared context, the namespace's caches, and where errands go.
pub struct PolecatContext {
    shared: Arc<Context>,
    scope: Arc<Scope>,
    errands: Errands,
}

/// Looks at every polecat of the scope, and then at each that changes, until nobody asks for a look any more.
pub async fn run(shared: Arc<Context>, scope: Arc<Scope>) {
    let wakes = scope.wakes.listen();
    scope.wakes.send_all(scope.every_polecat());
    let queue = wakes.map(|(namespace, name)| {
        Ok::<_, std::convert::Infallible>(ObjectRef::<Packed<Polecat>>::new(&name).within(&namespace))
    });
    let (errands, arriving) = Errands::new();
    let context = Arc::new(PolecatContext {
        shared,
        scope: scope.clone(),
        errands,
    });
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let all_looks = applier(
        |polecat, context| Box::pin(reconcile(polecat, context)),
        |polecat, error, _| error_policy(&polecat, error),
        context.clone(),
        scope.polecats.clone(),
        queue,
        config,
    )
    .for_each(|outcome| {
        let context = context.clone();
        async move {
            if let Err(controller::Error::ObjectNotFound(polecat)) = outcome {
                tend_orphan(
                    &context,
                    polecat.namespace.as_deref().unwrap_or_default(),
                    &polecat.name,
                )
                .await;
            }
        }
    });
    let looks = async {
        all_looks.await;
        context.errands.close();
    };
    let errands = context.errands.run(arriving, &context.shared.cluster, &scope);
    futures::join!(looks, errands);
}

async fn reconcile(polecat: Arc<Packed<Polecat>>, context: Arc<PolecatContext>) -> Result<Action, Reconcile> {
    let (started, metrics) = (Instant::now(), &context.shared.metrics);
    let scope = &context.scope;
    let (namespace, name) = key_of(&*polecat);
    if !scope
        .written
        .is_seen(&namespace, &name, &scope.polecats_seen, &scope.pods_seen)
    {
        return Ok(Action::requeue(CATCH_UP));
    }
    let outcome = match polecat.unpack() {
        Ok(polecat) => pursue(Arc::new(polecat), &context).await,
        Err(unreadable) => Err(unreadable.into()),
    };
    let result = match &outcome {
        Ok(_) => "ok",
        Err(Reconcile::Call(call)) => call.result(),
        Err(Reconcile::PlanPod(_) | Reconcile::Unreadable(_) | Reconcile::Settle { .. }) => "error",
    };
    metrics.reconciled("Polecat", result, started.elapsed());
    outcome
}

/// Plans a step, carries it out, and plans the next, until there is nothing to do but wait.
async fn pursue(polecat: Arc<Polecat>, context: &PolecatContext) -> Result<Action, Reconcile> {
    let shared = &context.shared;
    let mut observed = observe(polecat, shared, &context.scope)?;
    let mut last = String::new();
    for _ in 0..MOST_STEPS {
        let now = Timestamp::now();
        match next(&observed, &shared.settings, now)? {
            Step::Wait(None) => return Ok(Action::await_change()),
            Step::Wait(Some(at)) => {
                let left = at.duration_since(now).unsigned_abs();
                return Ok(Action::requeue(left.max(Duration::from_secs(1))));
            }
            // Its release wakes this polecat again.
            Step::Act(Act::ReleasePod { uid }) if !observed.pod.is_deleting() => {
                let (namespace, name) = key_of(&*observed.polecat);
                context.errands.release(&namespace, &name, uid);
                return Ok(Action::await_change());
            }
            Step::Act(act) => {
                last = act.name().to_owned();
                carry_out(act, &mut observed, context).await?;
            }
        }
    }
    let name = observed.polecat.name_any();
    Err(Reconcile::Settle { name, last })
}

/// Makes one call, and observes what came of it.
async fn carry_out(act: Act, observed: &mut Observed, context: &PolecatContext) -> Result<(), Reconcile> {
    let cluster = &context.shared.cluster;
    let (namespace, name) = key_of(&*observed.polecat);
    let pod_name = gastown_api::pod::pod_name(&name);
    let scope = &context.scope;
    tracing::debug!(act = act.name(), namespace, name, "acts");
    match act {
        Act::Claim { finalizers, labels } => {
            let claimed = cluster.claim(&observed.polecat, &finalizers, &labels).await?;
            scope.written.polecat(&namespace, &name, &claimed.metadata);
            observed.polecat = Arc::new(claimed);
            observed.claimed = Some(FIRST_ATTEMPT);
        }
        Act::RestorePolecat { finalizers, labels } => {
            let restored = cluster
                .restore_polecat(&observed.polecat, &finalizers, &labels)
                .await?;
            scope.written.polecat(&namespace, &name, &restored.metadata);
            observed.polecat = Arc::new(restored);
            observed.restored = true;
        }
        Act::RestorePod { uid, labels } => {
            let restored = cluster.restore_pod(&namespace, &pod_name, &uid, &labels).await?;
            observed.pod = seen_pod(scope, (&namespace, &name), restored);
            observed.restored = true;
        }
        Act::CreatePod(pod) => match cluster.create_pod(&pod).await? {
            Created::Pod(view) => {
                context.shared.metrics.pod_created();
                scope.written.pod(&namespace, &name, &view.metadata);
                observed.pod = Sight::Present(Arc::new(*view));
                observed.claimed = None;
            }
            Created::Exists => observed.pod = look_for_pod(cluster, &namespace, &pod_name).await?,
            Created::Refused(refusal) => observed.refusal = Some(refusal),
        },
        Act::LookForPod => observed.pod = look_for_pod(cluster, &namespace, &pod_name).await?,
        Act::ReadBroker { uid, attempt } => {
            let word = read_broker(cluster, &namespace, &pod_name, uid, attempt).await?;
            scope.words.keep(&namespace, &name, word.clone());
            observed.word = Some(word);
        }
        Act::Grant { uid, granted } => {
            let left = cluster.grant(&namespace, &pod_name, &uid, granted).await?;
            observed.pod = seen_pod(scope, (&namespace, &name), left);
        }
        Act::DeletePod { uid } => {
            let left = cluster.delete_pod(&namespace, &pod_name, &uid).await?;
            observed.pod = seen_pod(scope, (&namespace, &name), left);
        }
        Act::ReleasePod { uid } => {
            let left = cluster.release_pod(&namespace, &pod_name, &uid).await?;
            observed.pod = seen_pod(scope, (&namespace, &name), left);
        }
        Act::ReleasePolecat { finalizers } => {
            let released = cluster.release_polecat(&observed.polecat, &finalizers).await?;
            observed.polecat = Arc::new(released);
        }
        Act::DeletePolecat => {
            let deleted = cluster.delete_polecat(&observed.polecat).await?;
            scope.written.polecat(&namespace, &name, &deleted.metadata);
            observed.polecat = Arc::new(deleted);
        }
        Act::WriteStatus(report) => report_status(*report, observed, context).await?,
    }
    Ok(())
}

fn seen_pod(scope: &Scope, (namespace, name): (&str, &str), pod: Option<PodView>) -> Sight {
    match pod {
        None => Sight::Absent,
        Some(pod) => {
            scope.written.pod(namespace, name, &pod.metadata);
            Sight::Present(Arc::new(pod))
        }
    }
}

/// The status first, and then what is told of it.
async fn report_status(
    report: Report,
    observed: &mut Observed,
    context: &PolecatContext,
) -> Result<(), Reconcile> {
    let cluster = &context.shared.cluster;
    let applied = cluster
        .apply_polecat_status(&observed.polecat, &report.status)
        .await?;
    let (namespace, name) = key_of(&applied);
    context
        .scope
        .written
        .polecat(&namespace, &name, &applied.metadata);
    if let Some(ended) = report.ended {
        context.shared.metrics.attempt_ended(&ended);
    }
    let applied = Arc::new(applied);
    if let Some(transition) = report.transition {
        context.shared.metrics.told(transition.reason);
        tracing::info!(namespace, name, reason = %transition.reason, note = transition.note, "transition");
        context.errands.publish(applied.clone(), transition);
    }
    observed.polecat = applied;
    observed.refusal = None;
    observed.claimed = report.claims.or(observed.claimed);
    Ok(())
}

/// A pod whose polecat is gone, because someone took its finalizer off, is released when it has ended.
async fn tend_orphan(context: &PolecatContext, namespace: &str, polecat: &str) {
    let scope = &context.scope;
    scope.written.forget(namespace, polecat);
    scope.words.forget(namespace, polecat);
    let pod = match scope.pod_of(namespace, polecat) {
        Ok(Some(pod)) => pod,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(error = ?error, "cannot clear the pod of a polecat that is gone");
            return;
        }
    };
    let act = match plan::next_of_orphan(&pod, &context.shared.settings, Timestamp::now()) {
        Step::Act(act) => act,
        Step::Wait(None) => return,
        Step::Wait(Some(at)) => return wake_at(scope, (namespace.to_owned(), polecat.to_owned()), at),
    };
    let (cluster, name) = (&context.shared.cluster, pod.name_any());
    let outcome = match act {
        Act::ReleasePod { uid } => cluster.release_pod(namespace, &name, &uid).await,
        Act::DeletePod { uid } => cluster.delete_pod(namespace, &name, &uid).await,
        _ => return,
    };
    if let Err(error) = outcome {
        tracing::warn!(error = ?error, namespace, pod = name, "failed to clear the pod of a polecat that is gone");
        scope.wakes.send((namespace.to_owned(), polecat.to_owned()));
    }
}

/// No object is there whose queue could wake it.
fn wake_at(scope: &Arc<Scope>, key: (String, String), at: Timestamp) {
    let left = at.duration_since(Timestamp::now());
    let left = Duration::try_from(left)
        .unwrap_or_default()
        .max(Duration::from_secs(1));
    let scope = scope.clone();
    tokio::spawn(async move {
        tokio::time::sleep(left).await;
        scope.wakes.send(key);
    });
}

/// A conflict and a gone object are followed by an event of the watch; everything else is tried again.
fn error_policy(polecat: &Packed<Polecat>, error: &Reconcile) -> Action {
    let object = polecat.to_object_ref(());
    match error {
        Reconcile::Call(Call::Conflict { .. } | Call::Gone { .. }) => {
            tracing::debug!(error = ?error, polecat = %object, "waits for the watch");
            Action::requeue(CATCH_UP)
        }
        Reconcile::Call(_) | Reconcile::PlanPod(_) | Reconcile::Unreadable(_) | Reconcile::Settle { .. } => {
            tracing::warn!(error = ?error, polecat = %object, "tries again");
            Action::requeue(RETRY + spread(polecat))
        }
    }
}

/// A part of [`RETRY`] that is the polecat's own.
fn spread(polecat: &Packed<Polecat>) -> Duration {
    let name = polecat.meta().name.as_deref().unwrap_or_default();
    let sum: u32 = name.bytes().map(u32::from).sum();
    RETRY * (sum % 100) / 100
}
