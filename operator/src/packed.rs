//! Objects as JSON. Parsed, most of an object is room for fields that are not set: a polecat and its pod take four times
//! as much, and tens of thousands of them are held in memory. A look at one parses it.

use std::borrow::Cow;
use std::marker::PhantomData;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object of the kind `K`. Only name and namespace can be read without a parse.
#[derive(Debug)]
pub struct Packed<K> {
    metadata: ObjectMeta,
    json: Box<[u8]>,
    kind: PhantomData<fn() -> K>,
}

/// An object of the cache cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act} {object} of the cache")]
pub struct Unreadable {
    act: &'static str,
    object: String,
    source: serde_json::Error,
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
        let json = serde_json::to_vec(object).map_err(|source| unreadable::<K>("pack", &metadata, source))?;
        Ok(Self {
            metadata,
            json: json.into_boxed_slice(),
            kind: PhantomData,
        })
    }

    /// The whole object.
    pub fn unpack(&self) -> Result<K, Unreadable> {
        serde_json::from_slice(&self.json).map_err(|source| unreadable::<K>("unpack", &self.metadata, source))
    }
}

fn unreadable<K: Resource<DynamicType = ()>>(
    act: &'static str,
    meta: &ObjectMeta,
    source: serde_json::Error,
) -> Unreadable {
    let (kind, namespace) = (K::kind(&()), meta.namespace.as_deref().unwrap_or_default());
    let name = meta.name.as_deref().unwrap_or_default();
    Unreadable {
        act,
        object: format!("{kind} {namespace}/{name}"),
        source,
    }
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            json: self.json.clone(),
            kind: PhantomData,
        }
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
}
