//! The last report of each broker whose readiness is False. It is not in the status: after a restart it is read once more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::Word;
use crate::types::Key;

/// The last report of each broker whose readiness is False, by polecat.
#[derive(Debug, Default)]
pub struct Reports(Mutex<HashMap<Key, Word>>);

impl Reports {
    /// Keeps what the broker of this polecat said.
    pub fn keep(&self, key: Key, word: Word) {
        self.lock().insert(key, word);
    }

    /// What the broker of this polecat said last.
    pub fn get(&self, key: &Key) -> Option<Word> {
        self.lock().get(key).cloned()
    }

    /// The broker is ready again, or gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Word>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
