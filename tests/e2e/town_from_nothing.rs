//! The README's quick start, from a cluster that knows nothing of us: chart, plugin and git URL are local ones, the rest
//! is typed as it stands there, and one line more, which `sling` itself prints.
//!
//! Tests of this file take the chart away from the other tests and bring it back, so they run alone.

mod documents;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures::FutureExt as _;
use gastown_tests::documents::to_type;
use gastown_tests::harness::shell::Ran;
use gastown_tests::harness::{Keys, Remote, Shell, World, node, with_quiet_world, within};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The page that a reader sees first.
const README: &str = include_str!("../../README.md");

/// The namespace of the README.
const NAMESPACE: &str = "gastown-system";

/// Lets the chart's polecats use the scripted model of the namespace, and nothing else.
const MODEL: &str = "--set modelEndpoints={http://testbed:8080} --set modelKeysOverHttp=true";

/// `helm install` of the README, with the images that were given to the cluster and values of tests.
fn install(values: &str) -> String {
    let line = to_type(README, "Install")
        .into_iter()
        .find(|line| line.starts_with("helm install"))
        .unwrap();
    let image = |value: &str, variable: &str| {
        let reference = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test e2e`"));
        let (repository, digest) = reference.split_once('@').unwrap();
        format!("--set-string {value}.repository={repository},{value}.digest={digest}")
    };
    format!(
        "{line} --values tests/testbed/values.yaml {} {} {values} --timeout 120s",
        image("image", "GASTOWN_OPERATOR_IMAGE"),
        image("agentImage", "GASTOWN_AGENT_IMAGE"),
    )
}

/// Takes everything of ours off the cluster: objects while the operator still ends them, chart, definitions, namespace.
async fn sweep(shell: &Shell) {
    for line in [
        "kubectl delete polecats,rigs --all --all-namespaces --wait --timeout=120s".to_owned(),
        format!("helm uninstall gastown-operator --namespace {NAMESPACE} --wait"),
        "kubectl delete crd polecats.gastown.gastown.io rigs.gastown.gastown.io --wait".to_owned(),
        format!("kubectl delete namespace {NAMESPACE} --wait"),
    ] {
        // What a failed test did not come to make cannot be deleted.
        let _ = shell.run(&line).await;
    }
    for what in [
        "crd polecats.gastown.gastown.io",
        &format!("namespace {NAMESPACE}"),
    ] {
        let _ = shell
            .run(&format!("kubectl get {what}"))
            .await
            .exits(1)
            .says("NotFound");
    }
}

/// The git host of the testbed at an address that a laptop reaches and a pod reaches: a port of the node.
async fn outside(world: &World) -> String {
    let service: Service = world
        .create(json!({
            "metadata": {"name": "testbed-outside"},
            "spec": {
                "type": "NodePort",
                "selector": {"app.kubernetes.io/name": "testbed"},
                "ports": [{"name": "ssh", "port": 22, "targetPort": 2222}],
            },
        }))
        .await;
    let port = service.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
    let address = node::run("hostname --ip-address").await;
    let mut addresses = address.split_whitespace();
    let address = addresses.find(|address| address.contains('.')).unwrap();
    within(
        Duration::from_mins(1),
        "the port of the node leads to the git host",
        async || {
            let connected = TcpStream::connect(format!("{address}:{port}")).await;
            connected.map(drop).map_err(|error| error.to_string())
        },
    )
    .await;
    format!("ssh://git@{address}:{port}/srv/git/calculator.git")
}

/// `~/.claude` as a login of Claude Code leaves it.
fn log_in(shell: &Shell, keys: &Keys) {
    let credentials =
        json!({"claudeAiOauth": {"accessToken": keys.model, "expiresAt": 4_102_444_800_000_u64}});
    shell.write(".claude/.credentials.json", credentials.to_string());
    shell.write(".claude/settings.json", "{}");
    shell.write(".ssh/deploy-key", &keys.ssh);
}

/// The command that `sling` says is missing.
fn remedy(said: &str) -> String {
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("kubectl gt auth git"));
    line.unwrap_or_else(|| panic!("sling names no `kubectl gt auth git`:\n{said}"))
        .to_owned()
}

async fn quick_start(shell: &Shell, world: &World) {
    let run = async |line: &str| shell.run(line).await.succeeds();
    let _ = run(&install(MODEL)).await;
    let remote = world.testbed().await;
    let url = outside(world).await;
    log_in(shell, &world.keys);
    let _ = run("kubectl plugin list").await.says("/kubectl-gt");

    let _ = run(&format!(
        "kubectl gt rig create my-project \\\n  --git-url {url} \\\n  --prefix mp \\\n  -n gastown-system"
    ))
    .await;
    let _ = shell
        .run_in_terminal("kubectl gt auth sync -n gastown-system", "y\n")
        .await
        .succeeds()
        .says(".credentials.json");
    let slung = run("kubectl gt sling issue-123 my-project --name furiosa -n gastown-system").await;
    let remedy = remedy(&slung.stderr);
    assert_eq!(
        remedy,
        "kubectl gt auth git --rig my-project --key ~/.ssh/deploy-key -n gastown-system"
    );
    let _ = shell
        .run_in_terminal(&remedy, "n\n")
        .await
        .exits(8)
        .says("not trusted");
    let _ = shell
        .run_in_terminal(&remedy, "y\n")
        .await
        .succeeds()
        .says("SHA256:")
        .says("known_hosts");

    let logs = run("kubectl gt polecat logs my-project/furiosa -f -n gastown-system").await;
    streams(&logs);
    delivered(shell, &remote).await;
    completes(shell).await;
    same_object(shell).await;
}

/// What the agent says and does, and how it ended.
fn streams(logs: &Ran) {
    for part in [
        "[Bash]",
        "[Edit]",
        "[says] Fixed add()",
        "[tokens]",
        "[end] the agent is done",
    ] {
        assert!(logs.stdout.contains(part), "{part:?} is not in\n{}", logs.stdout);
    }
    assert!(logs.stderr.contains("furiosa is Done"), "{}", logs.stderr);
    for part in ["[end]", "[says] Fixed add()"] {
        assert_eq!(logs.stdout.matches(part).count(), 1, "{part:?} comes once");
    }
}

async fn delivered(shell: &Shell, remote: &Remote) {
    let line = "kubectl gt polecat status my-project/furiosa -n gastown-system -o 'jsonpath={.status.phase} {.status.branch} {.status.head}'";
    let shown = shell.run(line).await.succeeds().stdout;
    let words: Vec<_> = shown.split_whitespace().collect();
    let [phase, branch, head] = words[..] else {
        panic!("{shown}");
    };
    assert_eq!(phase, "Done");
    assert_eq!(remote.sha(&format!("refs/heads/{branch}")).await, head);
    let listed = shell
        .run("kubectl gt polecat list -o json -n gastown-system")
        .await
        .succeeds();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(
        listed[0]["metadata"]["name"], "furiosa",
        "as `jq '.[] | .metadata.name'` reads it"
    );
    let _ = shell
        .run("kubectl gt rig status my-project -o yaml")
        .await
        .succeeds()
        .says("kind: Rig");
    let _ = shell.run("kubectl gt status").await.succeeds().says("my-project");
    let _ = shell
        .run("kubectl gt auth status -n gastown-system")
        .await
        .succeeds();
    // The chart's definitions are the plugin's own, also once helm or kubectl have read them, as YAML 1.1.
    let examined = shell.run("kubectl gt doctor -n gastown-system").await.succeeds();
    for kind in gastown_api::kinds::kinds() {
        let whose = format!("{}.gastown.gastown.io is the one of this plugin", kind.plural);
        assert!(examined.stdout.contains(&whose), "{}", examined.stdout);
    }
}

/// What kubectl asks for at `kubectl gt … <TAB>`.
async fn completes(shell: &Shell) {
    for (words, wanted) in [
        ("gt pole", "polecat"),
        ("gt rig status my", "my-project"),
        (
            "gt polecat logs -n gastown-system my-project/",
            "my-project/furiosa",
        ),
    ] {
        let ran = shell.run(&format!("kubectl __complete {words}")).await.succeeds();
        let found = ran
            .stdout
            .lines()
            .any(|line| line.split('\t').next() == Some(wanted));
        assert!(found, "{words}: {ran:?}");
    }
}

/// What is printed by a dry run and applied is what would have been slung.
/// kubectl reads YAML 1.1, where a plain `yes` is no text.
async fn same_object(shell: &Shell) {
    let sling = |name: &str, more: &str| {
        format!(
            "kubectl gt sling issue-124 my-project --name {name} -m yes --budget 5usd --branch work/{name} {more} -n gastown-system"
        )
    };
    let _ = shell.run(&sling("nux", "")).await.succeeds();
    let applied = format!(
        "set -o pipefail; {} | kubectl apply -f -",
        sling("slit", "--dry-run -o yaml")
    );
    let _ = shell.run(&applied).await.succeeds().says("created");
    let object = async |name: &str| {
        let shown = shell
            .run(&format!("kubectl get polecat {name} -n gastown-system -o json"))
            .await
            .succeeds();
        let object: Value = serde_json::from_str(&shown.stdout.replace(name, "NAME")).unwrap();
        [object["spec"].clone(), object["metadata"]["name"].clone()]
    };
    assert_eq!(object("nux").await, object("slit").await);
    let _ = shell
        .run("kubectl gt polecat nuke my-project/nux my-project/slit --wait -n gastown-system")
        .await
        .succeeds();
    let _ = shell
        .run("kubectl gt polecat status my-project/nux -n gastown-system")
        .await
        .succeeds()
        .says("Terminated");
}

/// Runs `test` on a cluster that has nothing of ours, in the namespace of the README; then other tests have their chart again.
async fn from_nothing(name: &str, test: impl AsyncFnOnce(&Shell, &World)) {
    with_quiet_world(name, async |aside: &World| {
        let shell = Shell::open();
        sweep(&shell).await;
        let world = World {
            client: aside.client.clone(),
            namespace: NAMESPACE.to_owned(),
            keys: Keys::make(NAMESPACE).await,
        };
        let outcome = AssertUnwindSafe(test(&shell, &world)).catch_unwind().await;
        if outcome.is_err() {
            eprintln!("{}", world.shown().await);
        }
        sweep(&shell).await;
        within(
            Duration::from_mins(2),
            "the chart is back for other tests",
            async || {
                let ran = shell.run(&install("")).await;
                if ran.code == Some(0) {
                    Ok(())
                } else {
                    Err(ran.stderr)
                }
            },
        )
        .await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    })
    .await;
}

#[tokio::test]
async fn the_quick_start_goes_from_nothing_to_done() {
    from_nothing("quick-start", quick_start).await;
}
