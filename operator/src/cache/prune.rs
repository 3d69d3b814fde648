//! Drops parts of objects before they are cached, because the caches hold tens of thousands of objects in memory.

use kube::api::ObjectMeta;

use crate::pod_view::PodView;

/// An object from which a cache can drop the fields that no plan reads.
pub trait Prune {
    /// Drops the fields that no plan reads.
    fn prune(&mut self);
}

impl Prune for PodView {
    fn prune(&mut self) {
        Self::prune(self);
    }
}

/// Drops the fields of an object's metadata that no plan reads, and all annotations whose keys are not in `read`.
pub fn prune_meta(meta: &mut ObjectMeta, read: &[&str]) {
    meta.managed_fields = None;
    meta.self_link = None;
    meta.generate_name = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| read.contains(&key.as_str()));
    }
    meta.annotations = meta.annotations.take().filter(|a| !a.is_empty());
}
