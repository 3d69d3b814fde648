use gastown_api::evidence::{Evidence, MAX_BYTES};
use gastown_operator::parsers::{PodView, evidence_in_log, judged};
use serde_json::{Value, json};

use super::{first, is_printable};

const ATTEMPT: i32 = 1;

/// The words of a pod that ended: those of the broker, of the agent's container, of `git-init` and of the pod, and the
/// broker's log, between zero bytes. The first byte is how the agent ended, the second what else happened.
pub fn evidence(data: &[u8]) {
    let (exit, data) = first(data);
    let (happened, data) = first(data);
    let mut words = data.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut next = || words.next().unwrap_or_default().into_owned();
    let (broker, claude, init, pod, log) = (next(), next(), next(), next(), next());
    let view = |claude: &str| view(exit, happened, [&broker, claude, &init, &pod]);

    let ended = view(&claude);
    let judgement = judged(&ended, ATTEMPT, None);
    assert!(is_printable(&judgement.message), "{judgement:?}");
    if judgement.delivered {
        let said: Evidence = serde_json::from_str(broker.trim()).expect("Done is granted by evidence alone");
        assert_eq!(exit, 0, "an agent that failed is not Done");
        assert!(i64::from(said.attempt) == i64::from(ATTEMPT) && said.head.is_some());
        assert_ne!(said.head, said.base, "what changed nothing is not Done");
    }
    assert_eq!(
        judgement.delivered,
        judged(&view(""), ATTEMPT, None).delivered,
        "the agent's container has no say in what is Done"
    );
    if let Some(heard) = evidence_in_log(&log, ATTEMPT) {
        assert!(heard.to_json().len() <= MAX_BYTES);
    }
}

/// A pod as the kubelet reports it.
fn view(exit: u8, happened: u8, [broker, claude, init, pod]: [&str; 4]) -> PodView {
    let is = |bit: u8| happened & (1 << bit) != 0;
    let killed = |bit| if is(bit) { "OOMKilled" } else { "Completed" };
    let time = if is(0) {
        "9999-12-30T22:00:00Z"
    } else {
        "2026-01-01T00:00:00Z"
    };
    let ended = |exit: u8, reason: &str, message: &str| json!({"terminated": {"exitCode": exit, "reason": reason, "message": message, "finishedAt": time}});
    let broker = if is(1) {
        json!({"name": "broker", "state": {"running": {"startedAt": time}}, "lastState": ended(1, "Error", broker)})
    } else {
        json!({"name": "broker", "state": ended(0, "Completed", broker)})
    };
    let keeper = json!({"name": "keeper", "state": ended(u8::from(is(2)), killed(3), "")});
    let init = json!({"name": "git-init", "state": ended(u8::from(is(4)), "Error", init)});
    let mut agents = vec![json!({"name": "claude", "state": ended(exit, killed(5), claude)})];
    if is(6) {
        agents.clear();
    }
    let mut status = json!({
        "phase": if exit == 0 { "Succeeded" } else { "Failed" },
        "message": pod,
        "initContainerStatuses": [broker, keeper, init],
        "containerStatuses": agents,
    });
    if is(7) {
        status["reason"] = Value::from("Evicted");
    }
    let view = json!({"metadata": {"name": "polecat-a", "uid": "u"}, "status": status});
    serde_json::from_value(view).expect("a pod's status can be read")
}
