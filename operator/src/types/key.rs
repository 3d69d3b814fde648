//! How caches, queues and writes name an object.

use std::fmt;

use kube::runtime::reflector::{Lookup, ObjectRef};
use kube::{Resource, ResourceExt};

/// Namespace and name of an object. Its kind follows from where the key is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace; empty for an object of the cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of that name in that namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object of the cluster.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new(String::new(), name)
    }

    /// The key of an object.
    #[must_use]
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    /// The same as kube's caches and queues name it.
    #[must_use]
    pub fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        let object = ObjectRef::new(&self.name);
        if self.namespace.is_empty() {
            object
        } else {
            object.within(&self.namespace)
        }
    }

    /// The key of what kube's caches and queues name so.
    #[must_use]
    pub fn from_ref<K: Lookup>(object: &ObjectRef<K>) -> Self {
        Self::new(object.namespace.clone().unwrap_or_default(), &object.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}
