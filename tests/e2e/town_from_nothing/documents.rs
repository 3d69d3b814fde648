//! Everything that README, the chart's notes, `AGENT_INSTRUCTIONS`, `FRICTION_POINTS` and templates tell a reader to type, typed as
//! it stands, from an empty cluster to an empty cluster.
//!
//! The place differs in three things: the repository's address, its host's key, which nobody publishes, and the images, which
//! the cluster has. The project tells any agent what the scripted model has it do.

use std::time::Duration;

use gastown_api::condition::PARKED;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::documents::{inline, to_type, yaml};
use gastown_tests::harness::shell::Ran;
use gastown_tests::harness::{Remote, Shell, World, condition, within};
use serde_json::Value;

use super::{MODEL, README, from_nothing, install, log_in, outside};

const AGENT_INSTRUCTIONS: &str = include_str!("../../../AGENT_INSTRUCTIONS.md");
const FRICTION_POINTS: &str = include_str!("../../../FRICTION_POINTS.md");

/// The repository of the documents.
const REPOSITORY: &str = "git@github.com:org/repo.git";

/// What they suppose of it: a bead, and here a script for agents that have another task.
const BEAD: &str = r#"{"id":"mp-a1b2","title":"add() subtracts","description":"Make `python3 -m unittest` pass.","status":"open","priority":1,"issue_type":"bug","created_at":"2026-01-05T09:00:00Z","updated_at":"2026-01-05T09:00:00Z"}"#;
const CLAUDE_MD: &str = "What you do here is [[script:fix-bug]].";

/// The commands of `FRICTION_POINTS` that are whole, in an order in which each has what it needs, with their exit codes.
const FRICTION: [(&str, i32); 11] = [
    (
        "kubectl config set-context --current --namespace gastown-system",
        0,
    ),
    ("kubectl plugin list", 0),
    ("kubectl explain polecat.spec", 0),
    ("kubectl apply --server-side -f helm/gastown-operator/crds/", 0),
    ("kubectl gt status", 0),
    ("kubectl gt doctor", 0),
    ("kubectl gt rig doctor RIG", 0),
    ("kubectl gt auth sync", 0),
    ("kubectl gt auth sync --remove ANTHROPIC_API_KEY", 0),
    ("ssh-keygen -t ed25519 -N '' -f deploy-key", 0),
    ("kubectl gt uninstall", 0),
];

/// Who reads the documents and types.
struct Reader<'a> {
    shell: &'a Shell,
    world: &'a World,
    remote: Remote,
    url: String,
    /// The host's line in `known_hosts`, and the key's fingerprint.
    host_key: String,
    fingerprint: String,
}

impl<'a> Reader<'a> {
    /// Starts the git host and the model, and gives the reader keys, a login and a checkout.
    async fn arrive(shell: &'a Shell, world: &'a World) -> Self {
        let remote = world.testbed().await;
        let url = outside(world).await;
        log_in(shell, &world.keys);
        shell.write(".ssh/deploy-key", &world.keys.ssh);
        shell.write("anthropic-key", &world.keys.model);
        let (_, key) = world.keys.known_hosts.split_once(' ').unwrap();
        let place = url.strip_prefix("ssh://git@").unwrap();
        let (place, _) = place.split_once('/').unwrap();
        let (host, port) = place.split_once(':').unwrap();
        let host_key = format!("[{host}]:{port} {}\n", key.trim());
        shell.write(".ssh/host-keys", &host_key);
        let shown = shell.run("ssh-keygen -l -f ~/.ssh/host-keys").await.succeeds();
        let fingerprint = shown.stdout.split(' ').nth(1).unwrap().to_owned();
        let reader = Self {
            shell,
            world,
            remote,
            url,
            host_key,
            fingerprint,
        };
        reader.check_out().await;
        reader.prepare_project().await;
        reader
    }

    /// A folder with what the documents name, and a kubeconfig of the reader's own, whose namespace changes.
    async fn check_out(&self) {
        let line = "mkdir -p ~/.kube ~/checkout && cp \"$KUBECONFIG\" ~/.kube/config && ln -s \"$PWD/helm\" \"$PWD/tests\" ~/checkout/";
        let _ = self.shell.run(line).await.succeeds();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = self.filled_in(&std::fs::read_to_string(&path).unwrap());
            let name = path.file_name().unwrap().to_str().unwrap();
            self.shell.write(&format!("checkout/templates/{name}"), text);
        }
    }

    /// A template with what it asks for.
    fn filled_in(&self, text: &str) -> String {
        let (begin, end) = (
            "    -----BEGIN OPENSSH PRIVATE KEY-----",
            "    -----END OPENSSH PRIVATE KEY-----",
        );
        let mut text = text
            .replace(REPOSITORY, &self.url)
            .replace("sk-ant-REPLACE-WITH-YOUR-KEY", &self.world.keys.model)
            .replace("  # known_hosts: |\n", "  known_hosts: |\n")
            .replace(
                "  #   git.example.com ssh-ed25519 AAAA…",
                &format!("    {}", self.host_key.trim()),
            )
            .replace("\n    github.com\n", &format!("\n    {}\n", self.host()));
        if let (Some(from), Some(to)) = (text.find(begin), text.find(end)) {
            let lines = self.world.keys.ssh.lines().map(|line| format!("    {line}\n"));
            text.replace_range(from..to + end.len(), lines.collect::<String>().trim_end());
        }
        text
    }

    fn host(&self) -> &str {
        let (_, rest) = self.url.split_once('@').unwrap();
        rest.split(':').next().unwrap()
    }

    async fn prepare_project(&self) {
        self.shell.write("bead", format!("{BEAD}\n"));
        self.shell.write("notes", format!("{CLAUDE_MD}\n"));
        let line = format!(
            "set -e; cd; export GIT_SSH_COMMAND='ssh -F none -i $HOME/.ssh/deploy-key -o UserKnownHostsFile=$HOME/.ssh/host-keys'; \
             git clone --quiet {} project; cd project; cat ../bead >> .beads/issues.jsonl; cp ../notes CLAUDE.md; git add .; \
             git -c user.name=Furiosa -c user.email=furiosa@citadel.invalid commit --quiet -m Prepare; git push --quiet origin HEAD:main",
            self.url
        );
        let _ = self.shell.run(&line).await.succeeds();
    }

    /// The line as it is typed here.
    fn here(&self, line: &str) -> String {
        let line = line.replace(REPOSITORY, &self.url).replace(" RIG", " my-project");
        if line.starts_with("kubectl create secret generic git-creds") {
            return format!("{line} --from-file=known_hosts=$HOME/.ssh/host-keys");
        }
        line
    }

    /// In the checkout, and with the reader's own kubeconfig.
    fn there(line: &str) -> String {
        eprintln!("$ {line}");
        format!("export KUBECONFIG=$HOME/.kube/config; cd ~/checkout && {line}")
    }

    /// Types a line where nobody answers questions.
    async fn types(&self, line: &str) -> Ran {
        self.shell.run(&Self::there(&self.here(line))).await
    }

    /// Types a line; one about credentials in a terminal, where the reader agrees.
    async fn agrees_if_asked(&self, line: &str) -> Ran {
        if !line.contains(" auth ") {
            return self.types(line).await;
        }
        let line = Self::there(&self.here(line));
        self.shell.run_in_terminal(&line, "y\n").await
    }

    /// A cluster with the chart alone.
    async fn begins_anew(&self) {
        for line in [
            "kubectl delete polecats --all -n gastown-system --timeout=120s",
            "kubectl delete rigs --all",
            "kubectl delete secrets git-creds claude-creds -n gastown-system --ignore-not-found",
        ] {
            let _ = self.types(line).await.succeeds();
        }
    }

    /// Keeps what a command shows in a terminal; `cargo xtask picture docs/pictures/NAME.svg -- cat FILE` draws it.
    async fn draws(&self, name: &str, line: &str, code: i32) {
        let shown = self
            .shell
            .run_in_terminal(&Self::there(line), "")
            .await
            .exits(code);
        let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/pictures");
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(format!("{folder}/{name}.txt"), shown.stdout).unwrap();
    }

    async fn is_done(&self, polecat: &str) {
        let polecat = self.world.ends(polecat, PolecatPhase::Done).await;
        let status = polecat.status.unwrap();
        let branch = status.branch.unwrap();
        let pushed = self.remote.sha(&format!("refs/heads/{branch}")).await;
        assert_eq!(status.head.as_deref(), Some(pushed.as_str()));
    }

    /// Waits until every polecat is Done, of which there is at least one.
    async fn all_are_done(&self) {
        let listed = self
            .types("kubectl get polecats -n gastown-system -o 'jsonpath={.items[*].metadata.name}'")
            .await
            .succeeds();
        assert!(!listed.stdout.is_empty());
        for name in listed.stdout.split_whitespace() {
            self.is_done(name).await;
        }
    }
}

/// The chart, as README and `AGENT_INSTRUCTIONS` have it; gives what helm printed.
async fn installs(shell: &Shell) -> String {
    let printed = shell.run(&install(MODEL)).await.succeeds().stdout;
    let begins = |line: &&String| !line.starts_with("kubectl gt");
    let of_agents = to_type(AGENT_INSTRUCTIONS, "1. Install");
    let of_people = to_type(README, "Install");
    for line in of_agents
        .iter()
        .filter(begins)
        .filter(|line| !line.contains("--to "))
    {
        assert!(of_people.contains(line), "README has no {line:?}");
    }
    for line in of_agents.iter().chain(&of_people).filter(|line| !begins(line)) {
        let _ = shell.run(line).await.succeeds();
    }
    printed
}

/// README "Use": the commands, then the manifest.
async fn use_of_the_readme(reader: &Reader<'_>) {
    for line in to_type(README, "Use") {
        let _ = reader.agrees_if_asked(&line).await.succeeds();
    }
    reader.is_done("furiosa").await;
    let logs = "kubectl gt polecat logs my-project/furiosa -f --tail 26 -n gastown-system";
    reader.draws("logs", logs, 0).await;
    let manifest = yaml(README, "Use").unwrap().replace(REPOSITORY, &reader.url);
    reader.shell.write("checkout/my-task.yaml", manifest);
    let _ = reader.types("kubectl apply -f my-task.yaml").await.succeeds();
    reader.is_done("my-task").await;
}

/// The lines to type of the notes that helm prints: those with the plugin, and those without it.
fn notes(printed: &str) -> (Vec<&str>, Vec<&str>) {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| line.starts_with("kubectl "));
    let (with_plugin, without): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("kubectl gt "));
    assert!(with_plugin.len() >= 5 && without.len() == 2, "{printed}");
    (with_plugin, without)
}

async fn notes_with_the_plugin(reader: &Reader<'_>, lines: &[&str]) {
    reader.begins_anew().await;
    for line in lines {
        let _ = reader.agrees_if_asked(line).await.succeeds();
    }
    reader.all_are_done().await;
}

async fn notes_without_the_plugin(reader: &Reader<'_>, lines: &[&str]) {
    reader.begins_anew().await;
    for line in lines {
        let _ = reader.types(line).await.succeeds();
    }
    let apply = "kubectl apply -f templates/rig.yaml -f templates/polecat-minimal.yaml";
    let _ = reader.types(apply).await.succeeds();
    reader.is_done("my-task").await;
    let gone = "kubectl delete polecats --all -n gastown-system --timeout=120s";
    let _ = reader.types(gone).await.succeeds();
}

/// `FRICTION_POINTS`, with the secrets that the notes make without the plugin: the login that is uploaded is hidden by a key
/// until that is removed.
async fn friction(reader: &Reader<'_>) {
    let named = inline(FRICTION_POINTS);
    for (line, code) in FRICTION {
        assert!(named.contains(&line), "FRICTION_POINTS has no `{line}`");
        let ran = reader.agrees_if_asked(line).await.exits(code);
        if line == "kubectl gt auth sync" {
            let _ = ran.says("--remove");
        }
    }
    let _ = reader
        .types("kubectl apply -f templates/polecat-minimal.yaml")
        .await
        .succeeds();
    reader.is_done("my-task").await;
}

/// Secrets, rig and the polecat with every option.
async fn templates(reader: &Reader<'_>) {
    reader.begins_anew().await;
    for file in [
        "secret-git-ssh",
        "secret-claude-creds",
        "rig",
        "polecat-kubernetes",
    ] {
        let line = format!("kubectl apply -f templates/{file}.yaml");
        let _ = reader.types(&line).await.succeeds();
    }
    reader.is_done("my-task").await;
}

/// `AGENT_INSTRUCTIONS`: nobody answers a question, and what the page says of each command holds.
async fn instructions(reader: &Reader<'_>) {
    reader.begins_anew().await;
    for line in to_type(AGENT_INSTRUCTIONS, "2. Prepare a project once") {
        // As the page says for a host other than the three whose keys are published.
        let more = if line.contains(" auth git ") {
            format!(" --fingerprint {}", reader.fingerprint)
        } else {
            String::new()
        };
        let _ = reader.types(&format!("{line}{more}")).await.succeeds();
    }
    let mut lines = 0;
    for line in to_type(AGENT_INSTRUCTIONS, "3. Dispatch work and see its result") {
        let ran = reader.types(&line).await.succeeds();
        does_as_said(reader, &line, &ran).await;
        lines += 1;
    }
    assert!(lines > 10);
    for line in to_type(AGENT_INSTRUCTIONS, "4. Manifests instead of commands") {
        let _ = reader.types(&line).await.succeeds();
    }
    let applied = std::fs::read_to_string(reader.shell.home().join("checkout/polecat.yaml")).unwrap();
    let applied: Value = serde_yaml_ng::from_str(&applied).unwrap();
    reader
        .is_done(applied["metadata"]["name"].as_str().unwrap())
        .await;
}

async fn does_as_said(reader: &Reader<'_>, line: &str, ran: &Ran) {
    let value = || serde_json::from_str::<Value>(&ran.stdout).unwrap();
    let phase = |polecat: &Polecat| polecat.status.as_ref().and_then(|status| status.phase);
    if line.contains("--wait=done -o json") {
        let status = &value()["status"];
        assert_eq!(status["phase"], "Done");
        let branch = format!("refs/heads/{}", status["branch"].as_str().unwrap());
        assert_eq!(reader.remote.sha(&branch).await, status["head"].as_str().unwrap());
    } else if line.contains("jsonpath={range") {
        assert!(ran.stdout.lines().any(|name| name == "furiosa"), "{ran:?}");
    } else if line.contains("{.status.branch}") {
        let branch = format!("refs/heads/{}", ran.stdout.trim());
        drop(reader.remote.sha(&branch).await);
    } else if line.contains(" | jq ") {
        assert!(
            ran.stdout.contains("\"furiosa\"") && ran.stdout.contains("\"Done\""),
            "{ran:?}"
        );
    } else if line.contains("logs") && line.contains("-o json") {
        for line in ran.stdout.lines() {
            assert!(serde_json::from_str::<Value>(line).unwrap().is_object(), "{line}");
        }
    } else if line.contains("costs") {
        drop(value());
    } else if line.contains("polecat idle") {
        let idle = |polecat: &Polecat| phase(polecat) == Some(PolecatPhase::Idle);
        let _ = reader.world.polecat_until("nux", "it has stopped", idle).await;
    } else if line.contains("polecat resume") {
        let works =
            |polecat: &Polecat| matches!(phase(polecat), Some(PolecatPhase::Working | PolecatPhase::Done));
        let _ = reader.world.polecat_until("nux", "it goes on", works).await;
    } else if line.contains("nuke") {
        let name = if line.contains("--all") { "nux" } else { "furiosa" };
        let ended = |polecat: &Polecat| phase(polecat) == Some(PolecatPhase::Terminated);
        let _ = reader.world.polecat_until(name, "it is ended", ended).await;
    }
}

/// A town in which something is at work, and something to repair.
async fn town_with_troubles(reader: &Reader<'_>) {
    let half_way = include_str!("../../scripts/half-way.yaml");
    reader.remote.put_script("fix-bug", half_way).await;
    let task = "-m \"Fix the flaky test in tests/api\" -n gastown-system";
    for line in [
        format!("kubectl gt sling my-project/ace {task}"),
        format!("kubectl gt sling my-project/slit --git-secret git-creds-lost {task}"),
        "kubectl gt sling mp-9z9z my-project --name dag -n gastown-system".to_owned(),
    ] {
        let _ = reader.types(&line).await.succeeds();
    }
    let _ = reader.world.log_holds("ace", "claude", "half way there").await;
    let _ = reader.world.ends("dag", PolecatPhase::Stuck).await;
    let parked = |polecat: &Polecat| condition(polecat, PARKED).is_some_and(|(holds, ..)| holds);
    let _ = reader.world.polecat_until("slit", "it is parked", parked).await;
    reader.draws("status", "kubectl gt status", 0).await;
    reader
        .draws("doctor", "kubectl gt doctor -n gastown-system", 11)
        .await;
}

/// Ends a polecat with changes that it has not committed, and types what that prints; then the cluster has nothing of ours.
async fn uninstalls(reader: &Reader<'_>) {
    let named = inline(AGENT_INSTRUCTIONS);
    for line in ["kubectl gt uninstall", "kubectl gt uninstall --end --yes"] {
        assert!(named.contains(&line), "AGENT_INSTRUCTIONS has no `{line}`");
    }
    let _ = reader.types("kubectl gt uninstall").await.exits(11).says("ace");
    let ended = reader.types("kubectl gt uninstall --end --yes").await.succeeds();
    let left = reader.types("kubectl get polecats -A -o name").await.succeeds();
    assert_eq!(left.stdout.trim(), "");
    let refs = reader.remote.refs().await;
    let saved = refs.keys().any(|name| name.starts_with("refs/gastown/wip/ace/"));
    assert!(
        saved,
        "the changes of ace are not on the remote: {:?}",
        refs.keys()
    );
    let (_, next) = ended.stdout.split_once("type:\n").unwrap();
    assert!(
        next.contains("helm uninstall gastown-operator -n gastown-system"),
        "{next}"
    );
    for line in next.lines() {
        let _ = reader.types(line.trim()).await.succeeds();
    }
    let what = "crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,deployments,pods";
    let ours = format!(
        "kubectl get {what} -A -o name -l app.kubernetes.io/instance=gastown-operator; kubectl get crd -o name | grep gastown"
    );
    within(Duration::from_mins(1), "nothing of ours is left", async || {
        let left = reader.types(&ours).await.stdout;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn the_documents_can_be_typed_from_an_empty_cluster_to_an_empty_cluster() {
    from_nothing("documents", async |shell: &Shell, world: &World| {
        let printed = installs(shell).await;
        let (with_plugin, without) = notes(&printed);
        let reader = Reader::arrive(shell, world).await;
        use_of_the_readme(&reader).await;
        notes_with_the_plugin(&reader, &with_plugin).await;
        templates(&reader).await;
        instructions(&reader).await;
        notes_without_the_plugin(&reader, &without).await;
        friction(&reader).await;
        town_with_troubles(&reader).await;
        uninstalls(&reader).await;
    })
    .await;
}
