//! Which variables of the agent's environment others than us may set.

use std::ffi::OsStr;

/// Whether settings may set a variable: they would win over what is set here.
#[must_use]
pub fn may_set(name: &OsStr) -> bool {
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
    passes(name) && !own.iter().any(|own| name == *own)
}

/// What the Polecat's `env` may set for the agent; what would lead it past the broker, or git out of the clone, may
/// not pass.
#[must_use]
pub fn passes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let reserved = [
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
    let provider = name.starts_with("ANTHROPIC_") && !name.ends_with("_MODEL");
    !provider && !reserved.iter().any(|prefix| name.starts_with(prefix))
}
