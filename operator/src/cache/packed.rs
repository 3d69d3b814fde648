//! Objects as compressed JSON. Parsed, most of an object is room for fields that are not set, and as text most of it is
//! what every polecat says; tens of thousands of them are held in memory. A look at one unpacks it.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use kube::Resource;
use kube::api::ObjectMeta;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Prune, Stored, Unreadable};

/// What polecats and their pods look like: what an object has in common with it costs a few bytes. It need not be like any
/// of them; nothing that is packed outlives the process.
const DICTIONARY: &[u8] = include_bytes!("packed/dictionary.jsonl");

/// An object of the kind `K`. Only name and namespace can be read without a look inside.
#[derive(Debug)]
pub struct Packed<K> {
    metadata: ObjectMeta,
    /// How many bytes the JSON has.
    length: usize,
    /// The JSON as an LZ4 block, packed with [`DICTIONARY`].
    block: Box<[u8]>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Packed<K> {
    /// Packs `object`.
    pub fn pack(object: &K) -> Result<Self, Unreadable> {
        let meta = object.meta();
        let metadata = ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            ..ObjectMeta::default()
        };
        let json =
            serde_json::to_vec(object).map_err(|source| Unreadable::new::<K>("pack", &metadata, source))?;
        Ok(Self {
            metadata,
            length: json.len(),
            block: compress_with_dict(&json, DICTIONARY).into_boxed_slice(),
            kind: PhantomData,
        })
    }

    /// The whole object.
    pub fn unpack(&self) -> Result<K, Unreadable> {
        let json = decompress_with_dict(&self.block, self.length, DICTIONARY)
            .map_err(|source| Unreadable::new::<K>("unpack", &self.metadata, source))?;
        serde_json::from_slice(&json).map_err(|source| Unreadable::new::<K>("unpack", &self.metadata, source))
    }
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            length: self.length,
            block: self.block.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> Stored for Packed<K>
where
    K: Resource<DynamicType = ()> + Prune + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    type Object = K;

    fn store(object: &K) -> Result<Self, Unreadable> {
        Self::pack(object)
    }

    fn load(self: &Arc<Self>) -> Result<Arc<K>, Unreadable> {
        self.unpack().map(Arc::new)
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Packed<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::polecat::Polecat;
    use serde_json::json;

    use super::*;
    use crate::pod_view::PodView;
    use crate::testing;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let polecat =
            testing::polecat(json!({"status": {"phase": "Working", "podActive": true, "conditions": []}}));
        assert_eq!(Packed::pack(&*polecat).unwrap().unpack().unwrap(), *polecat);
        let pod: PodView = testing::pod(json!({"status": testing::ended(0, &testing::evidence(json!({})))}));
        let packed = Packed::pack(&pod).unwrap();
        assert_eq!(packed.meta().name.as_deref(), Some("polecat-furiosa"));
        assert_eq!(packed.unpack().unwrap(), pod);
    }

    /// As thousands of them are: the status of a polecat at work and of its pod.
    fn at_work() -> (Polecat, PodView) {
        let condition = |type_: &str, status: &str, reason: &str, message: &str| {
            json!({"type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
                "lastTransitionTime": "2026-02-03T04:05:06Z"})
        };
        let polecat = testing::polecat(json!({"metadata": {"name": "nux"}, "status": {
            "phase": "Working", "observedGeneration": 1, "branch": "polecat/nux", "podName": "polecat-nux", "podActive": true,
            "agent": "claude-code", "agentImage": "registry.example.com/polecat-agent@sha256:0123",
            "repository": "git@github.com:org/repo.git", "baseBranch": "main",
            "attempts": [{"number": 1, "podName": "polecat-nux", "podUID": "a-uid", "startedAt": "2026-02-03T04:05:06Z"}],
            "conditions": [
                condition("Working", "True", "AgentRunning", "the agent is at work"),
                condition("Ready", "False", "AgentRunning", "the agent is at work"),
                condition("Progressing", "True", "AgentRunning", "the agent is at work"),
                condition("RigFound", "True", "RigFound", "rig \"my-project\" exists"),
            ],
        }}));
        let name = json!({"metadata": {"name": "polecat-nux"}, "status": testing::running()});
        (Arc::unwrap_or_clone(polecat), testing::pod(name))
    }

    #[test]
    fn what_all_have_in_common_takes_no_room() {
        let (polecat, pod) = at_work();
        let room =
            |length: usize, block: &[u8]| assert!(block.len() * 4 < length, "{} of {length}", block.len());
        let packed = Packed::pack(&polecat).unwrap();
        room(packed.length, &packed.block);
        let packed = Packed::pack(&pod).unwrap();
        room(packed.length, &packed.block);
    }
}
