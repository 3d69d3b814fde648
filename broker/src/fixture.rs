//! What tests of the broker start from.

use gastown_api::work_order::{Role, WorkOrder};

/// A private key as far as it is read before ssh; it opens nothing.
pub const SSH_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAIFAA==\n-----END PRIVATE KEY-----\n";

/// A work order with a budget-less model and an SSH repository.
pub fn order() -> WorkOrder {
    let order: WorkOrder<Role> = serde_json::from_value(serde_json::json!({
        "owner": "furiosa",
        "namespace": "default",
        "rig": "citadel",
        "attempt": 1,
        "limits": { "deadlineSeconds": 3600, "parkingSeconds": 21600, "graceSeconds": 120 },
        "role": {"polecat": {
            "agent": { "kind": "claude-code" },
            "git": {
                "remote": {
                    "repository": "git@git.example:org/repo.git",
                    "secret": "git-creds",
                    "trustedHosts": [],
                    "knownHosts": "",
                },
                "baseBranch": "main",
                "workBranch": "polecat/furiosa/gt-1@m1",
                "deniedPaths": [".github/workflows/", ".gitlab-ci.yml"],
                "maxPushBytes": 104_857_600,
            },
            "model": {
                "provider": "anthropic", "apis": ["messages"], "endpoint": "https://api.example",
                "allowedModels": ["claude-*"],
                "secret": "claude-creds",
                "prices": {},
            },
            "pace": { "checkpointSeconds": 300, "checkpointTurns": 20, "silenceSeconds": 1800 },
            "disk": { "workspace": 1_073_741_824, "home": 1_073_741_824, "tmp": 1_073_741_824, "keeper": 1_073_741_824, "broker": 1_073_741_824 },
        }},
    }))
    .unwrap();
    order.map(|Role::Polecat(own)| *own)
}
