//! Requests and limits of a container, as Kubernetes writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{quantity, rules};

/// Requests and limits of the agent's container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::request_within_limit(rules::NAMED[0]))]
#[x_kube(validation = rules::request_within_limit(rules::NAMED[1]))]
#[x_kube(validation = rules::request_within_limit(rules::NAMED[2]))]
#[x_kube(validation = rules::other_requests_within_limits())]
pub struct ResourceRequirements {
    /// The most that the container may use of each resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
    /// The amount of each resource that the scheduler reserves for the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// Dynamic resource claims. They have no effect; kept for the predecessor's manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub claims: Option<Vec<ResourceClaim>>,
}

/// A dynamic resource claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ResourceClaim {
    /// The name of the claim in the pod.
    pub name: String,
    /// The request within the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A quantity such as `500m`, `1Gi` or `2`; an integer is accepted too.
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

impl Quantity {
    /// The amount as a number, for comparisons; `None` if it cannot be parsed.
    #[must_use]
    pub fn amount(&self) -> Option<f64> {
        quantity::amount(&self.0)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is more than `other`, where both can be parsed.
    #[must_use]
    pub fn is_more_than(&self, other: &Self) -> bool {
        matches!((self.amount(), other.amount()), (Some(a), Some(b)) if a > b)
    }
}

impl ResourceRequirements {
    /// Fills requests and limits that are unset from `defaults`, so that a `ResourceQuota` admits the container. A default
    /// never puts a limit below the request that the user wrote.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        let mut limits = self.limits.clone().unwrap_or_default();
        let mut requests = self.requests.clone().unwrap_or_default();
        for (resource, limit) in defaults.limits.iter().flatten() {
            let request = requests.get(resource).filter(|r| r.is_more_than(limit));
            let wanted = request.unwrap_or(limit).clone();
            limits.entry(resource.clone()).or_insert(wanted);
        }
        for (resource, request) in defaults.requests.iter().flatten() {
            let limit = limits.get(resource).filter(|l| request.is_more_than(l));
            let wanted = limit.unwrap_or(request).clone();
            requests.entry(resource.clone()).or_insert(wanted);
        }
        let some = |map: BTreeMap<String, Quantity>| (!map.is_empty()).then_some(map);
        Self {
            limits: some(limits),
            requests: some(requests),
            claims: self.claims.clone(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> ResourceRequirements {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_left_out_is_filled_and_stays_consistent() {
        let defaults = of(
            r#"{"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}}"#,
        );
        for (own, expected) in [
            (
                "{}",
                r#"{"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}}"#,
            ),
            (
                r#"{"limits": {"memory": "256Mi"}}"#,
                r#"{"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "256Mi"}}"#,
            ),
            (
                r#"{"requests": {"memory": "8Gi", "gpu": 1}}"#,
                r#"{"requests": {"cpu": "100m", "memory": "8Gi", "gpu": 1}, "limits": {"cpu": "2", "memory": "8Gi"}}"#,
            ),
            (
                r#"{"requests": {"cpu": 1}, "limits": {"cpu": "1500m"}}"#,
                r#"{"requests": {"cpu": 1, "memory": "512Mi"}, "limits": {"cpu": "1500m", "memory": "4Gi"}}"#,
            ),
        ] {
            assert_eq!(of(own).or(&defaults), of(expected), "{own}");
        }
    }
}
