//! Watches: they fill the caches.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _, pin_mut};
use gastown_api::text::chain;
use kube::core::{DeserializeGuard, Resource};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use serde::de::DeserializeOwned;

use super::{ApiScope, Cluster};
use crate::cache::{Packed, Reflected, Scope, Stored};
use crate::pod_view::PodView;

/// Objects in one page of the first list: it bounds what a list takes of memory.
const PAGE: u32 = 250;

/// Watches the custom resources of `scope`, and tells `objects` what comes, until the process ends.
pub async fn custom_resources<S>(cluster: Cluster, objects: &Reflected<S>, scope: &Scope<S>)
where
    S: Stored<Object: DeserializeOwned + Debug>,
    <S::Object as Resource>::Scope: ApiScope,
{
    let client = cluster.client.clone();
    let api = <S::Object as Resource>::Scope::api::<DeserializeGuard<S::Object>>(client, scope.namespace());
    let what = S::Object::plural(&());
    let stream = readable_only(watch(api, watcher::Config::default().page_size(PAGE)), &what);
    each(stream, &what, |event| objects.deliver(scope, event)).await;
}

/// Watches the pods of `scope` that have the label `label`, and tells `pods` what comes, until the process ends.
pub async fn pods(
    cluster: Cluster,
    pods: &Reflected<Packed<PodView>>,
    scope: &Scope<Packed<PodView>>,
    label: &str,
) {
    let api = <PodView as Resource>::Scope::api::<PodView>(cluster.client.clone(), scope.namespace());
    let config = watcher::Config::default().page_size(PAGE).labels(label);
    each(watch(api, config), "pods", |event| pods.deliver(scope, event)).await;
}

/// Handles every event; a watch that breaks is taken up again by itself, with a growing pause.
async fn each<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    what: &str,
    mut handle: impl FnMut(Event<K>),
) {
    let stream = stream.default_backoff();
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => handle(event),
            Err(error) => tracing::warn!(error = %chain(&error), what, "a watch broke; it is taken up again"),
        }
    }
}

/// Leaves out what cannot be read.
fn readable_only<K: Resource<DynamicType = ()>>(
    stream: impl Stream<Item = Result<Event<DeserializeGuard<K>>, watcher::Error>>,
    what: &str,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> {
    stream.filter_map(move |event| std::future::ready(event.map(|e| readable(e, what)).transpose()))
}

/// One object that cannot be read, left by a predecessor or another version, must not stop the watch of all others.
fn readable<K: Resource<DynamicType = ()>>(
    event: Event<DeserializeGuard<K>>,
    what: &str,
) -> Option<Event<K>> {
    let read = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            tracing::warn!(error = %invalid.error, what, namespace, name, "an object cannot be read, and is left alone");
            None
        }
    };
    Some(match event {
        Event::Apply(guard) => Event::Apply(read(guard)?),
        Event::Delete(guard) => Event::Delete(read(guard)?),
        Event::InitApply(guard) => Event::InitApply(read(guard)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

#[cfg(test)]
mod tests {
    use gastown_api::polecat::Polecat;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_cannot_be_read_is_left_out() {
        let event = |spec| {
            let object = json!({"apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
                "metadata": {"name": "a", "namespace": "n"}, "spec": spec});
            Event::Apply(serde_json::from_value::<DeserializeGuard<Polecat>>(object).unwrap())
        };
        assert!(readable(event(json!({"rig": "r"})), "polecats").is_some());
        assert!(readable(event(json!({"rig": 7})), "polecats").is_none());
    }
}
