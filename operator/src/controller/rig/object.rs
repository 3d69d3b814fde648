//! Rigs as the cache holds them: whole, for there are few and every polecat reads one.

use std::sync::Arc;

use gastown_api::rig::Rig;

use crate::cache::{Prune, Stored, Unreadable, prune_meta};

impl Stored for Rig {
    type Object = Self;

    fn store(object: &Self) -> Result<Self, Unreadable> {
        Ok(object.clone())
    }

    fn load(self: &Arc<Self>) -> Result<Arc<Self>, Unreadable> {
        Ok(self.clone())
    }
}

impl Prune for Rig {
    fn prune(&mut self) {
        prune_meta(&mut self.metadata, &[]);
    }
}
