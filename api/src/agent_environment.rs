//! Which variables of an agent's environment a polecat and the agent's settings may set.

/// What would lead the agent past the broker, or git out of the clone: dropped whoever sets it.
const RESERVED: [&str; 9] = [
    "CLAUDE_CODE_USE_",
    "CLAUDE_CODE_OAUTH",
    "CLAUDE_CODE_PROVIDER_",
    "CLAUDE_CODE_HOST_",
    "CODEX_",
    "OPENAI_",
    "GIT_",
    "GASTOWN_",
    "KUBERNETES_",
];

/// Variables that the pod sets itself, whatever the polecat's `env` says.
pub const SET_BY_THE_POD: [&str; 20] = [
    "API_FORCE_IDLE_TIMEOUT",
    "API_TIMEOUT_MS",
    "BD_ACTOR",
    "BEADS_AGENT_NAME",
    "BUN_CONFIG_HTTP_IDLE_TIMEOUT",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "GT_BRANCH",
    "GT_ISSUE",
    "GT_POLECAT",
    "GT_RIG",
    "GT_ROLE",
    "HOME",
    "LC_ALL",
    "LOGNAME",
    "NO_PROXY",
    "PYTHONDONTWRITEBYTECODE",
    "TMPDIR",
    "USER",
    "no_proxy",
];

/// Whether a variable of the polecat's `env` reaches the agent's process at all.
#[must_use]
pub fn passes(name: &str) -> bool {
    let provider = name.starts_with("ANTHROPIC_") && !name.ends_with("_MODEL");
    !provider && !RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the agent's settings may set a variable: they would win over the values that the pod sets.
#[must_use]
pub fn may_set(name: &str) -> bool {
    let own = [
        "API_TIMEOUT_MS",
        "API_FORCE_IDLE_TIMEOUT",
        "BUN_CONFIG_HTTP_IDLE_TIMEOUT",
        "CLAUDE_CODE_EXTRA_BODY",
        "HOME",
        "PATH",
        "TMPDIR",
        "NO_PROXY",
        "no_proxy",
    ];
    passes(name) && !own.contains(&name)
}

/// Whether a variable of the polecat's `env` has an effect: it reaches the agent, and the pod sets no other value.
#[must_use]
pub fn has_effect(name: &str) -> bool {
    passes(name) && !SET_BY_THE_POD.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_past_the_broker_or_is_set_anyway_has_no_effect() {
        for name in [
            "GIT_AUTHOR_NAME",
            "GIT_DIR",
            "ANTHROPIC_BASE_URL",
            "OPENAI_API_KEY",
            "KUBERNETES_SERVICE_HOST",
            "HOME",
            "GT_ROLE",
            "no_proxy",
        ] {
            assert!(!has_effect(name), "{name}");
        }
        for name in [
            "MY_FLAG",
            "PATH",
            "ANTHROPIC_SMALL_FAST_MODEL",
            "GITHUB_ACTIONS",
            "TZ",
        ] {
            assert!(has_effect(name), "{name}");
        }
    }
}
