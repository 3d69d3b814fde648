//! Events, on transitions only.

use gastown_api::evidence::truncate;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::{Call, Cluster};
use crate::types::Transition;

/// Who reports, as events name it.
const CONTROLLER: &str = "gastown.io/operator";
/// The API's limit of a note.
const NOTE_LIMIT: usize = 1024;
/// Where events on objects of the cluster go, as of client-go's recorder.
const NAMESPACE_OF_THE_CLUSTER: &str = "default";

impl Cluster {
    /// Tells of a transition of the object `regarding`.
    pub async fn publish(
        &self,
        regarding: &ObjectReference,
        transition: &Transition,
        now: Timestamp,
    ) -> Result<(), Call> {
        let event = event(regarding, transition, now, &self.identity);
        let namespace = event.metadata.namespace.as_deref();
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace.unwrap_or_default());
        let created = api.create(&PostParams::default(), &event).await;
        created
            .map(drop)
            .map_err(|error| Call::from_kube("create", &described(regarding), error))
    }
}

fn described(regarding: &ObjectReference) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let kind = part(&regarding.kind).to_lowercase();
    match part(&regarding.namespace) {
        namespace if namespace.is_empty() => format!("an event on {kind} {}", part(&regarding.name)),
        namespace => format!("an event on {kind} {namespace}/{}", part(&regarding.name)),
    }
}

fn event(regarding: &ObjectReference, transition: &Transition, now: Timestamp, identity: &str) -> Event {
    let mut note = transition.note.clone();
    truncate(&mut note, NOTE_LIMIT);
    let name = regarding.name.as_deref().unwrap_or_default();
    let namespace = regarding.namespace.as_deref().filter(|n| !n.is_empty());
    Event {
        metadata: ObjectMeta {
            // As client-go names them; a generated name must not end with a dot.
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.unwrap_or(NAMESPACE_OF_THE_CLUSTER).to_owned()),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(note),
        reason: Some(transition.reason.name.to_owned()),
        regarding: Some(regarding.clone()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(identity.to_owned()),
        type_: Some(if transition.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;

    use super::*;

    #[test]
    fn an_event_stands_in_the_namespace_of_its_object_or_in_the_default_one() {
        let transition = Transition::warning(Reason::SpecIncomplete, "x".repeat(2 * NOTE_LIMIT));
        for (namespace, expected, object) in [
            (Some("town"), "town", "an event on rig town/a"),
            (None, "default", "an event on rig a"),
        ] {
            let regarding = ObjectReference {
                kind: Some("Rig".to_owned()),
                name: Some("a".to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ObjectReference::default()
            };
            let event = event(&regarding, &transition, Timestamp::UNIX_EPOCH, "me");
            assert_eq!(event.metadata.namespace.as_deref(), Some(expected));
            assert_eq!(event.regarding.as_ref(), Some(&regarding));
            assert_eq!(event.type_.as_deref(), Some("Warning"));
            assert_eq!(event.note.unwrap().len(), NOTE_LIMIT);
            assert_eq!(described(&regarding), object);
        }
    }
}
