//! What a plan needs to know: from the caches, and from the API server where a cache cannot tell.

use std::sync::Arc;

use gastown_api::pod::BROKER;
use gastown_api::polecat::Polecat;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use kube::runtime::reflector::ObjectRef;

use super::judge::evidence_in_log;
use super::plan::{Observed, Sight, Word};
use crate::cache::{Scope, key_of};
use crate::cluster::{Call, Cluster};
use crate::controller::Context;
use crate::packed::Unreadable;
use crate::pod_view::PodView;

/// Lines read of a broker's log: evidence is the last thing it says, but its logs share the stream.
const LOG_LINES: i64 = 20;

/// What the caches hold for this polecat.
pub fn observe(polecat: Arc<Polecat>, shared: &Context, scope: &Scope) -> Result<Observed, Unreadable> {
    let (namespace, name) = key_of(&*polecat);
    let pod = scope.pod_of(&namespace, &name)?;
    let is_ready = pod
        .as_ref()
        .and_then(|p| p.container(BROKER))
        .is_none_or(|b| b.ready);
    if is_ready {
        scope.words.forget(&namespace, &name);
    }
    Ok(Observed {
        rig: shared.rigs.get(&ObjectRef::new(&polecat.spec.rig)),
        pod: pod.map_or(Sight::Unseen, |pod| Sight::Present(Arc::new(pod))),
        word: scope.words.get(&namespace, &name),
        refusal: None,
        claimed: None,
        restored: false,
        polecat,
    })
}

/// Asks the API server for the pod.
pub async fn look_for_pod(cluster: &Cluster, namespace: &str, name: &str) -> Result<Sight, Call> {
    let api: Api<PodView> = Api::namespaced(cluster.client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(None) => Ok(Sight::Absent),
        Ok(Some(mut pod)) => {
            pod.prune();
            Ok(Sight::Present(Arc::new(pod)))
        }
        Err(error) => Err(Call::from_kube("read", &format!("pod {namespace}/{name}"), error)),
    }
}

/// Reads the end of the broker's log.
pub async fn read_broker(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    pod_uid: String,
    attempt: i32,
) -> Result<Word, Call> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let params = LogParams {
        container: Some(BROKER.to_owned()),
        tail_lines: Some(LOG_LINES),
        ..LogParams::default()
    };
    let log = api.logs(pod, &params).await.map_err(|error| {
        Call::from_kube(
            "read the broker's log of",
            &format!("pod {namespace}/{pod}"),
            error,
        )
    })?;
    Ok(Word {
        pod_uid,
        evidence: evidence_in_log(&log, attempt),
        read_at: Timestamp::now(),
    })
}
