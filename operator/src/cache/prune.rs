//! What the caches leave out of an object: tens of thousands are held in memory.

use kube::api::ObjectMeta;

use crate::pod_view::PodView;

/// An object that can leave out what no plan reads.
pub trait Prune {
    /// Leaves out what no plan reads.
    fn prune(&mut self);
}

impl Prune for PodView {
    fn prune(&mut self) {
        Self::prune(self);
    }
}

/// Leaves out of an object's metadata what no plan reads; of the annotations it keeps those of `read`.
pub fn prune_meta(meta: &mut ObjectMeta, read: &[&str]) {
    meta.managed_fields = None;
    meta.self_link = None;
    meta.generate_name = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| read.contains(&key.as_str()));
    }
    meta.annotations = meta.annotations.take().filter(|a| !a.is_empty());
}
