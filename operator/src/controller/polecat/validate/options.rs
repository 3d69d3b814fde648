//! What a polecat may decide of its pod, made whole from its own spec, its Rig and the configuration.

use gastown_api::placement::Placement;
use gastown_api::pod_metadata::{Table, flaw_of_annotations, flaw_of_labels};
use gastown_api::polecat::{AgentConfig, KubernetesSpec, Polecat};
use gastown_api::reason::Reason;
use gastown_api::reference::SecretReference;
use gastown_api::resources::ResourceRequirements;
use gastown_api::rig::{PodDefaults, Rig};
use k8s_openapi::api::core::v1::EnvVar;

use crate::config::Config;
use crate::types::Refusal;

/// What a polecat may decide of its pod. Nothing in it touches users, volumes or privileges.
#[derive(Clone, Debug, PartialEq)]
pub struct PodOptions {
    /// Requests and limits of `claude`.
    pub resources: ResourceRequirements,
    /// Environment of `claude`, without anything of a secret.
    pub env: Vec<EnvVar>,
    /// Where the pod may run.
    pub placement: Placement,
    /// Pull secrets: of the polecat, the Rig and the chart.
    pub pull_secrets: Vec<String>,
    /// `pod.spec.hostUsers`.
    pub host_users: Option<bool>,
    /// Further labels of the pod; none is the operator's own.
    pub labels: Table,
    /// Further annotations of the pod; none is the operator's own.
    pub annotations: Table,
}

/// The options of the polecat's pod.
pub fn options(
    polecat: &Polecat,
    kubernetes: &KubernetesSpec,
    agent: &AgentConfig,
    rig: Option<&Rig>,
    config: &Config,
) -> Result<PodOptions, Refusal> {
    let none = PodDefaults::default();
    let of_rig = pod_defaults(rig).unwrap_or(&none);
    let own = kubernetes
        .pod
        .resources
        .as_ref()
        .or(polecat.spec.resources.as_ref());
    let of_others = of_rig.pod.resources.as_ref().map_or_else(
        || config.resources.agent.clone(),
        |r| r.or(&config.resources.agent),
    );
    Ok(PodOptions {
        resources: own.map_or(of_others.clone(), |own| own.or(&of_others)),
        env: environment(agent)?,
        placement: kubernetes
            .pod
            .placement
            .clone()
            .or(&of_rig.pod.placement)
            .or(&config.placement),
        pull_secrets: pull_secrets(kubernetes, of_rig, config),
        host_users: of_rig.host_users.or(config.host_users),
        labels: added_up(
            [
                &config.pod_labels,
                or_none(of_rig.pod.pod_labels.as_ref()),
                or_none(kubernetes.pod.pod_labels.as_ref()),
            ],
            |labels| {
                flaw_of_labels(labels).map(|flaw| format!("spec.kubernetes.podLabels, or the Rig's: {flaw}"))
            },
        )?,
        annotations: added_up(
            [
                &config.pod_annotations,
                or_none(of_rig.pod.pod_annotations.as_ref()),
                or_none(kubernetes.pod.pod_annotations.as_ref()),
            ],
            |all| {
                flaw_of_annotations(all)
                    .map(|flaw| format!("spec.kubernetes.podAnnotations, or the Rig's: {flaw}"))
            },
        )?,
    })
}

/// What the Rig says of its polecats' pods.
#[must_use]
pub fn pod_defaults(rig: Option<&Rig>) -> Option<&PodDefaults> {
    rig?.spec.polecat_defaults.as_ref()?.kubernetes.as_ref()
}

const NO_TABLE: &Table = &Table::new();

fn or_none(table: Option<&Table>) -> &Table {
    table.unwrap_or(NO_TABLE)
}

/// All of them; of one key the last value counts.
fn added_up(tables: [&Table; 3], flaw: impl Fn(&Table) -> Option<String>) -> Result<Table, Refusal> {
    let all: Table = tables
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    match flaw(&all) {
        None => Ok(all),
        Some(flaw) => Err(Refusal::new(Reason::SpecNotAllowed, flaw)),
    }
}

/// The schema refuses these too; objects of the predecessor came past that.
fn environment(agent: &AgentConfig) -> Result<Vec<EnvVar>, Refusal> {
    let all = agent.env.clone().unwrap_or_default();
    let foreign = |variable: &&EnvVar| {
        let source = variable.value_from.as_ref();
        source.is_some_and(|s| s.secret_key_ref.is_some() || s.file_key_ref.is_some())
    };
    match all.iter().find(foreign) {
        None => Ok(all),
        Some(variable) => Err(Refusal::new(
            Reason::SpecNotAllowed,
            format!(
                "spec.agentConfig.env {:?} takes a value from a Secret or a file, and the agent holds no keys",
                variable.name
            ),
        )),
    }
}

/// All of them: the operator's image and the polecat's own may come from different registries.
fn pull_secrets(kubernetes: &KubernetesSpec, of_rig: &PodDefaults, config: &Config) -> Vec<String> {
    let names = |list: &Option<Vec<SecretReference>>| -> Vec<String> {
        list.iter().flatten().map(|secret| secret.name.clone()).collect()
    };
    let mut all = names(&kubernetes.pod.image_pull_secrets);
    all.extend(names(&of_rig.pod.image_pull_secrets));
    all.extend(config.image_pull_secrets.iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Work, validate};
    use super::*;
    use crate::testing::{polecat, rig, settings};

    fn work(own: &Value, of_rig: Value, of_chart: &str) -> Work {
        let mut rig = (*rig()).clone();
        rig.spec.polecat_defaults = Some(serde_json::from_value(of_rig).unwrap());
        let mut settings = settings();
        settings.config = Config::parse(of_chart).unwrap();
        let polecat = polecat(json!({"spec": {"kubernetes": own}}));
        validate(&polecat, Some(&rig), &settings).unwrap()
    }

    #[test]
    fn a_field_is_the_polecats_then_the_rigs_then_the_charts() {
        let chart =
            "placement: {nodeSelector: {pool: chart}, priorityClassName: chart, runtimeClassName: chart}";
        let of_rig = json!({"kubernetes": {"priorityClassName": "rig", "runtimeClassName": "rig", "hostUsers": false}});
        let work = work(
            &json!({"runtimeClassName": "own", "tolerations": []}),
            of_rig,
            chart,
        );
        let placement = json!({"nodeSelector": {"pool": "chart"}, "tolerations": [],
            "priorityClassName": "rig", "runtimeClassName": "own"});
        assert_eq!(serde_json::to_value(&work.options.placement).unwrap(), placement);
        assert_eq!(work.options.host_users, Some(false));
    }

    #[test]
    fn pull_secrets_add_up() {
        let of_rig = json!({"kubernetes": {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}});
        let own = json!({"imagePullSecrets": [{"name": "a"}]});
        let all = work(&own, of_rig, "imagePullSecrets: [c, b]")
            .options
            .pull_secrets;
        assert_eq!(all, ["a", "b", "c"]);
    }

    #[test]
    fn requests_and_limits_are_there_whatever_a_polecat_leaves_out() {
        let own = json!({"resources": {"limits": {"memory": "8Gi"}}});
        let of_rig = json!({"kubernetes": {"resources": {"requests": {"cpu": "3"}}}});
        let resources = serde_json::to_value(&work(&own, of_rig, "").options.resources).unwrap();
        let expected =
            json!({"requests": {"cpu": "3", "memory": "512Mi"}, "limits": {"cpu": "3", "memory": "8Gi"}});
        assert_eq!(resources, expected);
    }

    #[test]
    fn a_secret_in_the_environment_of_a_stored_object_is_refused_by_name() {
        for source in [
            json!({"secretKeyRef": {"name": "a", "key": "b"}}),
            json!({"fileKeyRef": {"volumeName": "broker-state", "path": "p", "key": "k"}}),
        ] {
            let env = json!([{"name": "KEY", "valueFrom": source}]);
            let polecat = polecat(json!({"spec": {"agentConfig": {"env": env}}}));
            let refusal = validate(&polecat, None, &settings()).unwrap_err();
            assert_eq!(refusal.reason, Reason::SpecNotAllowed);
            assert!(refusal.message.contains("\"KEY\""), "{}", refusal.message);
        }
    }
}
