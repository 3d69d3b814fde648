use std::ffi::OsStr;

use serde_json::json;

use super::*;
use crate::testing::order;

/// What the pod gives the container `claude`, and what a Polecat's own `env` might try.
const INHERITED: [&str; 16] = [
    "HOME",
    "PATH",
    "TMPDIR",
    "MY_OWN",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST",
    "CLAUDE_CODE_HOST_CREDS_FILE",
    "CODEX_API_KEY",
    "OPENAI_BASE_URL",
    "GIT_DIR",
    "GASTOWN_POD_UID",
    "KUBERNETES_SERVICE_HOST",
];

fn started(order: &WorkOrder) -> (Vec<String>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let prompt = folder.path().join("prompt");
    std::fs::write(&prompt, "x").unwrap();
    let inherited = INHERITED.map(|name| (name.into(), "theirs".into())).into_iter();
    let command = agent(order, folder.path(), &prompt, inherited).unwrap().command;
    let text = |word: &OsStr| word.to_string_lossy().into_owned();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let environment = command
        .get_envs()
        .map(|(name, value)| (text(name), text(value.unwrap())));
    (words.map(text).collect(), environment.collect())
}

fn with(order: &mut WorkOrder, agent: serde_json::Value, apis: serde_json::Value) {
    order.role.agent = serde_json::from_value(agent).unwrap();
    order.role.model.apis = serde_json::from_value(apis).unwrap();
}

/// The whole environment, variable by variable: whoever adds one has to say here that it is no key.
fn environment_of(order: &WorkOrder) -> String {
    let lines = started(order)
        .1
        .into_iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    lines.collect()
}

/// The part that every agent gets; sorted among its own.
fn common() -> Vec<&'static str> {
    vec![
        "ANTHROPIC_SMALL_FAST_MODEL=theirs",
        "BD_ACTOR=demo/polecats/furiosa",
        "BEADS_AGENT_NAME=demo/furiosa",
        "GIT_AUTHOR_NAME=furiosa",
        "GIT_PAGER=cat",
        "GIT_TERMINAL_PROMPT=0",
        "GT_BRANCH=polecat/furiosa/gt-1@m1",
        "GT_ISSUE=gt-1",
        "GT_POLECAT=furiosa",
        "GT_RIG=demo",
        "GT_ROLE=demo/polecats/furiosa",
        "HOME=theirs",
        "LC_ALL=C.UTF-8",
        "LOGNAME=furiosa",
        "MY_OWN=theirs",
        "NO_PROXY=127.0.0.1,localhost",
        "PATH=theirs",
        "PYTHONDONTWRITEBYTECODE=1",
        "TMPDIR=theirs",
        "USER=furiosa",
        "no_proxy=127.0.0.1,localhost",
    ]
}

const CLAUDE: [&str; 6] = [
    "ANTHROPIC_API_KEY=sk-ant-none-the-broker-holds-the-key",
    "ANTHROPIC_BASE_URL=http://127.0.0.1:8418",
    "API_FORCE_IDLE_TIMEOUT=0",
    "API_TIMEOUT_MS=4200000",
    "BUN_CONFIG_HTTP_IDLE_TIMEOUT=4200",
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST=1",
];

const CODEX: [&str; 2] = [
    "OPENAI_API_KEY=sk-none-the-broker-holds-the-key",
    "OPENAI_BASE_URL=http://127.0.0.1:8418/v1",
];

fn golden(own: &[&'static str]) -> String {
    let mut all = common();
    all.extend(own);
    all.sort_unstable();
    all.into_iter().flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn dummy_keys_are_all_that_looks_like_a_key_in_an_agents_environment() {
    let mut order = order();
    order.role.bead = Some("gt-1".to_owned());
    let mut own = CLAUDE.to_vec();
    own.extend([
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
        "DISABLE_AUTOUPDATER=1",
    ]);
    assert_eq!(environment_of(&order), golden(&own));
    with(&mut order, json!({"kind": "codex"}), json!(["responses"]));
    assert_eq!(environment_of(&order), golden(&CODEX));
    with(
        &mut order,
        json!({"kind": "codex", "command": ["x"]}),
        json!(["messages", "responses"]),
    );
    assert_eq!(environment_of(&order), golden(&[&CLAUDE[..], &CODEX].concat()));
    with(
        &mut order,
        json!({"kind": "claude-code", "command": ["x"]}),
        json!(["messages"]),
    );
    order.role.model.model = Some("claude-x".to_owned());
    assert_eq!(
        environment_of(&order),
        golden(&[&CLAUDE[..], &["GASTOWN_MODEL=claude-x"]].concat())
    );
}

#[test]
fn whom_the_manifest_names_no_configuration_of_the_agents_overrides() {
    let mut order = order();
    let person = json!({"name": "Jane Doe", "email": "jane@example.com"});
    order.role.git.committer = serde_json::from_value(person).unwrap();
    let environment = environment_of(&order);
    for line in [
        "GIT_AUTHOR_NAME=furiosa\n",
        "GIT_AUTHOR_EMAIL=furiosa@demo.gastown.invalid\n",
        "GIT_COMMITTER_NAME=Jane Doe\n",
        "GIT_COMMITTER_EMAIL=jane@example.com\n",
    ] {
        assert!(environment.contains(line), "{line} {environment}");
    }
}

#[test]
fn what_the_pod_sets_has_no_effect_in_a_polecats_environment() {
    let mut order = order();
    order.role.bead = Some("gt-1".to_owned());
    with(
        &mut order,
        json!({"kind": "codex", "command": ["x"]}),
        json!(["messages", "responses"]),
    );
    let custom = started(&order).1;
    with(&mut order, json!({"kind": "claude-code"}), json!(["messages"]));
    for (name, value) in custom.into_iter().chain(started(&order).1) {
        let theirs = value == "theirs";
        assert!(
            theirs || !gastown_api::agent_environment::has_effect(&name),
            "{name}"
        );
    }
}

#[test]
fn claude_code_is_told_its_model_and_what_the_polecat_adds() {
    let mut order = order();
    order.role.model.model = Some("claude-x".to_owned());
    order.role.agent.args = vec!["--max-turns".to_owned(), "9".to_owned()];
    let (words, _) = started(&order);
    assert_eq!(words[..2], ["claude", "--print"]);
    assert_eq!(
        words[words.len() - 4..],
        ["--model", "claude-x", "--max-turns", "9"]
    );
}

#[test]
fn what_chooses_where_claude_codes_calls_go_stands_on_its_command_line() {
    let order = order();
    let (words, environment) = started(&order);
    let at = words.iter().position(|word| word == "--settings").unwrap();
    let settings: serde_json::Value = serde_json::from_str(&words[at + 1]).unwrap();
    for variable in CLAUDE {
        let (name, value) = variable.split_once('=').unwrap();
        assert_eq!(settings["env"][name], value);
        assert!(environment.contains(&(name.to_owned(), value.to_owned())));
    }
    for emptied in ["ANTHROPIC_BETAS", "CLAUDE_CODE_EXTRA_BODY"] {
        assert_eq!(settings["env"][emptied], "");
    }
    let allowed = settings["permissions"]["allow"].as_array().unwrap();
    assert!(
        ["Bash", "Edit", "Write"]
            .iter()
            .all(|tool| allowed.contains(&json!(tool)))
    );
    assert_eq!(settings["sandbox"], json!({"enabled": false}));
}

#[test]
fn codex_speaks_to_the_broker_alone_and_reads_its_prompt_from_standard_input() {
    let mut order = order();
    with(
        &mut order,
        json!({"kind": "codex", "args": ["--color", "never"]}),
        json!(["responses"]),
    );
    order.role.model.model = Some("gpt-x".to_owned());
    let (words, _) = started(&order);
    assert_eq!(words[..3], ["codex", "exec", "--json"]);
    assert_eq!(
        words[words.len() - 5..],
        ["--model", "gpt-x", "--color", "never", "-"]
    );
    let all = words.join(" ");
    for part in [
        r#"model_provider="broker""#,
        r#"base_url="http://127.0.0.1:8418/v1""#,
        "stream_idle_timeout_ms=4200000",
        r#"web_search="disabled""#,
        r#"service_tier="default""#,
        r#"projects={"/workspace/repo"={trust_level="untrusted"}}"#,
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn a_command_runs_as_it_is_written() {
    let mut order = order();
    let agent = json!({"kind": "claude-code", "command": ["sh", "-c"], "args": ["cat"]});
    with(&mut order, agent, json!(["messages"]));
    assert_eq!(started(&order).0, ["sh", "-c", "cat"]);
}

#[test]
fn a_prompt_that_is_not_there_is_named() {
    let missing = Path::new("/no/such/prompt");
    let Err(error) = agent(&order(), Path::new("/"), missing, std::iter::empty()) else {
        panic!("it started")
    };
    assert!(error.to_string().contains("/no/such/prompt"), "{error}");
}
