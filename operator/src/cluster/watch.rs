//! Watches: they fill the caches and wake the controllers.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, pin_mut};
use gastown_api::labels;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use kube::core::{DeserializeGuard, NamespaceResourceScope, Resource};
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::{Scope, key_of, prune_polecat, prune_rig};
use crate::controller::Context;
use crate::packed::Packed;
use crate::pod_view::PodView;

/// Objects in one page of the first list: it bounds what a list takes of memory.
const PAGE: u32 = 250;

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches the polecats of a scope.
pub async fn polecats(context: Arc<Context>, scope: Arc<Scope>, mut writer: Writer<Packed<Polecat>>) {
    let api = api::<DeserializeGuard<Polecat>>(&context.cluster.client, scope.namespace.as_deref());
    let config = watcher::Config::default().page_size(PAGE);
    each(
        readable_only(watch(api, config), "polecats"),
        "polecats",
        |event| {
            let event = event.modify(prune_polecat);
            let touched = touched(&event);
            if let Some(polecat) = touched {
                scope.polecats_seen.note(&polecat.metadata);
            }
            keep(&mut writer, &event);
            let changed = match &event {
                Event::Apply(polecat) | Event::InitApply(polecat) => context.census.note(polecat),
                Event::Delete(polecat) => context.census.forget(polecat),
                Event::Init | Event::InitDone => None,
            };
            if let Some(polecat) = touched {
                scope.wakes.send(key_of(polecat));
            }
            if matches!(event, Event::InitDone) {
                let exists = |key: &(String, String)| scope.has_polecat(&key.0, &key.1);
                let changed = context.census.retain(scope.namespace.as_deref(), exists);
                context.rig_wakes.send_all(changed);
            }
            context.rig_wakes.send_all(changed);
        },
    )
    .await;
}

/// Watches the pods of a scope's polecats.
pub async fn pods(context: Arc<Context>, scope: Arc<Scope>, mut writer: Writer<Packed<PodView>>) {
    let api = api::<PodView>(&context.cluster.client, scope.namespace.as_deref());
    let config = watcher::Config::default().page_size(PAGE).labels(labels::POLECAT);
    each(watch(api, config), "pods", |event| {
        let event = event.modify(PodView::prune);
        let touched = touched(&event);
        if let Some(pod) = touched {
            scope.pods_seen.note(&pod.metadata);
        }
        keep(&mut writer, &event);
        if let Some((pod, polecat)) = touched.and_then(|pod| Some((pod, pod.polecat()?))) {
            scope
                .wakes
                .send((pod.namespace().unwrap_or_default(), polecat.to_owned()));
        }
        if matches!(event, Event::InitDone) {
            // Pods that are gone since the last list were not named: every polecat is looked at.
            scope.wakes.send_all(scope.every_polecat());
        }
    })
    .await;
}

/// Watches the rigs. A rig whose spec changed wakes the polecats that may take something from it.
pub async fn rigs(context: Arc<Context>, mut writer: Writer<Rig>) {
    let api: Api<DeserializeGuard<Rig>> = Api::all(context.cluster.client.clone());
    let config = watcher::Config::default().page_size(PAGE);
    let mut generations: HashMap<String, Option<i64>> = HashMap::new();
    each(readable_only(watch(api, config), "rigs"), "rigs", |event| {
        let event = event.modify(prune_rig);
        writer.apply_watcher_event(&event);
        let Some(rig) = touched(&event) else {
            return;
        };
        let name = rig.name_any();
        context.rig_wakes.send(name.clone());
        let changed = if matches!(event, Event::Delete(_)) {
            generations.remove(&name).is_some()
        } else {
            generations.insert(name.clone(), rig.metadata.generation) != Some(rig.metadata.generation)
        };
        if changed {
            wake_polecats_of(&context, &name);
        }
    })
    .await;
}

fn wake_polecats_of(context: &Context, rig: &str) {
    for (namespace, name) in context.census.unsettled(rig) {
        let in_scope = |scope: &&Arc<Scope>| scope.namespace.as_ref().is_none_or(|n| *n == namespace);
        if let Some(scope) = context.scopes.iter().find(in_scope) {
            scope.wakes.send((namespace, name));
        }
    }
}

/// Packs what the watch delivered into the cache.
fn keep<K>(writer: &mut Writer<Packed<K>>, event: &Event<K>)
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static,
{
    let packed = match event {
        Event::Apply(object) => Packed::pack(object).map(Event::Apply),
        Event::Delete(object) => Packed::pack(object).map(Event::Delete),
        Event::InitApply(object) => Packed::pack(object).map(Event::InitApply),
        Event::Init => Ok(Event::Init),
        Event::InitDone => Ok(Event::InitDone),
    };
    match packed {
        Ok(event) => writer.apply_watcher_event(&event),
        Err(error) => tracing::error!(error = ?error, "an object cannot be kept, and is left alone"),
    }
}

fn touched<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}

/// Handles every event; a watch that breaks is taken up again by itself, with a growing pause.
async fn each<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    what: &'static str,
    mut handle: impl FnMut(Event<K>),
) {
    let stream = stream.default_backoff();
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => handle(event),
            Err(error) => tracing::warn!(error = ?error, what, "a watch broke; it is taken up again"),
        }
    }
}

/// Leaves out what cannot be read.
fn readable_only<K: Resource<DynamicType = ()>>(
    stream: impl Stream<Item = Result<Event<DeserializeGuard<K>>, watcher::Error>>,
    what: &'static str,
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
