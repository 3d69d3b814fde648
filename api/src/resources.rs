//! Requests and limits of a container, as Kubernetes writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules;

/// Requests and limits of the agent's container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::request_within_limit(rules::NAMED[0]))]
#[x_kube(validation = rules::request_within_limit(rules::NAMED[1]))]
#[x_kube(validation = rules::request_within_limit(rules::NAMED[2]))]
#[x_kube(validation = rules::other_requests_within_limits())]
pub struct ResourceRequirements {
    /// The most the container may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// Dynamic resources; the predecessor's schema has them, and they have no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub claims: Option<Vec<ResourceClaim>>,
}

/// A dynamic resource claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ResourceClaim {
    /// The claim's name in the pod.
    pub name: String,
    /// The request within the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// An amount such as `500m`, `1Gi` or `2`; a bare number is accepted too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "IntOrText", into = "String")]
pub struct Quantity(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrText {
    Int(i64),
    Text(String),
}

impl From<IntOrText> for Quantity {
    fn from(value: IntOrText) -> Self {
        match value {
            IntOrText::Int(int) => Self(int.to_string()),
            IntOrText::Text(text) => Self(text),
        }
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    /// The pattern is that of Kubernetes' own CRDs.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        })
    }
}

impl From<&ResourceRequirements> for core::ResourceRequirements {
    fn from(resources: &ResourceRequirements) -> Self {
        let convert = |amounts: &Option<BTreeMap<String, Quantity>>| {
            let quantity =
                |q: &Quantity| k8s_openapi::apimachinery::pkg::api::resource::Quantity(q.0.clone());
            amounts
                .as_ref()
                .map(|amounts| amounts.iter().map(|(k, q)| (k.clone(), quantity(q))).collect())
        };
        Self {
            limits: convert(&resources.limits),
            requests: convert(&resources.requests),
            claims: None,
        }
    }
}
