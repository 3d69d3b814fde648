//! The kinds that the plugin works with, and where the API server has them.

use gastown_api::kinds::{self, Kind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its singular in lower case, for people.
    pub singular: &'static str,
    /// Its group; empty for the core.
    pub group: &'static str,
    version: &'static str,
    plural: &'static str,
    namespaced: bool,
}

impl Resource {
    /// Project workspaces.
    pub const RIGS: Self = Self::of(&kinds::RIG);
    /// Workers.
    pub const POLECATS: Self = Self::of(&kinds::POLECAT);
    /// Credentials.
    pub const SECRETS: Self = Self::core("secret", "secrets", true);
    /// Pods of polecats.
    pub const PODS: Self = Self::core("pod", "pods", true);
    /// What happened.
    pub const EVENTS: Self = Self::core("event", "events", true);
    /// Namespaces.
    pub const NAMESPACES: Self = Self::core("namespace", "namespaces", false);
    /// The definitions of our kinds.
    pub const DEFINITIONS: Self = Self {
        singular: "custom resource definition",
        group: "apiextensions.k8s.io",
        version: "v1",
        plural: "customresourcedefinitions",
        namespaced: false,
    };

    /// A kind of this operator.
    pub const fn of(kind: &Kind) -> Self {
        Self {
            singular: kind.singular,
            group: gastown_api::GROUP,
            version: gastown_api::VERSION,
            plural: kind.plural,
            namespaced: kind.is_namespaced,
        }
    }

    /// The kinds of this operator.
    pub fn ours() -> impl Iterator<Item = Self> {
        kinds::kinds().iter().map(Self::of)
    }

    const fn core(singular: &'static str, plural: &'static str, namespaced: bool) -> Self {
        Self {
            singular,
            group: "",
            version: "v1",
            plural,
            namespaced,
        }
    }

    /// Whether it is of this operator.
    pub fn is_ours(self) -> bool {
        self.group == gastown_api::GROUP
    }

    /// Whether its objects stand in namespaces.
    pub const fn is_namespaced(self) -> bool {
        self.namespaced
    }

    /// Something that is read from a path of its own.
    pub const fn named(singular: &'static str) -> Self {
        Self::core(singular, "", false)
    }

    /// Where the collection is, or the object of that name in it.
    pub fn path(self, namespace: &str, name: Option<&str>) -> String {
        let group = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        let within = if self.namespaced && !namespace.is_empty() {
            format!("/namespaces/{}", encode(namespace))
        } else {
            String::new()
        };
        let name = name.map_or_else(String::new, |name| format!("/{}", encode(name)));
        format!("{group}{within}/{}{name}", self.plural)
    }

    /// `polecat "furiosa"`, or `polecats` without a name.
    pub fn describe(self, name: &str) -> String {
        if name.is_empty() && self.plural.is_empty() {
            self.singular.to_owned()
        } else if name.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{} {name:?}", self.singular)
        }
    }

    /// The name in `-o name`: `polecat.gastown.gastown.io`.
    pub fn qualified(self) -> String {
        if self.group.is_empty() {
            self.singular.to_owned()
        } else {
            format!("{}.{}", self.singular, self.group)
        }
    }

    /// `rigs.gastown.gastown.io`: the name of its definition.
    pub fn definition(self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// What is escaped in a segment of a path.
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A name as a segment of a path: what no object can be called reaches the API server as it is, and is not found.
pub fn encode(text: &str) -> String {
    // A segment of dots would be resolved as a folder.
    if text.bytes().all(|byte| byte == b'.') {
        text.replace('.', "%2E")
    } else {
        utf8_percent_encode(text, IN_SEGMENT).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(
            Resource::POLECATS.path("a/b", Some("../secrets?x")),
            "/apis/gastown.gastown.io/v1alpha1/namespaces/a%2Fb/polecats/..%2Fsecrets%3Fx"
        );
        assert_eq!(
            Resource::RIGS.path("ns", Some("..")),
            "/apis/gastown.gastown.io/v1alpha1/rigs/%2E%2E"
        );
    }
}
