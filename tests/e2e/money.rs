//! What model calls cost, who is asked, and what a budget holds.

use std::time::SystemTime;

use gastown_api::condition::PARKED;
use gastown_api::labels;
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{PATIENCE, World, condition, node, polecat, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::without_grace::delete_by_force;

#[tokio::test]
async fn the_repositorys_settings_lead_no_agent_past_the_broker() {
    with_world("led-astray", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world
            .secret("openai", &[("OPENAI_API_KEY", &world.keys.model)])
            .await;
        world.sling(polecat("planter", "plant-settings")).await;
        let planter = world.ends("planter", PolecatPhase::Done).await;
        let branch = planter.status.unwrap().branch.unwrap();
        let on_branch = |name: &str, script: &str| {
            let mut object = polecat(name, script);
            object["spec"]["kubernetes"]["gitBranch"] = json!(branch);
            object["spec"]["budget"] = json!({"tokens": 1_000_000, "usd": 20});
            object
        };
        let claude = on_branch("claude", "fix-bug");
        let mut codex = on_branch("codex", "codex-functions");
        codex["spec"]["agent"] = json!("codex");
        codex["spec"]["agentConfig"] = json!({
            "provider": "openai", "model": "gpt-5.5", "modelProvider": {"endpoint": "http://testbed:8080"},
        });
        codex["spec"]["kubernetes"]["claudeCredsSecretRef"]["name"] = json!("openai");
        codex["spec"]["budget"] = json!({"tokens": 1_000_000});
        let ends = async |object: serde_json::Value| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            world.sling(object).await;
            world.ends(&name, PolecatPhase::Done).await
        };
        let (claude, codex) = tokio::join!(ends(claude), ends(codex));
        for polecat in [claude, codex] {
            let usage = polecat.status.unwrap().usage.unwrap();
            assert!(usage.requests > 1, "{usage:?}");
        }
        for request in remote.model_requests().await {
            assert_eq!(request["keyFits"], json!(true), "{request}");
            assert_eq!(request["body"].get("service_tier"), None, "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn work_without_a_metered_call_is_not_done_where_there_is_a_budget() {
    with_world("unmetered", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let script = "echo x > made.txt && git add made.txt && git commit --quiet --message Made";
        let mut limited = stand_in("limited", script);
        limited["spec"]["budget"] = json!({"tokens": 100_000});
        world.sling(limited).await;
        world.sling(stand_in("unlimited", script)).await;
        let (_, message) = world.is_stuck("limited", "NothingMetered").await;
        assert!(message.contains("without a single model call"), "{message}");
        world.ends("unlimited", PolecatPhase::Done).await;
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_fails_for_a_while_parks_the_pod_and_the_agent_never_knows() {
    with_world("server-error", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world.sling(polecat("outage", "server-error")).await;
        let parked = |polecat: &Polecat| condition(polecat, PARKED).is_some_and(|(holds, ..)| holds);
        let polecat = world.polecat_until("outage", "it is parked", parked).await;
        let (_, reason, message) = condition(&polecat, PARKED).unwrap();
        assert_eq!(reason, "ModelUnreachable");
        assert!(
            message.contains("answered 500 Internal Server Error"),
            "{message}"
        );
        let polecat = world.ends("outage", PolecatPhase::Done).await;
        assert_eq!(
            polecat.status.unwrap().usage.unwrap().requests,
            2,
            "failed calls cost nothing"
        );
        let log = world.log_holds("outage", "claude", "[end] ").await;
        assert!(!log.contains("Internal Server Error"), "{log}");
    })
    .await;
}

/// A stand-in with a budget of 20,000 tokens that makes so many calls of 1,580.
fn spender(name: &str, calls: u32) -> serde_json::Value {
    let script = include_str!("../scripts/spend.sh").replace("CALLS", &calls.to_string());
    let mut object = stand_in(name, &script);
    object["spec"]["budget"] = json!({"tokens": 20_000});
    object["spec"]["backoffLimit"] = json!(0);
    object
}

/// How many seconds after the patch of the pod the broker's file has the whole budget of `name`.
async fn from_patch_to_file(world: &World, name: &str) -> f64 {
    let broker = node::process_one(world, name, "broker").await;
    let file = format!("/proc/{}/root/etc/gastown/control.json", broker.pid);
    let seen = format!("until grep -q 20000 {file}; do sleep 0.01; done; date +%s.%N");
    let pod = format!("polecat-{name}");
    let patched = |pod: Option<&Pod>| {
        let control = pod.and_then(|pod| pod.metadata.annotations.as_ref()?.get(labels::CONTROL));
        control.is_some_and(|control| control.contains("20000"))
    };
    let (patched, in_file) = tokio::join!(
        async {
            world
                .until(&pod, PATIENCE, "the whole budget is set aside", patched)
                .await;
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs_f64()
        },
        node::run(&seen),
    );
    in_file.trim().parse::<f64>().unwrap() - patched
}

#[tokio::test]
async fn a_budget_is_set_aside_by_quarters_and_a_hard_end_is_charged_its_part() {
    with_world("quarters", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        // Four calls end in the second quarter.
        world.sling(spender("cut-short", 4)).await;
        world.sling(spender("whole", 30)).await;
        let took = from_patch_to_file(world, "whole").await;
        eprintln!("{took:.2} s from the patch of the annotation to the broker's file");
        // The kubelet follows a change of the pod at once; its own period, a minute, would hold calls too long.
        assert!(
            took < 15.0,
            "{took:.2} s from the patch of the annotation to the broker's file"
        );
        world.log_holds("cut-short", "claude", "all calls are made").await;
        let granted = |polecat: &Polecat| {
            let attempts = &polecat.status.as_ref()?.attempts;
            attempts.last()?.granted?.tokens
        };
        let polecat = world
            .polecat_until("cut-short", "a part is set aside", |polecat| {
                granted(polecat).is_some()
            })
            .await;
        assert_eq!(granted(&polecat), Some(10_000));
        let broker = node::process_one(world, "cut-short", "broker").await;
        node::run(&format!("kill -STOP {}", broker.pid)).await;
        delete_by_force(world, "cut-short").await;
        let (polecat, attempt) = world.attempt_ends("cut-short", 1).await;
        let status = polecat.status.unwrap();
        let unaccounted = status.unaccounted.unwrap_or_default().tokens;
        let known = status.usage.unwrap_or_default().tokens();
        assert_eq!(known + unaccounted, 10_000, "{attempt:?}");
        let message = attempt.message.unwrap();
        assert!(message.contains("count as spent"), "{message}");
        let (polecat, attempt) = world.attempt_ends("whole", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("BudgetSpent"), "{attempt:?}");
        assert_eq!(granted(&polecat), Some(20_000));
        let status = polecat.status.unwrap();
        assert_eq!(status.unaccounted, None, "it ended in order");
        let tokens = status.usage.unwrap().tokens();
        assert!((20_000..20_000 + 1580).contains(&tokens), "{tokens}");
    })
    .await;
}

/// A stand-in that makes one call as an agent would, streamed or not, and delivers something.
fn caller(name: &str, stream: bool, beta: &str, ttl: &str) -> serde_json::Value {
    let script = format!(
        r#"set -e
python3 - <<'PYTHON'
import http.client, json
cached = {{"type": "text", "text": "x" * 5000, "cache_control": {{"type": "ephemeral"{ttl}}}}}
body = {{"model": "claude-sonnet-4-5", "max_tokens": 2000, "stream": {stream}, "system": [cached],
        "tools": [{{"name": "t", "input_schema": {{"type": "object"}}}}],
        "messages": [{{"role": "user", "content": "[[script:{name}]]"}}]}}
link = http.client.HTTPConnection("127.0.0.1", 8418, timeout=60)
link.request("POST", "/v1/messages", json.dumps(body), {{"content-type": "application/json", "anthropic-beta": "{beta}"}})
answer = link.getresponse()
print("answered", answer.status, answer.read()[-300:])
assert answer.status == 200
PYTHON
echo done > {name}.txt; git add {name}.txt; git commit -qm Done"#,
        stream = if stream { "True" } else { "False" },
    );
    stand_in(name, &script)
}

#[tokio::test]
async fn what_a_call_switches_on_is_charged_at_its_own_price() {
    const HOUR: &str = r#", "ttl": "1h""#;
    const EXTENDED: &str = "extended-cache-ttl-2025-04-11";
    with_world("dear", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        // Of claude-sonnet-4-5, in dollars for a million: 3 and 15; 3.75 and 6 for cache writes of five minutes and an
        // hour; above 200,000 tokens of prompt 6 and 22.5, and 12 for an hour.
        let cases = [
            (
                "hour",
                false,
                EXTENDED,
                HOUR,
                "inputTokens: 1000, outputTokens: 100, cacheWriteTokens: 2000, oneHourTokens: 1500",
                3000 + 1500 + 500 * 15 / 4 + 1500 * 6,
            ),
            (
                "streamed",
                true,
                EXTENDED,
                HOUR,
                "inputTokens: 1000, outputTokens: 100, cacheWriteTokens: 2000, oneHourTokens: 2000",
                3000 + 1500 + 2000 * 6,
            ),
            // A gateway that does not tell for how long.
            (
                "untold",
                false,
                EXTENDED,
                HOUR,
                "inputTokens: 1000, outputTokens: 100, cacheWriteTokens: 2000",
                3000 + 1500 + 2000 * 6,
            ),
            (
                "short",
                false,
                "",
                "",
                "inputTokens: 1000, outputTokens: 100, cacheWriteTokens: 2000",
                3000 + 1500 + 2000 * 15 / 4,
            ),
            (
                "long",
                false,
                "context-1m-2025-08-07",
                "",
                "inputTokens: 250000, outputTokens: 1000",
                250_000 * 6 + 22_500,
            ),
            (
                "long-hour",
                true,
                "context-1m-2025-08-07,extended-cache-ttl-2025-04-11",
                HOUR,
                "inputTokens: 1000, outputTokens: 1000, cacheWriteTokens: 200000, oneHourTokens: 200000",
                6000 + 22_500 + 200_000 * 12,
            ),
        ];
        for (name, stream, beta, ttl, usage, _) in cases {
            let turns = format!("turns: [{{say: Fine, usage: {{{usage}, cacheReadTokens: 0}}}}]");
            remote.put_script(name, &turns).await;
            world.sling(caller(name, stream, beta, ttl)).await;
        }
        for (name, _, beta, _, _, micros) in cases {
            let polecat = world.ends(name, PolecatPhase::Done).await;
            let status = polecat.status.unwrap();
            assert_eq!(status.cost_micros, Some(micros), "{name}: {:?}", status.usage);
            let asked = remote.model_requests().await;
            let asked = asked.iter().find(|request| request["script"] == name).unwrap();
            let sent = asked["headers"]["anthropic-beta"].as_str().unwrap_or_default();
            assert_eq!(sent, beta, "{name}: what is priced passes");
        }
    })
    .await;
}
