//! A pod triggers its owner.

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::runtime::watcher::Event;

use crate::cache::{Packed, ReconcileTriggers, Reflected, Stored};
use crate::pod_view::PodView;
use crate::types::Key;

/// Has each pod trigger its owner, which is of the pod's namespace: `label` names it, and the pod's name is the owner's
/// behind `prefix`. A new list triggers every object of its namespaces, for pods that are gone since the last one were not
/// named, and those whose pods it names.
pub fn trigger_owners<S: Stored>(
    pods: &Reflected<Packed<PodView>>,
    objects: &Arc<Reflected<S>>,
    triggers: &Arc<ReconcileTriggers>,
    label: &'static str,
    prefix: &'static str,
) {
    let (objects, triggers) = (objects.clone(), triggers.clone());
    pods.listen(move |delivery| match delivery.event {
        Event::Apply(pod) | Event::Delete(pod) => {
            if let Some(owner) = pod.label(label) {
                triggers.send(Key::new(pod.namespace().unwrap_or_default(), owner));
            }
        }
        Event::Init | Event::InitApply(_) => {}
        Event::InitDone => {
            let owner = |pod: &Key| Some(Key::new(&pod.namespace, pod.name.strip_prefix(prefix)?));
            triggers.send_all(objects.keys_of(delivery.scope.namespace()));
            triggers.send_all(delivery.scope.keys().iter().filter_map(owner));
        }
    });
}
