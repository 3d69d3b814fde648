//! What was written and not seen yet. Without it a plan would decide on what it has already changed, and be refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kube::api::ObjectMeta;
use parking_lot::Mutex;

use crate::types::Key;

/// How long the plan waits for a watch to show what was written; then it decides on what it has.
pub const CATCH_UP: Duration = Duration::from_secs(5);

/// The highest resource version that a watch delivered. Versions of one kind of resource grow, and a watch delivers
/// them in order (KEP-5504).
#[derive(Debug, Default)]
pub struct ObservedVersion(AtomicU64);

impl ObservedVersion {
    /// Notes an object that the watch delivered.
    pub fn note(&self, meta: &ObjectMeta) {
        self.0.fetch_max(version_of(meta), Ordering::Relaxed);
    }

    fn reached(&self, version: u64) -> bool {
        self.0.load(Ordering::Relaxed) >= version
    }
}

/// The resource version as a number; 0 where it is none, which every watch has reached.
fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

/// The versions that watches have to show before an object is reconciled again, by that object.
#[derive(Debug, Default)]
pub struct Expectations(Mutex<HashMap<Key, Expectation>>);

#[derive(Debug)]
struct Expectation {
    versions: Vec<(Arc<ObservedVersion>, u64)>,
    since: Instant,
}

impl Expectations {
    /// Expects `watch` to show the version that the API server answered with, before `key` is reconciled again.
    pub fn expect(&self, key: &Key, watch: &Arc<ObservedVersion>, meta: &ObjectMeta) {
        let version = version_of(meta);
        let now = Instant::now();
        let mut map = self.0.lock();
        let expectation = map.entry(key.clone()).or_insert_with(|| Expectation {
            versions: Vec::new(),
            since: now,
        });
        expectation.since = now;
        let mut versions = expectation.versions.iter_mut();
        match versions.find(|(of, _)| Arc::ptr_eq(of, watch)) {
            Some((_, expected)) => *expected = version,
            None => expectation.versions.push((watch.clone(), version)),
        }
    }

    /// Whether the watches have shown everything that was written for this object, or had their time.
    pub fn are_met(&self, key: &Key) -> bool {
        let mut map = self.0.lock();
        let Some(expectation) = map.get(key) else {
            return true;
        };
        let mut versions = expectation.versions.iter();
        let shown = versions.all(|(watch, version)| watch.reached(*version));
        let met = shown || expectation.since.elapsed() > CATCH_UP;
        if met {
            map.remove(key);
        }
        met
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(version: &str) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_was_written_is_awaited_until_the_watch_shows_it() {
        let (written, key) = (Expectations::default(), Key::new("n", "a"));
        let (polecats, pods) = (
            Arc::new(ObservedVersion::default()),
            Arc::new(ObservedVersion::default()),
        );
        assert!(written.are_met(&key));
        written.expect(&key, &polecats, &meta("7"));
        written.expect(&key, &pods, &meta("9"));
        polecats.note(&meta("8"));
        assert!(!written.are_met(&key));
        assert!(written.are_met(&Key::new("n", "b")));
        pods.note(&meta("9"));
        assert!(written.are_met(&key));
    }

    #[test]
    fn of_two_writes_the_later_one_is_awaited() {
        let (written, key) = (Expectations::default(), Key::cluster("a"));
        let watch = Arc::new(ObservedVersion::default());
        written.expect(&key, &watch, &meta("7"));
        written.expect(&key, &watch, &meta("8"));
        watch.note(&meta("7"));
        assert!(!written.are_met(&key));
        written.forget(&key);
        assert!(written.are_met(&key));
    }
}
