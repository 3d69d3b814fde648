//! Lists in pages, so that ten thousand objects neither fill the memory nor delay the first row.

use http::Request;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::resource::encode;
use super::{Call, Cluster, Resource};

/// How many objects a page has; what kubectl asks for.
const PAGE: usize = 500;

/// What is asked for: objects, or rows as the API server prints them.
const AS_OBJECTS: &str = "application/json";
pub(super) const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// One page of objects.
#[derive(Debug, Deserialize)]
pub struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    /// The objects, without their managed fields.
    #[serde(default, deserialize_with = "objects")]
    pub items: Vec<Value>,
}

/// An object as it is read. Nobody looks at the managed fields of a list, and they are most of it.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: ObjectMetadata,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct ObjectMetadata {
    #[serde(default, rename = "managedFields")]
    _managed_fields: IgnoredAny,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn objects<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    let objects = Vec::<Object>::deserialize(deserializer)?.into_iter();
    let whole = |Object { metadata, mut rest }| {
        rest.insert("metadata".to_owned(), metadata.rest.into());
        Value::Object(rest)
    };
    Ok(objects.map(whole).collect())
}

/// One page as the API server prints it: the columns of the definition.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    #[serde(default)]
    metadata: PageMetadata,
    /// What the columns are.
    #[serde(default)]
    pub column_definitions: Vec<Column>,
    /// The rows.
    #[serde(default)]
    pub rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Debug, Deserialize)]
pub struct Column {
    /// Its title.
    pub name: String,
    /// 0: always shown; more: only with `-o wide`.
    #[serde(default)]
    pub priority: i32,
}

/// A row.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// A cell for each column.
    #[serde(default)]
    pub cells: Vec<Value>,
    /// Name and namespace.
    #[serde(default)]
    pub object: Value,
}

#[derive(Debug, Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    token: String,
}

/// Which objects of a kind.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// As the API server takes field selectors.
    pub fields: Option<String>,
    /// In every namespace.
    pub all_namespaces: bool,
}

impl Cluster {
    /// Calls `see` with each page of objects as soon as it is there.
    pub async fn each_page<E: From<Call>>(
        &self,
        resource: Resource,
        selection: &Selection,
        see: impl FnMut(Page) -> Result<(), E>,
    ) -> Result<(), E> {
        let token = |page: &Page| page.metadata.token.clone();
        self.each(resource, selection, AS_OBJECTS, token, see).await
    }

    /// Calls `see` with each page as the API server prints it.
    pub async fn each_table<E: From<Call>>(
        &self,
        resource: Resource,
        selection: &Selection,
        see: impl FnMut(Table) -> Result<(), E>,
    ) -> Result<(), E> {
        let token = |table: &Table| table.metadata.token.clone();
        self.each(resource, selection, AS_TABLE, token, see).await
    }

    /// The next page is read, by another thread, while one is looked at.
    async fn each<T: DeserializeOwned + Send + 'static, E: From<Call>>(
        &self,
        resource: Resource,
        selection: &Selection,
        accept: &'static str,
        token: impl Fn(&T) -> String,
        mut see: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut page: T = self.page(resource, selection, "", accept).await?;
        loop {
            let next = token(&page);
            if next.is_empty() {
                return see(page);
            }
            let (cluster, selection) = (self.clone(), selection.clone());
            let fetch = async move { cluster.page(resource, &selection, &next, accept).await };
            let fetched = tokio::spawn(fetch);
            see(page)?;
            page = fetched.await.map_err(Call::NextPage)??;
        }
    }

    /// Every object, for what needs them all at once.
    pub async fn list(&self, resource: Resource, selection: &Selection) -> Result<Vec<Value>, Call> {
        let mut all = Vec::new();
        self.each_page(resource, selection, |page| {
            all.extend(page.items);
            Ok::<_, Call>(())
        })
        .await?;
        Ok(all)
    }

    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        resource: Resource,
        selection: &Selection,
        token: &str,
        accept: &str,
    ) -> Result<T, Call> {
        let namespace = if selection.all_namespaces {
            ""
        } else {
            self.namespace()
        };
        let mut url = format!("{}?limit={PAGE}", resource.path(namespace, None));
        if let Some(fields) = &selection.fields {
            url = format!("{url}&fieldSelector={}", encode(fields));
        }
        if accept == AS_TABLE && !selection.all_namespaces {
            // A row's object would only tell its namespace, and is most of the answer.
            url.push_str("&includeObject=None");
        }
        if !token.is_empty() {
            url = format!("{url}&continue={}", encode(token));
        }
        let object = resource.describe("");
        let request = Request::get(url).header("accept", accept).body(Vec::new());
        let request = request.map_err(|source| Call::Build {
            act: "list",
            object: object.clone(),
            source,
        })?;
        match self.within(self.client.request::<T>(request)).await {
            Some(answer) => answer.map_err(|error| Call::from_kube("list", resource, "", self, error)),
            None => Err(self.too_slow("list", &object)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::cluster::testing;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_next_page_is_asked_for_before_one_is_printed_and_nothing_is_kept_that_nobody_reads() {
        let (asked, requests) = mpsc::channel();
        let cluster = testing::answering(move |request| {
            let is_next = request.uri().to_string().contains("&continue=more");
            asked.send(is_next).unwrap();
            let token = if is_next { "" } else { "more" };
            let metadata = json!({"name": is_next, "managedFields": [{"manager": "kubectl"}]});
            let items = json!([{"metadata": metadata, "spec": {}}]);
            (200, json!({"metadata": {"continue": token}, "items": items}))
        });
        let mut seen = Vec::new();
        let see = |page: Page| {
            if seen.is_empty() {
                for is_next in [false, true] {
                    assert_eq!(requests.recv_timeout(Duration::from_mins(1)), Ok(is_next));
                }
            }
            seen.extend(page.items);
            Ok::<_, Call>(())
        };
        let selection = Selection::default();
        cluster.each_page(Resource::RIGS, &selection, see).await.unwrap();
        let object = |name: bool| json!({"metadata": {"name": name}, "spec": {}});
        assert_eq!(seen, [object(false), object(true)]);
    }
}
