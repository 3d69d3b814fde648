//! Lists in pages, so that ten thousand objects neither fill the memory nor delay the first row.

use http::Request;
use serde::Deserialize;
use serde_json::Value;

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
    /// The objects.
    #[serde(default)]
    pub items: Vec<Value>,
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
        mut see: impl FnMut(Page) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut token = String::new();
        loop {
            let page: Page = self.page(resource, selection, &token, AS_OBJECTS).await?;
            token.clone_from(&page.metadata.token);
            see(page)?;
            if token.is_empty() {
                return Ok(());
            }
        }
    }

    /// Calls `see` with each page as the API server prints it.
    pub async fn each_table<E: From<Call>>(
        &self,
        resource: Resource,
        selection: &Selection,
        mut see: impl FnMut(Table) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut token = String::new();
        loop {
            let table: Table = self.page(resource, selection, &token, AS_TABLE).await?;
            token.clone_from(&table.metadata.token);
            see(table)?;
            if token.is_empty() {
                return Ok(());
            }
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

    pub(super) async fn page<T: serde::de::DeserializeOwned>(
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
