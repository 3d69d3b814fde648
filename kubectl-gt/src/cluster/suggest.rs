//! What a person may have meant who named something that does not exist.

use std::collections::BTreeSet;

use serde_json::Value;

use super::list::{AS_TABLE, Table};
use super::{Call, Cluster, Resource, Selection};

/// How alike two names are at least that one is taken for the other's misspelling; clap suggests commands likewise.
const ALIKE: f64 = 0.8;

impl Cluster {
    /// The object that a person named. Where there is none, the message says what may have been meant: an object
    /// in another namespace, or one that is called alike.
    pub async fn get_named(&self, resource: Resource, name: &str) -> Result<Value, Call> {
        match self.get(resource, name).await {
            Err(error @ Call::NotFound { .. }) => {
                let meant = match self.elsewhere(resource, name).await {
                    Some(meant) => Some(meant),
                    None => self.alike(resource, name).await,
                };
                Err(error.with_hint(meant.as_deref()))
            }
            other => other,
        }
    }

    /// Another namespace that has it. That it may not be looked for there is no other error.
    async fn elsewhere(&self, resource: Resource, name: &str) -> Option<String> {
        if !resource.is_namespaced() {
            return None;
        }
        let selection = Selection {
            fields: Some(format!("metadata.name={name}")),
            all_namespaces: true,
        };
        let found = self.list(resource, &selection).await.ok()?;
        let namespace = found.first()?["metadata"]["namespace"].as_str()?;
        Some(format!(
            "namespace {namespace:?} has one of that name: add -n {namespace}"
        ))
    }

    /// The namespaces that have one of that name; of secrets no value is read. None also where nobody may look there.
    pub async fn namespaces_with(&self, resource: Resource, name: &str) -> BTreeSet<String> {
        let selection = Selection {
            fields: Some(format!("metadata.name={name}")),
            all_namespaces: true,
        };
        let mut found = BTreeSet::new();
        let read = self.each_table(resource, &selection, |page| {
            let rows = page.rows.iter();
            found.extend(
                rows.filter_map(|row| row.object["metadata"]["namespace"].as_str().map(str::to_owned)),
            );
            Ok::<_, Call>(())
        });
        if read.await.is_err() {
            found.clear();
        }
        found
    }

    /// A name like it, of the first page.
    async fn alike(&self, resource: Resource, name: &str) -> Option<String> {
        let selection = Selection::default();
        let table: Table = self.page(resource, &selection, "", AS_TABLE).await.ok()?;
        let names = table.rows.iter().filter_map(|row| row.cells.first()?.as_str());
        nearest(name, names).map(|nearest| format!("did you mean {nearest:?}?"))
    }
}

/// The name most like `name`, if one is like it.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|candidate| (strsim::jaro(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_finds_the_one_that_was_meant_and_no_other() {
        let names = ["furiosa", "nux", "my-project", "my-projects"];
        let found = |name| nearest(name, names.into_iter());
        assert_eq!(found("furioas"), Some("furiosa"));
        assert_eq!(found("my-projekt"), Some("my-project"));
        assert_eq!(found("toast"), None);
        assert_eq!(found(""), None);
    }
}
