//! Where a pod may run, in the terms of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a pod may run. A field set in the polecat replaces the Rig's, and the Rig's replaces the chart's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Node and pod affinity, preferred or required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Box<Affinity>>,
    /// The `PriorityClass`. It decides which pods are scheduled first, and which may preempt others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub priority_class_name: Option<String>,
    /// The `RuntimeClass`, such as one that runs pods in a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub runtime_class_name: Option<String>,
}

impl Placement {
    /// Fills each unset field from `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            node_selector: self.node_selector.or_else(|| other.node_selector.clone()),
            tolerations: self.tolerations.or_else(|| other.tolerations.clone()),
            affinity: self.affinity.or_else(|| other.affinity.clone()),
            priority_class_name: self
                .priority_class_name
                .or_else(|| other.priority_class_name.clone()),
            runtime_class_name: self
                .runtime_class_name
                .or_else(|| other.runtime_class_name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_falls_back_for_itself() {
        let of = |json: &str| serde_json::from_str::<Placement>(json).unwrap();
        let own = of(r#"{"nodeSelector": {"a": "1"}, "tolerations": []}"#);
        let other = of(
            r#"{"nodeSelector": {"b": "2"}, "tolerations": [{"key": "t"}], "runtimeClassName": "gvisor"}"#,
        );
        let expected = of(r#"{"nodeSelector": {"a": "1"}, "tolerations": [], "runtimeClassName": "gvisor"}"#);
        assert_eq!(own.or(&other), expected, "an empty list is a value");
    }
}
