//! Keys in fields that everybody may read who may look at the object or its pod, and the agent itself.

use crate::key_like;
use crate::pod_overrides::PodOverrides;
use crate::polecat::Polecat;
use crate::rig::Rig;

/// The path of the first field of a polecat, other than its task, that holds what looks like a key.
#[must_use]
pub fn key_in_polecat(polecat: &Polecat) -> Option<String> {
    let agent = polecat.spec.agent_config.as_ref();
    let variables = agent.iter().flat_map(|agent| agent.env.iter().flatten());
    let variables = variables.filter_map(|variable| {
        let value = variable.value.as_deref()?;
        Some((format!("spec.agentConfig.env {:?}", variable.name), value))
    });
    let words = agent.iter().flat_map(|agent| {
        let lists = [("command", &agent.command), ("args", &agent.args)];
        lists.into_iter().flat_map(|(field, list)| {
            let words = list.iter().flatten().enumerate();
            words.map(move |(at, word)| (format!("spec.agentConfig.{field}[{at}]"), word.as_str()))
        })
    });
    let found = variables
        .chain(words)
        .find(|(_, value)| key_like::found_in(value.as_bytes()));
    let kubernetes = polecat.spec.kubernetes.as_ref();
    let in_pod = || kubernetes.and_then(|k| in_overrides("spec.kubernetes", &k.pod));
    found.map(|(path, _)| path).or_else(in_pod)
}

/// The same of a Rig.
#[must_use]
pub fn key_in_rig(rig: &Rig) -> Option<String> {
    let kubernetes = rig.spec.polecat_defaults.as_ref()?.kubernetes.as_ref()?;
    in_overrides("spec.polecatDefaults.kubernetes", &kubernetes.pod)
}

/// Whether a polecat's task holds what looks like a key: its text goes to the model.
#[must_use]
pub fn key_in_task(polecat: &Polecat) -> bool {
    let task = polecat
        .spec
        .task
        .as_ref()
        .and_then(|task| task.description.as_deref());
    let texts = [task, polecat.spec.task_description.as_deref()];
    texts
        .into_iter()
        .flatten()
        .any(|text| key_like::found_in(text.as_bytes()))
}

fn in_overrides(at: &str, pod: &PodOverrides) -> Option<String> {
    let tables = [
        ("podLabels", &pod.pod_labels),
        ("podAnnotations", &pod.pod_annotations),
    ];
    tables.into_iter().find_map(|(field, table)| {
        let found =
            |(key, value): &(&String, &String)| key_like::found_in(format!("{key}\n{value}").as_bytes());
        let (key, _) = table.iter().flatten().find(found)?;
        // A key of the table that is itself a key is not shown.
        let shown = if key_like::found_in(key.as_bytes()) {
            "(a key)"
        } else {
            key
        };
        Some(format!("{at}.{field} \"{shown}\""))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn polecat(spec: &Value) -> Polecat {
        let mut object = json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Polecat",
            "metadata": {"name": "a"}, "spec": {"rig": "demo"},
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_key_is_found_wherever_a_value_can_be_written() {
        let key = format!("ghp_{}", "a1".repeat(18));
        let sk = format!("--key=sk-ant-api03-{}", "a".repeat(20));
        for (spec, path) in [
            (
                json!({"agentConfig": {"env": [{"name": "A", "value": "b"}, {"name": "GH", "value": key}]}}),
                "spec.agentConfig.env \"GH\"",
            ),
            (
                json!({"agentConfig": {"args": ["-v", sk]}}),
                "spec.agentConfig.args[1]",
            ),
            (
                json!({"agentConfig": {"command": ["sh", "-c", format!("GITHUB_TOKEN={key} make")]}}),
                "spec.agentConfig.command[2]",
            ),
            (
                json!({"kubernetes": {"podAnnotations": {"note": format!("use {key}")}}}),
                "spec.kubernetes.podAnnotations \"note\"",
            ),
            (
                json!({"kubernetes": {"podLabels": {"token": key}}}),
                "spec.kubernetes.podLabels \"token\"",
            ),
            (
                json!({"kubernetes": {"podLabels": {key.clone(): "x"}}}),
                "spec.kubernetes.podLabels \"(a key)\"",
            ),
        ] {
            let found = key_in_polecat(&polecat(&spec));
            assert_eq!(found.as_deref(), Some(path), "{spec}");
        }
        let fine = json!({"agentConfig": {"env": [{"name": "HINT", "value": "sk-ant-..."}, {"name": "X"}]}});
        assert_eq!(key_in_polecat(&polecat(&fine)), None);
    }

    #[test]
    fn a_key_in_the_task_is_told_apart() {
        let text = format!("deploy with AKIA{}", "A".repeat(16));
        for spec in [
            json!({"task": {"description": text}}),
            json!({"taskDescription": text}),
        ] {
            let polecat = polecat(&spec);
            assert!(key_in_task(&polecat));
            assert_eq!(key_in_polecat(&polecat), None);
        }
        assert!(!key_in_task(&polecat(
            &json!({"task": {"description": "add a key"}})
        )));
    }
}
