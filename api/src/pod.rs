//! Names, ports and paths of a polecat pod that more than one program relies on.

/// The sidecar that holds the keys.
pub const BROKER: &str = "broker";
/// The sidecar that snapshots the work tree.
pub const KEEPER: &str = "keeper";
/// The keeper's exit code if the work tree is on the remote, but some commit that the agent never pushed is not.
pub const KEEPER_SAVED_IN_PART: u8 = 3;
/// The init container that clones.
pub const GIT_INIT: &str = "git-init";
/// The container that runs the agent. The name is the predecessor's; `kubectl logs` shows this container by default.
pub const CLAUDE: &str = "claude";
/// Every container that the operator puts into a pod; policies, webhooks and people may add others.
pub const OURS: [&str; 4] = [BROKER, KEEPER, GIT_INIT, CLAUDE];

/// Loopback port of the broker's git host: the repository is `http://127.0.0.1:8417/repo.git`.
pub const GIT_PORT: u16 = 8417;
/// Loopback port of the broker's model proxy: the base URL is `http://127.0.0.1:8418`.
pub const MODEL_PORT: u16 = 8418;
/// Path on the broker's model port that serves the agent's settings, a tar archive for the folder `.claude`.
pub const SETTINGS_PATH: &str = "/settings.tar";
/// Port, on the pod's address, of the broker's readiness endpoint, which answers 200 or 503 and nothing else.
pub const READY_PORT: u16 = 8419;

/// Where every container finds the work order.
pub const ORDER_FILE: &str = "/etc/gastown/work-order.json";
/// Environment variable with the SHA-256 of the work order. A pod's annotations can be changed; the environment of its
/// containers cannot.
pub const ORDER_DIGEST_ENV: &str = "GASTOWN_WORK_ORDER_SHA256";
/// Folder in which every container finds the limit and the request of ephemeral storage of each of [`OURS`], as they
/// were admitted, in bytes: the files `CONTAINER.limit` and `CONTAINER.request`. An administrator's `LimitRange` may
/// have set them.
pub const STORAGE_DIR: &str = "/etc/gastown/storage";
/// File in which the broker finds the annotation [`crate::labels::CONTROL`]; empty without a budget. It is in the same
/// volume as [`ORDER_FILE`].
pub const CONTROL_FILE: &str = "/etc/gastown/control.json";
/// The broker's git secret, one file per key.
pub const GIT_SECRET_DIR: &str = "/secrets/git";
/// The broker's model credentials and the agent's settings, one file per key.
pub const MODEL_SECRET_DIR: &str = "/secrets/model";
/// The keys of a credentials secret besides the model's own: trusted certificates, the proxy's credential, and the
/// agent's settings.
pub const SETTINGS_KEYS: [&str; 5] = [
    "ca.crt",
    "proxy",
    "settings.json",
    "CLAUDE.md",
    "claude-home.tar.gz",
];
/// The broker's model API key if `apiKeySecretRef` names it, in a file with the key's name.
pub const API_KEY_DIR: &str = "/secrets/api-key";
/// The broker's ConfigMap of `sshKnownHostsConfigMapRef`, with its key `known_hosts`.
pub const KNOWN_HOSTS_DIR: &str = "/secrets/known-hosts";
/// The broker's private state: bare repository and ledger.
pub const BROKER_DIR: &str = "/broker";
/// The keeper's private state: its own repository and its socket.
pub const KEEPER_DIR: &str = "/keeper";
/// The volume that `git-init`, `keeper` and `claude` share; its root belongs to root, so the clone is a folder below.
pub const WORKSPACE_DIR: &str = "/workspace";
/// The clone.
pub const REPO_DIR: &str = "/workspace/repo";
/// The agent's `HOME`.
pub const HOME_DIR: &str = "/home/nonroot";
/// Every container's writable scratch space.
pub const TMP_DIR: &str = "/tmp";
/// The file for a container's termination message; the kubelet's default.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// The name under which the broker serves the snapshot that an attempt starts from.
pub const RESUME_REF: &str = "refs/gastown/resume";

/// Environment variable with the pod's UID, from the downward API; part of the name of the pod's WIP ref.
pub const POD_UID_ENV: &str = "GASTOWN_POD_UID";

/// The prefix of the names of polecats' pods.
pub const POD_PREFIX: &str = "polecat-";

/// The name of the pod of a polecat.
#[must_use]
pub fn pod_name(polecat: &str) -> String {
    format!("{POD_PREFIX}{polecat}")
}
