mod options;

use gastown_api::work_order::ApiKeyOrder;
use serde_json::{Value, json};

use super::*;
use crate::testing::{polecat, rig, settings};

fn work(changes: Value) -> Result<Work, Refusal> {
    validate(&polecat(changes), None, &settings())
}

fn refusal(changes: Value) -> (Reason, String) {
    let refusal = work(changes).expect_err("it is refused");
    (refusal.reason, refusal.message)
}

#[test]
fn the_seeds_polecat_is_whole_without_a_rig() {
    let work = work(json!({})).unwrap();
    assert_eq!(work.repository.as_str(), "git@github.com:org/repo.git");
    assert_eq!(work.base_branch.as_str(), "main");
    assert_eq!(
        (work.git_secret.as_str(), work.credentials.secret.as_deref()),
        ("git-ssh-key", Some("claude-creds"))
    );
    assert_eq!(
        (work.provider, work.apis),
        (Provider::Anthropic, vec![ModelApi::Messages])
    );
    assert_eq!(work.endpoint, "https://api.anthropic.com");
    assert_eq!(work.limits.deadline_seconds, 3600);
    assert!(work.trusted_hosts.is_empty());
}

#[test]
fn what_a_polecat_leaves_out_comes_from_its_rig() {
    let bare = polecat(json!({"spec": {"kubernetes": null}}));
    let work = validate(&bare, Some(&rig()), &settings()).unwrap();
    assert_eq!(
        work.repository.as_str(),
        "ssh://git@git.example:2222/org/repo.git"
    );
    assert_eq!(work.base_branch.as_str(), "develop");
    assert_eq!(
        (work.git_secret.as_str(), work.credentials.secret.as_deref()),
        ("rig-git", Some("rig-claude"))
    );
    assert_eq!(work.trusted_hosts, ["git.example:2222"]);
}

#[test]
fn a_polecats_own_fields_win_over_its_rigs() {
    let work = validate(&polecat(json!({})), Some(&rig()), &settings()).unwrap();
    assert_eq!(work.repository.host(), "github.com");
    assert_eq!(work.git_secret, "git-ssh-key");
}

#[test]
fn each_missing_field_is_named() {
    for (change, field) in [
        (json!({"gitRepository": null}), "spec.kubernetes.gitRepository"),
        (json!({"gitSecretRef": null}), "spec.kubernetes.gitSecretRef"),
        (
            json!({"claudeCredsSecretRef": null}),
            "spec.kubernetes.claudeCredsSecretRef",
        ),
    ] {
        let (reason, message) = refusal(json!({"spec": {"kubernetes": change}}));
        assert_eq!(reason, Reason::SpecIncomplete);
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn a_key_that_stands_alone_is_mounted_beside_the_credentials() {
    let key = json!({"name": "keys", "key": "anthropic"});
    let own = work(json!({"spec": {"kubernetes": {"apiKeySecretRef": key}}})).unwrap();
    let expected = ApiKeyOrder {
        secret: "keys".to_owned(),
        key: "anthropic".to_owned(),
    };
    assert_eq!(own.credentials.api_key, Some(expected.clone()));
    assert_eq!(
        own.credentials.secret.as_deref(),
        Some("claude-creds"),
        "it has the settings"
    );
    let of_provider =
        work(json!({"spec": {"agentConfig": {"modelProvider": {"apiKeySecretRef": key}}}})).unwrap();
    assert_eq!(of_provider.credentials.api_key, Some(expected));
}

#[test]
fn the_work_branch_has_the_forms_that_gt_reads() {
    assert_eq!(
        work(json!({})).unwrap().head_branch.as_str(),
        "polecat/furiosa-mjuohs00"
    );
    let bead = work(json!({"spec": {"beadID": "mp-a1b2.1"}})).unwrap();
    assert_eq!(bead.head_branch.as_str(), "polecat/furiosa/mp-a1b2.1@mjuohs00");
    let own = work(json!({"spec": {"kubernetes": {"workBranch": "feature/x@1"}}})).unwrap();
    assert_eq!(own.head_branch.as_str(), "feature/x@1");
}

#[test]
fn an_endpoint_must_be_on_the_list() {
    let with =
        |endpoint: &str| work(json!({"spec": {"agentConfig": {"modelProvider": {"endpoint": endpoint}}}}));
    assert_eq!(
        with("https://api.anthropic.com/").unwrap().endpoint,
        "https://api.anthropic.com"
    );
    for endpoint in [
        "https://evil.example",
        "https://api.anthropic.com.evil.example",
        "https://api.anthropic.com/x",
    ] {
        assert_eq!(
            with(endpoint).unwrap_err().reason,
            Reason::EndpointNotAllowed,
            "{endpoint}"
        );
    }
}

#[test]
fn a_provider_must_serve_what_the_agent_speaks() {
    let with = |provider: &str, endpoint: Value| {
        let config = json!({"provider": provider, "modelProvider": {"endpoint": endpoint}});
        work(json!({"spec": {"agentConfig": config}})).map_err(|refusal| refusal.reason)
    };
    let pairs = [("claude-code", "openai"), ("codex", "anthropic")];
    for (agent, provider) in pairs {
        let (reason, message) =
            refusal(json!({"spec": {"agent": agent, "agentConfig": {"provider": provider}}}));
        assert_eq!(reason, Reason::ProviderUnsupportedByAgent);
        assert!(message.contains(agent) && message.contains(provider), "{message}");
    }
    assert_eq!(with("litellm", json!(null)).unwrap_err(), Reason::SpecIncomplete);
    assert_eq!(with("ollama", json!(null)).unwrap_err(), Reason::SpecIncomplete);
    for provider in ["litellm", "ollama", "anthropic"] {
        assert!(
            with(provider, json!("https://api.anthropic.com")).is_ok(),
            "{provider}"
        );
    }
    assert!(with("anthropic", json!(null)).is_ok());
}

#[test]
fn a_model_must_be_on_the_list() {
    let with = |model: &str| work(json!({"spec": {"agentConfig": {"model": model}}}));
    assert_eq!(
        with("claude-sonnet-4-5").unwrap().model.as_deref(),
        Some("claude-sonnet-4-5")
    );
    assert_eq!(with("gpt-5").unwrap_err().reason, Reason::ModelNotAllowed);
}

#[test]
fn a_budget_in_dollars_needs_a_model_with_a_price() {
    let with = |model: Value| {
        work(json!({"spec": {"budget": {"usd": 1.5}, "agentConfig": {"model": model}}}))
            .map(|work| work.micros_left)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(with(json!("claude-sonnet-4-5")), Ok(Some(1_500_000)));
    assert_eq!(with(json!(null)), Err(Reason::PriceMissing));
    assert_eq!(with(json!("claude-instant")), Err(Reason::PriceMissing));
}

#[test]
fn a_cost_that_nobody_knows_is_not_taken_for_nothing() {
    let with = |status: Value| {
        work(json!({
            "spec": {"budget": {"usd": 1.5}, "agentConfig": {"model": "claude-sonnet-4-5"}},
            "status": status,
        }))
        .map(|work| work.micros_left)
        .map_err(|refusal| refusal.reason)
    };
    let usage = json!({"inputTokens": 9, "requests": 1});
    assert_eq!(with(json!({"usage": usage})), Err(Reason::PriceMissing));
    assert_eq!(with(json!({"usage": {"requests": 0}})), Ok(Some(1_500_000)));
    let unaccounted =
        json!({"usage": usage, "costMicros": 100_000, "unaccounted": {"tokens": 7, "costMicros": 400_000}});
    assert_eq!(with(unaccounted), Ok(Some(1_000_000)));
}

#[test]
fn what_was_spent_is_taken_off_the_budget() {
    let spent = |tokens: u64, micros: i64| {
        work(json!({
            "spec": {"budget": {"tokens": 100, "usd": 1.0}, "agentConfig": {"model": "claude-sonnet-4-5"}},
            "status": {"podActive": false, "conditions": [], "usage": {"inputTokens": tokens}, "costMicros": micros},
        }))
        .map(|work| (work.tokens_left, work.micros_left))
        .map_err(|refusal| refusal.reason)
    };
    assert_eq!(spent(40, 250_000), Ok((Some(60), Some(750_000))));
    assert_eq!(spent(100, 0), Err(Reason::BudgetSpent));
    assert_eq!(spent(0, 1_000_000), Err(Reason::BudgetSpent));
}

#[test]
fn the_old_place_of_the_task_is_read_and_blanks_are_none() {
    let old = polecat(json!({"spec": {"task": null, "taskDescription": "do"}}));
    assert_eq!(task_of(&old), Some("do"));
    let blank = polecat(json!({"spec": {"task": {"description": " \n"}, "beadID": ""}}));
    assert_eq!((task_of(&blank), bead_of(&blank)), (None, None));
}

#[test]
fn values_that_no_label_takes_are_left_out() {
    let long = "r".repeat(64);
    let labels = labels_of(&polecat(json!({"spec": {"rig": long, "beadID": "mp-1"}})));
    assert_eq!(
        labels,
        [
            ("gastown.io/polecat", "furiosa".to_owned()),
            ("gastown.io/bead", "mp-1".to_owned())
        ]
    );
}

#[test]
fn codex_and_commands_speak_what_their_provider_serves() {
    let with = |spec: Value, endpoints: &[&str]| {
        let mut settings = settings();
        settings.config.model_keys_over_http = true;
        settings.config.model_endpoints = endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect();
        validate(&polecat(json!({"spec": spec})), None, &settings)
            .map(|work| (work.provider, work.apis, work.endpoint))
            .map_err(|refusal| refusal.reason)
    };
    let both = vec![ModelApi::Messages, ModelApi::Responses];
    let openai = "https://api.openai.com";
    let codex = json!({"agent": "codex"});
    assert_eq!(
        with(codex.clone(), &["https://api.anthropic.com"]),
        Err(Reason::EndpointNotAllowed)
    );
    assert_eq!(
        with(codex, &["https://api.anthropic.com", openai]),
        Ok((Provider::Openai, vec![ModelApi::Responses], openai.to_owned()))
    );
    let gateway = |provider: &str| {
        let config =
            json!({"provider": provider, "command": ["aider"], "modelProvider": {"endpoint": "http://llm"}});
        with(json!({"agentConfig": config}), &["http://llm"])
    };
    assert_eq!(
        gateway("ollama"),
        Ok((Provider::Ollama, both, "http://llm".to_owned()))
    );
    let inferred =
        json!({"agentConfig": {"command": ["x"], "args": ["y"], "modelProvider": {"endpoint": openai}}});
    assert_eq!(with(inferred, &[openai]).unwrap().0, Provider::Openai);
    let by_key = json!({"agentConfig": {"command": ["x"]},
        "kubernetes": {"apiKeySecretRef": {"name": "k", "key": "OPENAI_API_KEY"}}});
    assert_eq!(with(by_key, &[openai]).unwrap().0, Provider::Openai);
    let blank =
        work(json!({"spec": {"agentConfig": {"command": [""], "args": ["--max-turns", "9"]}}})).unwrap();
    assert!(blank.agent.command.is_empty() && blank.agent.args == ["--max-turns", "9"]);
}

#[test]
fn ollama_needs_no_secret_and_an_unnamed_litellm_key_none_either() {
    let with = |provider: &str, kubernetes: Value| {
        let config =
            json!({"provider": provider, "modelProvider": {"endpoint": "https://api.anthropic.com"}});
        work(json!({"spec": {"agentConfig": config, "kubernetes": kubernetes}}))
            .map(|work| work.credentials.keyless)
            .map_err(|refusal| refusal.reason)
    };
    let none = json!({"claudeCredsSecretRef": null});
    assert_eq!(with("ollama", none.clone()), Ok(true));
    assert_eq!(with("ollama", json!({})), Ok(true));
    let key = json!({"apiKeySecretRef": {"name": "k", "key": "k"}});
    assert_eq!(with("ollama", key), Ok(false));
    assert_eq!(with("litellm", none.clone()), Ok(true));
    assert_eq!(with("litellm", json!({})), Ok(false));
    assert_eq!(with("anthropic", none), Err(Reason::SpecIncomplete));
}

#[test]
fn an_image_may_stand_in_two_places_and_the_pods_own_wins() {
    let with = |spec: Value| work(json!({"spec": spec})).unwrap().image;
    let second = json!({"image": "second"});
    assert_eq!(with(json!({"agentConfig": second})), "second");
    assert_eq!(
        with(json!({"agentConfig": second, "kubernetes": {"image": "first"}})),
        "first"
    );
    assert_eq!(with(json!({})), settings().agent_image);
}

#[test]
fn an_image_that_no_registry_serves_is_refused_before_there_is_a_pod() {
    let with = |image: &str| work(json!({"spec": {"kubernetes": {"image": image}}}));
    assert_eq!(with("ghcr.io/org/agent:1").unwrap().image, "ghcr.io/org/agent:1");
    let refused = with("https://ghcr.io/org/agent").unwrap_err();
    assert_eq!(refused.reason, Reason::ImagePullFailed);
    for part in [
        "spec.kubernetes.image",
        "https://ghcr.io/org/agent",
        "leave out the scheme",
    ] {
        assert!(refused.message.contains(part), "{}", refused.message);
    }
}

#[test]
fn a_task_that_fits_the_schema_but_no_annotation_is_refused_by_its_size() {
    let with = |task: String| work(json!({"spec": {"task": {"description": task}}}));
    assert!(with("a".repeat(65536)).is_ok());
    for task in ["\u{1f600}".repeat(65536), "\u{1}".repeat(65536)] {
        let refused = with(task).unwrap_err();
        assert_eq!(refused.reason, Reason::SpecIncomplete);
        assert!(
            refused.message.contains("spec.task.description takes"),
            "{}",
            refused.message
        );
        assert!(refused.message.len() < 300 && refused.message.contains("shorten"));
    }
}

#[test]
fn a_key_goes_over_plain_http_only_where_the_chart_says_so() {
    let endpoint = |kubernetes: Value, provider: &str, url: &str, switch: bool| {
        let mut settings = settings();
        settings.config.model_endpoints = vec![url.to_owned()];
        settings.config.model_keys_over_http = switch;
        let config = json!({"provider": provider, "modelProvider": {"endpoint": url}});
        let polecat = polecat(json!({"spec": {"kubernetes": kubernetes, "agentConfig": config}}));
        validate(&polecat, None, &settings).map(|work| work.endpoint)
    };
    let (secret, key) = (
        json!({}),
        json!({"apiKeySecretRef": {"name": "k", "key": "LITELLM_API_KEY"}}),
    );
    let none = json!({"claudeCredsSecretRef": null});
    for url in ["http://llm:4000", "http://127.0.0.1:4000", "http://localhost/v1"] {
        for (kubernetes, provider) in [(&secret, "anthropic"), (&key, "litellm"), (&secret, "ollama")] {
            let refusal = endpoint(kubernetes.clone(), provider, url, false).unwrap_err();
            assert_eq!(refusal.reason, Reason::EndpointNotAllowed, "{provider} {url}");
            assert!(
                refusal.message.contains(url) && refusal.message.contains("modelKeysOverHttp"),
                "{}",
                refusal.message
            );
            assert!(
                endpoint(kubernetes.clone(), provider, url, true).is_ok(),
                "{provider} {url}"
            );
        }
        for provider in ["ollama", "litellm"] {
            assert!(
                endpoint(none.clone(), provider, url, false).is_ok(),
                "{provider} has no key"
            );
        }
    }
    assert!(endpoint(secret, "litellm", "https://llm:4000", false).is_ok());
}
