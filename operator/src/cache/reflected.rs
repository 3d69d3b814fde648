//! The cached objects of one kind, as their watches deliver them.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use gastown_api::text::chain;
use kube::core::Resource as _;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::{Writer, store};
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::{ObservedVersion, Prune, Stored, Unreadable};
use crate::types::Key;

/// The objects of one kind, in the namespaces that are watched.
pub struct Reflected<S: Stored> {
    scopes: Vec<Arc<Scope<S>>>,
    listeners: Mutex<Vec<Listener<S>>>,
}

type Listener<S> = Box<dyn FnMut(&Delivery<'_, S>) + Send>;

/// The objects of one namespace, or of all.
pub struct Scope<S: Stored> {
    namespace: Option<String>,
    store: Store<S>,
    writer: Mutex<Writer<S>>,
    version: Arc<ObservedVersion>,
}

/// An event of a watch. The cache has applied it already, except during a relist, which is applied once complete.
pub struct Delivery<'a, S: Stored> {
    /// The scope of the watch.
    pub scope: &'a Scope<S>,
    /// The event.
    pub event: &'a Event<S::Object>,
    /// Cached objects that the completed relist no longer contains.
    pub gone: &'a [Key],
}

impl<S: Stored> Reflected<S> {
    /// An empty cache for watches of these namespaces; `None` for all namespaces.
    #[must_use]
    pub fn new(namespaces: &[Option<String>]) -> Self {
        let scope = |namespace: &Option<String>| {
            let (store, writer) = store();
            Arc::new(Scope {
                namespace: namespace.clone(),
                store,
                writer: Mutex::new(writer),
                version: Arc::default(),
            })
        };
        Self {
            scopes: namespaces.iter().map(scope).collect(),
            listeners: Mutex::default(),
        }
    }

    /// What is watched.
    #[must_use]
    pub fn scopes(&self) -> &[Arc<Scope<S>>] {
        &self.scopes
    }

    /// Sends every later event to `listener`.
    pub fn listen(&self, listener: impl FnMut(&Delivery<'_, S>) + Send + 'static) {
        self.listeners.lock().push(Box::new(listener));
    }

    /// Applies an event of the watch of `scope`, and tells the listeners.
    pub fn deliver(&self, scope: &Scope<S>, event: Event<S::Object>) {
        let event = event.modify(S::Object::prune);
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &event {
            scope.version.note(object.meta());
        }
        let gone = scope.keep(&event);
        let delivery = Delivery {
            scope,
            event: &event,
            gone: &gone,
        };
        self.listeners
            .lock()
            .iter_mut()
            .for_each(|listener| listener(&delivery));
    }

    /// The object of that name.
    pub fn get(&self, key: &Key) -> Result<Option<Arc<S::Object>>, Unreadable> {
        let held = self.scope_of(&key.namespace).and_then(|scope| scope.held(key));
        held.map(|stored| stored.load()).transpose()
    }

    /// The progress of the watch that covers that namespace.
    #[must_use]
    pub fn version(&self, namespace: &str) -> Option<&Arc<ObservedVersion>> {
        self.scope_of(namespace).map(|scope| &scope.version)
    }

    /// The keys of the objects that `scope` of this or another kind covers.
    #[must_use]
    pub fn keys_of(&self, namespace: Option<&str>) -> Vec<Key> {
        let same = |scope: &&Arc<Scope<S>>| scope.namespace.as_deref() == namespace;
        let scope = self.scopes.iter().find(same);
        scope.map(|scope| scope.keys()).unwrap_or_default()
    }

    /// Waits until every watch has delivered its first list; false if one ended before that.
    pub async fn ready(&self) -> bool {
        let scopes = self.scopes.iter().map(|scope| scope.store.wait_until_ready());
        join_all(scopes).await.iter().all(Result::is_ok)
    }

    fn scope_of(&self, namespace: &str) -> Option<&Arc<Scope<S>>> {
        let of = |scope: &&Arc<Scope<S>>| scope.namespace.as_ref().is_none_or(|n| *n == namespace);
        self.scopes.iter().find(of)
    }
}

impl<S: Stored> Scope<S> {
    /// The namespace; none: all.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The objects, for the queue of their controller.
    #[must_use]
    pub fn store(&self) -> Store<S> {
        self.store.clone()
    }

    /// The progress of its watch.
    #[must_use]
    pub fn version(&self) -> &Arc<ObservedVersion> {
        &self.version
    }

    /// The keys of its objects.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.store
            .state()
            .iter()
            .map(|object| Key::of(&**object))
            .collect()
    }

    fn held(&self, key: &Key) -> Option<Arc<S>> {
        self.store.get(&key.object_ref())
    }

    /// Applies the event; returns the objects that a completed relist no longer contains.
    fn keep(&self, event: &Event<S::Object>) -> Vec<Key> {
        let stored = match event {
            Event::Apply(object) => S::store(object).map(Event::Apply),
            Event::Delete(object) => S::store(object).map(Event::Delete),
            Event::InitApply(object) => S::store(object).map(Event::InitApply),
            Event::Init => Ok(Event::Init),
            Event::InitDone => Ok(Event::InitDone),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(error = %chain(&error), "an object cannot be kept, and is left alone");
                return Vec::new();
            }
        };
        if !matches!(stored, Event::InitDone) {
            self.writer.lock().apply_watcher_event(&stored);
            return Vec::new();
        }
        let before = self.keys();
        self.writer.lock().apply_watcher_event(&stored);
        let now: HashSet<_> = self.keys().into_iter().collect();
        before.into_iter().filter(|key| !now.contains(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::Packed;
    use crate::pod_view::PodView;
    use crate::testing;

    fn pod(name: &str, version: &str) -> PodView {
        testing::pod(json!({"metadata": {"name": name, "resourceVersion": version}}))
    }

    fn reflected(namespaces: &[Option<String>]) -> Reflected<Packed<PodView>> {
        Reflected::new(namespaces)
    }

    fn deliver(pods: &Reflected<Packed<PodView>>, event: Event<PodView>) {
        pods.deliver(&pods.scopes()[0], event);
    }

    /// What a listener was told: the objects that were gone at the end of each new list.
    fn told(pods: &Reflected<Packed<PodView>>) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        pods.listen(move |delivery| {
            listener
                .lock()
                .extend(delivery.gone.iter().map(ToString::to_string));
        });
        told
    }

    #[test]
    fn a_new_list_is_held_once_it_is_complete_and_what_it_does_not_name_is_gone() {
        let pods = reflected(&[None]);
        let told = told(&pods);
        deliver(&pods, Event::Apply(pod("a", "3")));
        deliver(&pods, Event::Apply(pod("b", "4")));
        deliver(&pods, Event::Init);
        deliver(&pods, Event::InitApply(pod("b", "7")));
        let version = |name| {
            let held = pods.get(&Key::new("town", name)).unwrap();
            held.and_then(|pod| pod.metadata.resource_version.clone())
        };
        assert_eq!(version("b").as_deref(), Some("4"));
        assert!(told.lock().is_empty());
        deliver(&pods, Event::InitDone);
        assert_eq!(version("b").as_deref(), Some("7"));
        assert_eq!(version("a"), None);
        assert_eq!(*told.lock(), ["town/a"]);
    }

    #[test]
    fn an_object_is_found_in_the_scope_of_its_namespace() {
        let pods = reflected(&[Some("other".to_owned()), Some("town".to_owned())]);
        pods.deliver(&pods.scopes()[1], Event::Apply(pod("a", "3")));
        assert!(pods.get(&Key::new("town", "a")).unwrap().is_some());
        assert!(pods.get(&Key::new("other", "a")).unwrap().is_none());
        assert!(pods.get(&Key::new("third", "a")).unwrap().is_none());
        assert_eq!(pods.keys_of(Some("town")), [Key::new("town", "a")]);
        assert!(pods.keys_of(Some("other")).is_empty());
        assert!(pods.version("third").is_none());
    }
}
