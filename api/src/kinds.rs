//! The kinds of this API. Everything that has to name each of them (definitions, rights, the plugin, tests) asks here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::polecat::Polecat;
use crate::reason::{AnyReason, Reason};
use crate::rig::{Rig, RigReason};

/// A kind of this API.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in manifests, such as `Polecat`.
    pub name: &'static str,
    /// Its singular in lower case.
    pub singular: &'static str,
    /// Its plural in lower case, as paths and rights have it.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
    /// The reasons that only its objects give, besides those of attempts.
    pub reasons: &'static [AnyReason],
    crd: fn() -> CustomResourceDefinition,
}

/// Project workspaces.
pub const RIG: Kind = Kind {
    name: "Rig",
    singular: "rig",
    plural: "rigs",
    is_namespaced: false,
    reasons: RigReason::EXPLAINED,
    crd: Rig::crd,
};

/// Workers.
pub const POLECAT: Kind = Kind {
    name: "Polecat",
    singular: "polecat",
    plural: "polecats",
    is_namespaced: true,
    reasons: Reason::EXPLAINED,
    crd: Polecat::crd,
};

/// Every kind.
#[must_use]
pub const fn kinds() -> &'static [Kind] {
    &[RIG, POLECAT]
}

/// The reasons of every kind.
pub fn reasons() -> impl Iterator<Item = AnyReason> {
    kinds().iter().flat_map(|kind| kind.reasons).copied()
}

impl Kind {
    /// The kind of that name in manifests.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        kinds().iter().copied().find(|kind| kind.name == name)
    }

    /// Its custom resource definition, as the chart has it.
    pub fn definition(&self) -> Result<Value, serde_json::Error> {
        let mut definition = serde_json::to_value((self.crd)())?;
        unset_nulls(&mut definition);
        Ok(definition)
    }
}

/// Takes `nullable` off every field: the API server then reads `null` as unset, as the predecessor's did, also where
/// the field is an enumeration, and no rule ever meets a null.
fn unset_nulls(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(unset_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(unset_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_reasons_have_one_name() {
        let mut names: Vec<_> = reasons().map(|reason| reason.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_kind_is_what_its_definition_says() {
        for kind in kinds() {
            let definition = kind.definition().unwrap();
            let spec = &definition["spec"];
            let scope = if kind.is_namespaced {
                "Namespaced"
            } else {
                "Cluster"
            };
            assert_eq!(spec["scope"], scope, "{}", kind.name);
            assert_eq!(spec["names"]["kind"], kind.name);
            assert_eq!(spec["names"]["singular"], kind.singular);
            assert_eq!(spec["names"]["plural"], kind.plural);
            assert_eq!(spec["group"], crate::GROUP);
            assert_eq!(spec["versions"][0]["name"], crate::VERSION);
            assert!(Kind::named(kind.name).is_some_and(|found| found.plural == kind.plural));
        }
    }
}
