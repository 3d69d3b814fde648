//! What the operator refuses although the API server takes it: keys in the open, and labels and annotations that no pod
//! can have.

use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use gastown_api::{exposed, pod_metadata};
use serde_json::Value;

use super::Problem;

/// What is wrong with an object that the schema accepts.
pub fn check(object: &Value, singular: &str) -> Option<Problem> {
    let (at, key, flaw) = if singular == "rig" {
        let rig: Rig = serde_json::from_value(object.clone()).ok()?;
        let defaults = rig.spec.polecat_defaults.as_ref();
        let pod = defaults.and_then(|defaults| defaults.kubernetes.as_ref());
        let flaw = pod.and_then(|kubernetes| pod_metadata::flaw_of(&kubernetes.pod));
        ("spec.polecatDefaults.kubernetes", exposed::key_in_rig(&rig), flaw)
    } else {
        let polecat: Polecat = serde_json::from_value(object.clone()).ok()?;
        let kubernetes = polecat.spec.kubernetes.as_ref();
        let flaw = kubernetes.and_then(|kubernetes| pod_metadata::flaw_of(&kubernetes.pod));
        ("spec.kubernetes", exposed::key_in_polecat(&polecat), flaw)
    };
    let open = key.map(|path| {
        Problem::new(
            path,
            "holds what looks like a key: revoke it, and put the new one into a secret",
        )
    });
    open.or_else(|| flaw.map(|flaw| Problem::new("", format!("{at}.{flaw}"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn polecat(spec: &Value) -> Value {
        let mut object = json!({"apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat", "metadata": {"name": "a"}, "spec": spec});
        object["spec"]["rig"] = json!("demo");
        object
    }

    #[test]
    fn what_only_the_operator_refuses_is_said_without_a_cluster() {
        let key = format!("ghp_{}", "a".repeat(36));
        for (object, words) in [
            (
                polecat(&json!({"agentConfig": {"env": [{"name": "T", "value": key}]}})),
                "spec.agentConfig.env \"T\": holds",
            ),
            (
                polecat(&json!({"agentConfig": {"args": [key]}})),
                "spec.agentConfig.args[0]: holds",
            ),
            (
                polecat(&json!({"kubernetes": {"podLabels": {"team": "a b"}}})),
                "spec.kubernetes.podLabels: label \"team\"",
            ),
            (
                json!({"apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": "a"}, "spec": {
                    "gitURL": "git@h:o/r", "beadsPrefix": "mp", "polecatDefaults": {"kubernetes": {"podAnnotations": {"a b": "x"}}}}}),
                "spec.polecatDefaults.kubernetes.podAnnotations: key \"a b\"",
            ),
            (
                json!({"apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": "a"}, "spec": {
                    "gitURL": "git@h:o/r", "beadsPrefix": "mp", "polecatDefaults": {"kubernetes": {"podLabels": {"token": key}}}}}),
                "spec.polecatDefaults.kubernetes.podLabels \"token\": holds",
            ),
        ] {
            let super::super::Verdict::Invalid(problems) = super::super::check(&object) else {
                panic!("{object} is valid");
            };
            let text = problems[0].to_string();
            assert!(text.contains(words) && !text.contains(&key), "{text}");
        }
        let fine =
            polecat(&json!({"task": {"description": key}, "kubernetes": {"podLabels": {"team": "a"}}}));
        assert_eq!(super::super::check(&fine), super::super::Verdict::Valid);
    }
}
