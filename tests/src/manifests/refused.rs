//! What is refused, and with which words: each message names the field, the value and the rule.

use serde_json::{Value, json};

use super::parse;

/// One change to a sample that makes it invalid, and what the refusal must say.
pub struct Case {
    kind: Kind,
    /// The changes: where, as a JSON pointer, and what.
    pub changes: Vec<(&'static str, Value)>,
    /// The field that the message must name.
    pub field: &'static str,
    /// The value it must name.
    pub value: String,
    /// The rule it must name.
    pub rule: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Rig,
    Polecat,
}

const RIG: &str = include_str!("../../admission/samples/predecessor-rig.yaml");
/// The sample that the cases of a Polecat change.
pub const POLECAT: &str = include_str!("../../admission/samples/seed-template.yaml");
/// Kubernetes does not repeat a text that is too long.
const NOT_REPEATED: &str = "";

fn rig(at: &'static str, put: Value, field: &'static str, value: &str, rule: &'static str) -> Case {
    case(Kind::Rig, vec![(at, put)], field, value, rule)
}

fn polecat(at: &'static str, put: Value, field: &'static str, value: &str, rule: &'static str) -> Case {
    case(Kind::Polecat, vec![(at, put)], field, value, rule)
}

fn case(
    kind: Kind,
    changes: Vec<(&'static str, Value)>,
    field: &'static str,
    value: &str,
    rule: &'static str,
) -> Case {
    Case {
        kind,
        changes,
        field,
        value: value.to_owned(),
        rule,
    }
}

fn long(letters: usize) -> Value {
    Value::from("a".repeat(letters))
}

fn many_labels(count: usize) -> Value {
    (0..count).map(|n| (format!("l{n}"), json!("x"))).collect()
}

/// Retries, times and pod options, of Polecats and Rigs, that are none.
#[rustfmt::skip]
#[must_use]
pub fn of_the_options() -> Vec<Case> {
    const SHAPE: &str = "should match";
    vec![
        rig("/spec/polecatDefaults", json!({"timing": {"parkingSeconds": -1}}), "spec.polecatDefaults.timing.parkingSeconds", "-1", "greater than or equal to 1"),
        rig("/spec/polecatDefaults", json!({"backoffLimit": -1}), "spec.polecatDefaults.backoffLimit", "-1", "greater than or equal to 0"),
        rig("/spec/polecatDefaults", json!({"kubernetes": {"hostUsers": "no"}}), "spec.polecatDefaults.kubernetes.hostUsers", "string", "must be of type boolean"),
        rig("/spec/polecatDefaults", json!({"kubernetes": {"activeDeadlineSeconds": 0}}), "spec.polecatDefaults.kubernetes.activeDeadlineSeconds", "0", "greater than or equal to 1"),
        rig("/spec/polecatDefaults", json!({"kubernetes": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": 1}}}}), "spec.polecatDefaults.kubernetes.resources", "cpu 2 must", "must not exceed its limit 1"),
        rig("/spec/polecatDefaults", json!({"kubernetes": {"runtimeClassName": "a b"}}), "spec.polecatDefaults.kubernetes.runtimeClassName", "a b", "should match"),
        polecat("/spec/agentConfig", json!({"env": [{"name": "KEY", "valueFrom": {"fileKeyRef": {"volumeName": "broker-state", "path": "p", "key": "k"}}}]}), "spec.agentConfig.env[0]", "env KEY must", "must not take a value from a Secret"),
        polecat("/spec/timing", json!({"parkingSeconds": 0}), "spec.timing.parkingSeconds", "0", "greater than or equal to 1"),
        polecat("/spec/timing", json!({"parkingSeconds": "6h"}), "spec.timing.parkingSeconds", "string", "must be of type integer"),
        polecat("/spec/timing", json!({"checkpointSeconds": 0}), "spec.timing.checkpointSeconds", "0", "greater than or equal to 1"),
        polecat("/spec/timing", json!({"checkpointTurns": -20}), "spec.timing.checkpointTurns", "-20", "greater than or equal to 1"),
        polecat("/spec/timing", json!({"silenceSeconds": 1.5}), "spec.timing.silenceSeconds", "number", "must be of type integer"),
        polecat("/spec/backoffLimit", json!(-1), "spec.backoffLimit", "-1", "greater than or equal to 0"),
        polecat("/spec/backoffLimit", json!(1001), "spec.backoffLimit", "1001", "less than or equal to 1000"),
        polecat("/spec/priority", json!(-1), "spec.priority", "-1", "greater than or equal to 0"),
        polecat("/spec/priority", json!(1001), "spec.priority", "1001", "less than or equal to 1000"),
        polecat("/spec/priority", json!("high"), "spec.priority", "string", "must be of type integer"),
        polecat("/spec/backoffLimit", json!("twice"), "spec.backoffLimit", "string", "must be of type integer"),
        polecat("/spec/kubernetes/nodeSelector", json!(["gpu"]), "spec.kubernetes.nodeSelector", "array", "must be of type object"),
        polecat("/spec/kubernetes/nodeSelector", json!({"pool": 7}), "spec.kubernetes.nodeSelector.pool", "integer", "must be of type string"),
        polecat("/spec/kubernetes/nodeSelector", many_labels(33), "spec.kubernetes.nodeSelector", "33", "must have at most 32 items"),
        polecat("/spec/kubernetes/tolerations", json!(vec![json!({"operator": "Exists"}); 33]), "spec.kubernetes.tolerations", "33", "must have at most 32 items"),
        polecat("/spec/kubernetes/tolerations", json!([{"key": 7}]), "spec.kubernetes.tolerations[0].key", "integer", "must be of type string"),
        polecat("/spec/kubernetes/affinity", json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}), "spec.kubernetes.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms", "", "Required value"),
        polecat("/spec/kubernetes/podLabels", json!({"gastown.io/polecat": "nux"}), "spec.kubernetes.podLabels", "", "keys below gastown.io/"),
        polecat("/spec/kubernetes/podLabels", json!({"app.kubernetes.io/managed-by": "Helm"}), "spec.kubernetes.podLabels", "app.kubernetes.io/managed-by", "leave them out"),
        polecat("/spec/kubernetes/podLabels", json!({"team": 7}), "spec.kubernetes.podLabels.team", "integer", "must be of type string"),
        polecat("/spec/kubernetes/podAnnotations", json!({"gastown.io/work-order": "{}"}), "spec.kubernetes.podAnnotations", "", "keys below gastown.io/"),
        rig("/spec/polecatDefaults", json!({"kubernetes": {"podAnnotations": {"kubectl.kubernetes.io/default-container": "broker"}}}), "spec.polecatDefaults.kubernetes.podAnnotations", "kubectl.kubernetes.io/default-container", "leave them out"),
        polecat("/spec/kubernetes/gitAuthor", json!({"name": "Jane <jane@x>", "email": "jane@example.com"}), "spec.kubernetes.gitAuthor.name", "Jane <jane@x>", SHAPE),
        polecat("/spec/kubernetes/gitAuthor", json!({"name": "...", "email": "jane@example.com"}), "spec.kubernetes.gitAuthor.name", "...", SHAPE),
        polecat("/spec/kubernetes/gitCommitter", json!({"name": "Jane", "email": "jane"}), "spec.kubernetes.gitCommitter.email", "jane", SHAPE),
        polecat("/spec/kubernetes/gitCommitter", json!({"name": "Jane"}), "spec.kubernetes.gitCommitter.email", "", "Required value"),
        rig("/spec/polecatDefaults", json!({"kubernetes": {"gitCommitter": {"name": "A", "email": "a@b c"}}}), "spec.polecatDefaults.kubernetes.gitCommitter.email", "a@b c", SHAPE),
        polecat("/spec/kubernetes/priorityClassName", json!("Very High"), "spec.kubernetes.priorityClassName", "Very High", SHAPE),
        polecat("/spec/kubernetes/runtimeClassName", json!(""), "spec.kubernetes.runtimeClassName", "\"\"", "should be at least 1 chars long"),
        polecat("/spec/kubernetes/imagePullSecrets", json!([{"name": "No_Secret"}]), "spec.kubernetes.imagePullSecrets[0].name", "No_Secret", SHAPE),
        polecat("/spec/kubernetes/imagePullSecrets", json!(["pull"]), "spec.kubernetes.imagePullSecrets[0]", "string", "must be of type object"),
    ]
}

/// Invalid Rigs.
#[rustfmt::skip]
#[must_use]
pub fn of_the_rig() -> Vec<Case> {
    const URL: &str = "spec.gitURL";
    const FORM: &str = "must be git@HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH or https://HOST[:PORT]/PATH";
    vec![
        rig("/spec/gitURL", Value::Null, URL, "", "Required value"),
        rig("/spec/gitURL", json!(""), URL, "\"\"", "should be at least 1 chars long"),
        rig("/spec/gitURL", json!(7), URL, "integer", "must be of type string"),
        rig("/spec/gitURL", json!("not a url"), URL, "not a url", FORM),
        rig("/spec/gitURL", json!("file:///etc/passwd"), URL, "file:///etc/passwd", FORM),
        rig("/spec/gitURL", json!("https://user:secret@example.com/a"), URL, "user:secret@", FORM),
        rig("/spec/gitURL", json!("https://token@example.com/a"), URL, "https://token@example.com/a", FORM),
        rig("/spec/gitURL", json!("-oProxyCommand=id"), URL, "-oProxyCommand=id", FORM),
        rig("/spec/gitURL", json!("ssh://-oProxyCommand=id/a"), URL, "ssh://-oProxyCommand=id/a", FORM),
        rig("/spec/gitURL", json!("git@example.com:-upload-pack"), URL, "git@example.com:-upload-pack", FORM),
        rig("/spec/gitURL", json!("ext::sh -c id"), URL, "ext::sh -c id", FORM),
        rig("/spec/gitURL", json!("https://example.com/a\nb"), URL, "https://example.com/a\\nb", "should match"),
        rig("/spec/gitURL", json!("https://example.com/a?x=1#y"), URL, "https://example.com/a?x=1#y", FORM),
        rig("/spec/gitURL", json!("https://example.com/a%0Ab"), URL, "https://example.com/a%0Ab", FORM),
        rig("/spec/gitURL", json!("https://example.com/a%2"), URL, "https://example.com/a%2", FORM),
        rig("/spec/gitURL", json!("ssh://example.com/%2DoProxyCommand=id"), URL, "%2DoProxyCommand", FORM),
        rig("/spec/gitURL", long(1025), URL, NOT_REPEATED, "may not be more than 1024"),
        rig("/spec/beadsPrefix", Value::Null, "spec.beadsPrefix", "", "Required value"),
        rig("/spec/beadsPrefix", json!("a"), "spec.beadsPrefix", "\"a\"", "^[a-z]{2,10}$"),
        rig("/spec/beadsPrefix", json!("AT"), "spec.beadsPrefix", "\"AT\"", "^[a-z]{2,10}$"),
        rig("/spec/beadsPrefix", json!("at-"), "spec.beadsPrefix", "\"at-\"", "^[a-z]{2,10}$"),
        rig("/spec/beadsPrefix", json!("hq"), "spec.beadsPrefix", "\"hq\"", "is reserved"),
        rig("/spec/beadsPrefix", json!("system"), "spec.beadsPrefix", "\"system\"", "is reserved"),
        rig("/spec/gitBranch", json!("../main"), "spec.gitBranch", "\"../main\"", "none that git accepts"),
        rig("/spec/gitBranch", json!("-main"), "spec.gitBranch", "\"-main\"", "should match"),
        rig("/spec/gitSecretRef", json!({}), "spec.gitSecretRef.name", "", "Required value"),
        rig("/spec/claudeCredsSecretRef", json!({"name": "No_Secret"}), "spec.claudeCredsSecretRef.name", "\"No_Secret\"", "should match"),
        rig("/spec/settings/namepoolTheme", json!("disco"), "spec.settings.namepoolTheme", "\"disco\"", "supported values: \"mad-max\", \"minerals\", \"wasteland\""),
        rig("/spec/settings/maxPolecats", json!(0), "spec.settings.maxPolecats", "0", "greater than or equal to 1"),
        rig("/spec/settings/maxPolecats", json!("many"), "spec.settings.maxPolecats", "string", "must be of type integer"),
        rig("/spec/imagePolicy", json!({"keys": "cosign.pub"}), "spec.imagePolicy.keys", "string", "must be of type array"),
        rig("/spec/imagePolicy", json!({"keys": ["cosign.pub"]}), "spec.imagePolicy.keys", "cosign.pub", "write the content of cosign.pub"),
        rig("/spec/imagePolicy", json!({"requireDigest": "yes"}), "spec.imagePolicy.requireDigest", "string", "must be of type boolean"),
        rig("/spec/imagePolicy", json!({"requireAttestations": ["https://slsa.dev/provenance/v1"]}), "spec.imagePolicy.requireAttestations", "https://slsa.dev/provenance/v1", "needs keys"),
        rig("/spec/imagePolicy", json!({"keys": ["-----BEGIN PUBLIC KEY-----"], "requireAttestations": ["slsa"]}), "spec.imagePolicy.requireAttestations", "slsa", "is no URI"),
        rig("/spec/weight", json!(0), "spec.weight", "0", "greater than or equal to 1"),
        rig("/spec/weight", json!(1001), "spec.weight", "1001", "less than or equal to 1000"),
        rig("/spec/weight", json!("heavy"), "spec.weight", "string", "must be of type integer"),
        rig("/spec/suspend", json!("Sometimes"), "spec.suspend", "\"Sometimes\"", "supported values: \"None\", \"Dispatch\", \"All\""),
        rig("/spec/suspend", json!(true), "spec.suspend", "boolean", "must be of type string"),
        rig("/spec", Value::Null, "spec", "", "Required value"),
    ]
}

/// Invalid Polecats.
#[rustfmt::skip]
#[must_use]
pub fn of_the_polecat() -> Vec<Case> {
    const SHAPE: &str = "should match";
    const BRANCH: &str = "none that git accepts";
    vec![
        polecat("/spec", Value::Null, "spec", "", "Required value"),
        polecat("/spec/rig", Value::Null, "spec.rig", "", "Required value"),
        polecat("/spec/rig", json!(""), "spec.rig", "\"\"", "should be at least 1 chars long"),
        polecat("/spec/rig", json!("my rig"), "spec.rig", "\"my rig\"", SHAPE),
        polecat("/spec/rig", json!("../rig"), "spec.rig", "\"../rig\"", SHAPE),
        polecat("/spec/desiredState", json!("Sleeping"), "spec.desiredState", "\"Sleeping\"", "supported values: \"Idle\", \"Working\", \"Terminated\""),
        polecat("/spec/executionMode", json!("local"), "spec.executionMode", "\"local\"", "supported values: \"kubernetes\""),
        polecat("/spec/agent", json!("aider"), "spec.agent", "\"aider\"", "supported values: \"claude-code\", \"codex\""),
        polecat("/spec/beadID", json!("a b"), "spec.beadID", "\"a b\"", SHAPE),
        polecat("/spec/beadID", json!("a..b"), "spec.beadID", "\"a..b\"", "rename the bead"),
        polecat("/spec/beadID", json!("a.lock"), "spec.beadID", "\"a.lock\"", "rename the bead"),
        polecat("/spec/beadID", json!("-a"), "spec.beadID", "\"-a\"", SHAPE),
        polecat("/spec/beadID", long(101), "spec.beadID", NOT_REPEATED, "may not be more than 100"),
        polecat("/spec/task/description", long(65537), "spec.task.description", NOT_REPEATED, "may not be more than 65536"),
        polecat("/spec/task/description", json!(["a"]), "spec.task.description", "array", "must be of type string"),
        polecat("/spec/taskDescription", json!(format!("Do\n{}", "both ".repeat(20))), "spec.taskDescription", "Do both both", "keep task.description"),
        polecat("/spec/kubernetes/gitRepository", json!("ftp://example.com/a"), "spec.kubernetes.gitRepository", "ftp://example.com/a", "must be git@HOST:PATH"),
        polecat("/spec/kubernetes/gitRepository", json!("https://x-access-token:ghp_1@github.com/a/b"), "spec.kubernetes.gitRepository", "x-access-token:ghp_1@", "without a password"),
        polecat("/spec/kubernetes/gitRepository", json!("/srv/git/a"), "spec.kubernetes.gitRepository", "/srv/git/a", "must be git@HOST:PATH"),
        polecat("/spec/kubernetes/gitRepository", json!("ssh://git.example.com:port/a"), "spec.kubernetes.gitRepository", "ssh://git.example.com:port/a", "must be git@HOST:PATH"),
        polecat("/spec/kubernetes/gitBranch", json!("-b"), "spec.kubernetes.gitBranch", "\"-b\"", SHAPE),
        polecat("/spec/kubernetes/gitBranch", json!("a..b"), "spec.kubernetes.gitBranch", "a..b", BRANCH),
        polecat("/spec/kubernetes/gitBranch", json!("a//b"), "spec.kubernetes.gitBranch", "a//b", BRANCH),
        polecat("/spec/kubernetes/workBranch", json!("main.lock"), "spec.kubernetes.workBranch", "main.lock", BRANCH),
        polecat("/spec/kubernetes/workBranch", json!("/x"), "spec.kubernetes.workBranch", "\"/x\"", BRANCH),
        polecat("/spec/kubernetes/workBranch", json!("a/.hidden"), "spec.kubernetes.workBranch", "a/.hidden", BRANCH),
        polecat("/spec/kubernetes/workBranch", json!("x@{1}"), "spec.kubernetes.workBranch", "x@{1}", SHAPE),
        polecat("/spec/kubernetes/workBranch", json!("a b"), "spec.kubernetes.workBranch", "\"a b\"", SHAPE),
        polecat("/spec/kubernetes/workBranch", long(201), "spec.kubernetes.workBranch", NOT_REPEATED, "may not be more than 200"),
        polecat("/spec/kubernetes/gitSecretRef", json!({"name": ""}), "spec.kubernetes.gitSecretRef.name", "\"\"", "should be at least 1 chars long"),
        polecat("/spec/kubernetes/gitSecretRef", json!("git-ssh-key"), "spec.kubernetes.gitSecretRef", "string", "must be of type object"),
        polecat("/spec/kubernetes/claudeCredsSecretRef", json!({"name": "../creds"}), "spec.kubernetes.claudeCredsSecretRef.name", "../creds", SHAPE),
        polecat("/spec/kubernetes/apiKeySecretRef", json!({"name": "key"}), "spec.kubernetes.apiKeySecretRef.key", "", "Required value"),
        polecat("/spec/kubernetes/apiKeySecretRef", json!({"name": "key", "key": "a/b"}), "spec.kubernetes.apiKeySecretRef.key", "a/b", SHAPE),
        polecat("/spec/kubernetes/apiKeySecretRef", json!({"name": "key", "key": ".."}), "spec.kubernetes.apiKeySecretRef.key", "\"..\"", "must not be"),
        polecat("/spec/kubernetes/image", json!("two words"), "spec.kubernetes.image", "two words", SHAPE),
        polecat("/spec/kubernetes/activeDeadlineSeconds", json!(0), "spec.kubernetes.activeDeadlineSeconds", "0", "greater than or equal to 1"),
        polecat("/spec/kubernetes/activeDeadlineSeconds", json!(-5), "spec.kubernetes.activeDeadlineSeconds", "-5", "greater than or equal to 1"),
        polecat("/spec/kubernetes/activeDeadlineSeconds", json!("1h"), "spec.kubernetes.activeDeadlineSeconds", "string", "must be of type integer"),
        polecat("/spec/kubernetes/sshStrictHostKeyChecking", json!("no"), "spec.kubernetes.sshStrictHostKeyChecking", "\"no\"", "supported values: \"yes\""),
        polecat("/spec/kubernetes/sshKnownHostsConfigMapRef", json!({"name": "Known Hosts"}), "spec.kubernetes.sshKnownHostsConfigMapRef.name", "Known Hosts", SHAPE),
        polecat("/spec/kubernetes/resources", json!({"limits": {"cpu": "two"}}), "spec.kubernetes.resources.limits.cpu", "\"two\"", SHAPE),
        polecat("/spec/kubernetes/resources", json!({"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}), "spec.kubernetes.resources", "cpu 2 must", "must not exceed its limit 500m"),
        polecat("/spec/resources", json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}), "spec.resources", "memory 2Gi must", "must not exceed its limit 1Gi"),
        polecat("/spec/resources", json!({"requests": {"memory": 2}, "limits": {"memory": 1}}), "spec.resources", "memory 2 must", "must not exceed its limit 1"),
        polecat("/spec/ttlSecondsAfterFinished", json!(-1), "spec.ttlSecondsAfterFinished", "-1", "greater than or equal to 0"),
        polecat("/spec/maxIdleSeconds", json!(-1), "spec.maxIdleSeconds", "-1", "greater than or equal to 0"),
        polecat("/spec/budget", json!({"tokens": 0}), "spec.budget.tokens", "0", "greater than or equal to 1"),
        polecat("/spec/budget", json!({"usd": -1.5}), "spec.budget.usd", "-1.5", "greater than or equal to"),
        polecat("/spec/budget", json!({"usd": 0}), "spec.budget.usd", "0", "must be more than 0"),
        polecat("/spec/budget", json!({"usd": 2_000_000}), "spec.budget.usd", "2000000", "less than or equal to"),
        polecat("/spec/agentConfig", json!({"provider": "bedrock"}), "spec.agentConfig.provider", "\"bedrock\"", "supported values: \"litellm\", \"anthropic\", \"openai\", \"ollama\""),
        polecat("/spec/agentConfig", json!({"model": "two words"}), "spec.agentConfig.model", "two words", SHAPE),
        polecat("/spec/agentConfig", json!({"model": "--dangerous"}), "spec.agentConfig.model", "--dangerous", SHAPE),
        polecat("/spec/agentConfig", json!({"modelProvider": {"endpoint": "ftp://models"}}), "spec.agentConfig.modelProvider.endpoint", "ftp://models", SHAPE),
        polecat("/spec/agentConfig", json!({"modelProvider": {"endpoint": "http://user:pw@models"}}), "spec.agentConfig.modelProvider.endpoint", "http://user:pw@models", SHAPE),
        polecat("/spec/agentConfig", json!({"modelProvider": {"endpoint": "https://models/?key=1"}}), "spec.agentConfig.modelProvider.endpoint", "https://models/?key=1", SHAPE),
        polecat("/spec/agentConfig", json!({"env": [{"value": "x"}]}), "spec.agentConfig.env[0].name", "", "Required value"),
        polecat("/spec/agentConfig", json!({"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]}), "spec.agentConfig.env[0]", "env KEY must", "must not take a value from a Secret"),
        polecat("/spec/agentConfig", json!({"command": "claude"}), "spec.agentConfig.command", "string", "must be of type array"),
        polecat("/metadata/name", long(56), "metadata.name", "aaaaaaaaaaaaaaaa", "longer than 55 characters"),
    ]
}

/// Fields that no definition has: where, and how the message names them.
pub const UNKNOWN: [(&str, &str); 6] = [
    ("/spec/tasks", "spec.tasks"),
    ("/spec/task/descriptoin", "spec.task.descriptoin"),
    ("/spec/kubernetes/hostNetwork", "spec.kubernetes.hostNetwork"),
    ("/spec/kubernetes/nodeName", "spec.kubernetes.nodeName"),
    (
        "/spec/kubernetes/gitSecretRef/key",
        "spec.kubernetes.gitSecretRef.key",
    ),
    ("/surprise", "surprise"),
];

impl Case {
    /// What of field, value and rule `message` does not name.
    #[must_use]
    pub fn missing_in(&self, message: &str) -> Vec<&str> {
        let parts = [self.field, &self.value, self.rule];
        parts.into_iter().filter(|part| !message.contains(part)).collect()
    }

    /// The invalid object.
    #[must_use]
    pub fn object(&self) -> Value {
        let mut object = match self.kind {
            Kind::Rig => parse(RIG),
            Kind::Polecat => parse(POLECAT),
        };
        for (at, put) in &self.changes {
            change(&mut object, at, put);
        }
        object
    }
}

/// Puts a value where a JSON pointer says; null takes the field out.
#[expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a case of the table that points nowhere fails its test"
)]
pub fn change(object: &mut Value, at: &str, put: &Value) {
    let (parent, key) = at.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if put.is_null() {
        parent.remove(key).unwrap();
    } else {
        parent.insert(key.to_owned(), put.clone());
    }
}
