//! The form in which a cache holds objects.

use std::sync::Arc;

use kube::Resource;
use kube::api::ObjectMeta;

use super::Prune;

/// The form in which a cache holds the objects of a kind.
pub trait Stored: Resource<DynamicType = ()> + Clone + Send + Sync + 'static {
    /// An object of the kind.
    type Object: Resource<DynamicType = ()> + Prune + Clone + Send + Sync + 'static;

    /// An object as the cache holds it.
    fn store(object: &Self::Object) -> Result<Self, Unreadable>;

    /// The whole object.
    fn load(self: &Arc<Self>) -> Result<Arc<Self::Object>, Unreadable>;
}

/// An object of the cache cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act} {object} of the cache")]
pub struct Unreadable {
    act: &'static str,
    object: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Unreadable {
    /// An object of the kind `K` that cannot be packed or unpacked.
    pub(super) fn new<K: Resource<DynamicType = ()>>(
        act: &'static str,
        meta: &ObjectMeta,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let (kind, namespace) = (K::kind(&()), meta.namespace.as_deref().unwrap_or_default());
        let name = meta.name.as_deref().unwrap_or_default();
        Self {
            act,
            object: format!("{kind} {namespace}/{name}"),
            source: source.into(),
        }
    }
}
