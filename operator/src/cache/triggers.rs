//! The queue of objects to reconcile, for one kind.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use parking_lot::Mutex;

use crate::types::Key;

/// The objects of one kind to reconcile. While this replica does not lead, there is no listener, and triggers are
/// dropped.
#[derive(Debug)]
pub struct ReconcileTriggers {
    queues: Vec<Queue>,
    /// When each object was first triggered.
    waiting: Mutex<HashMap<Key, Instant>>,
}

#[derive(Debug)]
struct Queue {
    namespace: Option<String>,
    sender: Mutex<Option<UnboundedSender<Key>>>,
}

impl ReconcileTriggers {
    /// An empty queue for objects of these namespaces; `None` for all namespaces.
    #[must_use]
    pub fn new(namespaces: &[Option<String>]) -> Self {
        let queue = |namespace: &Option<String>| Queue {
            namespace: namespace.clone(),
            sender: Mutex::default(),
        };
        Self {
            queues: namespaces.iter().map(queue).collect(),
            waiting: Mutex::default(),
        }
    }

    /// Triggers the object.
    pub fn send(&self, key: Key) {
        let of = |queue: &&Queue| queue.namespace.as_ref().is_none_or(|n| *n == key.namespace);
        let Some(queue) = self.queues.iter().find(of) else {
            return;
        };
        if let Some(sender) = queue.sender.lock().as_ref() {
            self.waiting
                .lock()
                .entry(key.clone())
                .or_insert_with(Instant::now);
            // A closed channel means that this replica has stopped leading.
            drop(sender.unbounded_send(key));
        }
    }

    /// Triggers each of the objects.
    pub fn send_all(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.send(key);
        }
    }

    /// Listens for objects of that namespace from now on, and replaces the earlier listener.
    pub fn listen(&self, namespace: Option<&str>) -> UnboundedReceiver<Key> {
        let (sender, receiver) = unbounded();
        let of = |queue: &&Queue| queue.namespace.as_deref() == namespace;
        if let Some(queue) = self.queues.iter().find(of) {
            *queue.sender.lock() = Some(sender);
        }
        receiver
    }

    /// How long the object has waited; `None` if it was not triggered, as in a retry after an error.
    pub fn waited(&self, key: &Key) -> Option<Duration> {
        self.waiting.lock().remove(key).map(|since| since.elapsed())
    }

    /// Removes the listeners.
    pub fn close(&self) {
        for queue in &self.queues {
            *queue.sender.lock() = None;
        }
        self.waiting.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(receiver: &mut UnboundedReceiver<Key>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|key| key.to_string())
            .collect()
    }

    #[test]
    fn an_object_is_asked_for_where_its_namespace_is_served_and_only_while_somebody_listens() {
        let triggers = ReconcileTriggers::new(&[Some("a".to_owned()), Some("b".to_owned())]);
        triggers.send(Key::new("a", "early"));
        let (mut a, mut b) = (triggers.listen(Some("a")), triggers.listen(Some("b")));
        triggers.send_all([Key::new("a", "1"), Key::new("b", "2"), Key::new("c", "3")]);
        assert_eq!(received(&mut a), ["a/1"]);
        assert_eq!(received(&mut b), ["b/2"]);
        triggers.close();
        triggers.send(Key::new("a", "late"));
        assert!(received(&mut a).is_empty());
        let mut again = triggers.listen(Some("a"));
        triggers.send(Key::new("a", "1"));
        assert_eq!(received(&mut again), ["a/1"]);
    }

    #[test]
    fn an_object_waits_from_its_first_trigger_to_the_look_at_it() {
        let triggers = ReconcileTriggers::new(&[None]);
        let _receiver = triggers.listen(None);
        let key = Key::cluster("a");
        assert_eq!(triggers.waited(&key), None);
        triggers.send(key.clone());
        std::thread::sleep(Duration::from_millis(5));
        triggers.send(key.clone());
        assert!(triggers.waited(&key).unwrap() >= Duration::from_millis(5));
        assert_eq!(triggers.waited(&key), None);
    }
}
