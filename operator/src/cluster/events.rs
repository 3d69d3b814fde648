//! Events, on transitions only.

use gastown_api::evidence::truncate;
use gastown_api::polecat::Polecat;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};

use super::{Call, Cluster};
use crate::types::Transition;

/// Who reports, as events name it.
const CONTROLLER: &str = "gastown.io/operator";
/// The API's limit of a note.
const NOTE_LIMIT: usize = 1024;

impl Cluster {
    /// Tells of a transition of a polecat.
    pub async fn publish(
        &self,
        polecat: &Polecat,
        transition: &Transition,
        now: Timestamp,
    ) -> Result<(), Call> {
        let namespace = polecat.namespace().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let created = api
            .create(&PostParams::default(), &self.event(polecat, transition, now))
            .await;
        let object = format!("an event on polecat {namespace}/{}", polecat.name_any());
        created
            .map(drop)
            .map_err(|error| Call::from_kube("create", &object, error))
    }

    fn event(&self, polecat: &Polecat, transition: &Transition, now: Timestamp) -> Event {
        let mut note = transition.note.clone();
        truncate(&mut note, NOTE_LIMIT);
        Event {
            metadata: ObjectMeta {
                // As client-go names them; a generated name must not end with a dot.
                name: Some(format!("{}.{:x}", polecat.name_any(), now.as_nanosecond())),
                namespace: polecat.namespace(),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(transition.reason.as_str().to_owned()),
            regarding: Some(polecat.object_ref(&())),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.identity.clone()),
            type_: Some(if transition.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }
}
