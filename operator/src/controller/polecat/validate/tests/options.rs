//! What rides along with the work: names, other branches, labels, annotations, variables.

use super::*;

#[test]
fn author_and_committer_are_the_polecats_then_the_rigs_then_nobodys() {
    let person = |name: &str| json!({"name": name, "email": format!("{name}@example.com")});
    let mut rig = (*rig()).clone();
    rig.spec.polecat_defaults = serde_json::from_value(json!({
        "kubernetes": {"gitAuthor": person("rig"), "gitCommitter": person("bot")},
    }))
    .unwrap();
    let of = |changes: Value, rig: Option<&Rig>| {
        let work = validate(&polecat(changes), rig, &settings()).unwrap();
        let name = |person: Option<Person>| person.map(|person| person.name);
        (name(work.author), name(work.committer))
    };
    let own = json!({"spec": {"kubernetes": {"gitAuthor": person("own")}}});
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(of(own, Some(&rig)), (named("own"), named("bot")));
    assert_eq!(of(json!({}), Some(&rig)), (named("rig"), named("bot")));
    assert_eq!(of(json!({}), None), (None, None));
}

#[test]
fn other_branches_may_be_fetched_unless_the_rig_says_no() {
    let may = |rig: Option<&Rig>| {
        validate(&polecat(json!({})), rig, &settings())
            .unwrap()
            .other_branches
    };
    assert!(may(None) && may(Some(&rig())));
    let mut closed = (*rig()).clone();
    closed.spec.fetch_other_branches = Some(false);
    assert!(!may(Some(&closed)));
}

#[test]
fn labels_and_annotations_of_chart_rig_and_polecat_add_up_and_the_nearest_wins() {
    let mut rig = (*rig()).clone();
    rig.spec.polecat_defaults = serde_json::from_value(json!({"kubernetes": {
        "podLabels": {"team": "rig", "cost-centre": "rig"}, "podAnnotations": {"example.com/a": "rig"},
    }}))
    .unwrap();
    let mut settings = settings();
    settings.config = Config::parse("podLabels: {team: chart, zone: chart, cost-centre: chart}").unwrap();
    let own = json!({"spec": {"kubernetes": {"podLabels": {"team": "own"}}}});
    let options = validate(&polecat(own), Some(&rig), &settings).unwrap().options;
    let labels: Vec<_> = options.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["cost-centre=rig", "team=own", "zone=chart"]);
    assert_eq!(options.annotations["example.com/a"], "rig");
}

#[test]
fn the_operators_own_labels_and_keys_in_the_open_are_refused_by_name() {
    let key = format!("ghp_{}", "a".repeat(36));
    for (spec, words) in [
        (
            json!({"kubernetes": {"podLabels": {"gastown.io/polecat": "nux"}}}),
            "gastown.io/polecat",
        ),
        (
            json!({"kubernetes": {"podLabels": {"team": "a/b"}}}),
            "63 letters",
        ),
        (
            json!({"kubernetes": {"podAnnotations": {"gastown.io/work-order": "{}"}}}),
            "operator's own",
        ),
        (
            json!({"kubernetes": {"podAnnotations": {"note": "x".repeat(9000)}}}),
            "shorten",
        ),
        (
            json!({"kubernetes": {"podAnnotations": {"note": key}}}),
            "revoke it",
        ),
        (
            json!({"agentConfig": {"env": [{"name": "GH_TOKEN", "value": key}]}}),
            "GH_TOKEN",
        ),
        (
            json!({"agentConfig": {"args": ["--token", key]}}),
            "spec.agentConfig.args[1]",
        ),
    ] {
        let (reason, message) = refusal(json!({"spec": spec}));
        assert_eq!(reason, Reason::SpecNotAllowed, "{message}");
        assert!(message.contains(words) && !message.contains(&key), "{message}");
    }
    let mut rig = (*rig()).clone();
    let defaults = json!({"kubernetes": {"podAnnotations": {"note": key}}});
    rig.spec.polecat_defaults = serde_json::from_value(defaults).unwrap();
    let refusal = validate(&polecat(json!({})), Some(&rig), &settings()).unwrap_err();
    assert!(refusal.message.contains("\"note\" of the Rig"), "{refusal:?}");
}

#[test]
fn variables_without_effect_are_named_and_a_key_in_the_task_is_no_refusal() {
    let env = ["GIT_AUTHOR_NAME", "MY_FLAG", "HOME", "ANTHROPIC_BASE_URL"]
        .map(|name| json!({"name": name, "value": "x"}));
    let ignored = fields_ignored(&polecat(json!({"spec": {"agentConfig": {"env": env}}})));
    let named =
        ["GIT_AUTHOR_NAME", "HOME", "ANTHROPIC_BASE_URL"].map(|name| format!("spec.agentConfig.env {name}"));
    assert_eq!(ignored, named);
    let task = format!("use ghp_{}", "a".repeat(36));
    assert!(work(json!({"spec": {"task": {"description": task}}})).is_ok());
}
