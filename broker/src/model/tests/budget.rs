//! What calls cost, and that a spent budget ends the attempt.

use super::*;
use crate::record::MODEL_CALLS;

#[tokio::test]
async fn an_agent_that_hangs_up_pays_what_the_answer_cost() {
    let trial = Trial::start(|_| {}, |_, _| async { events(Duration::from_millis(150)) }).await;
    let mut answer = trial.begin(&body(true)).await.into_body();
    drop(answer.frame().await);
    drop(answer);
    let usage = trial.settled(1).await;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.requests),
        (30, 12, 1)
    );
}

#[tokio::test]
async fn an_agent_that_hangs_up_before_the_answer_pays_it_too() {
    let trial = Trial::start(
        |_| {},
        |_, _| async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            document()
        },
    )
    .await;
    let early = tokio::time::timeout(Duration::from_millis(150), trial.ask(false)).await;
    assert!(early.is_err());
    let usage = trial.settled(1).await;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.requests),
        (30, 12, 1)
    );
}

#[tokio::test]
async fn a_spent_budget_ends_the_attempt_after_at_most_one_call_too_many() {
    let trial = Trial::start(|order| order.tokens_left = Some(100), |_, _| async { document() }).await;
    let answers = futures::future::join_all((0..12).map(|_| trial.ask(false))).await;
    let passed = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::OK)
        .count();
    assert_eq!(
        passed, 3,
        "two calls of 42 tokens fit into 100, and one may cross the line"
    );
    assert_eq!(trial.record.spent().0.tokens(), 126);
    let (_, text) = trial.ask(false).await;
    assert!(
        text.contains("BudgetSpent: 126 of 100 tokens are spent"),
        "{text}"
    );
}

#[tokio::test]
async fn no_more_than_eight_calls_go_up_at_a_time() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (inner, peak) = (Arc::clone(&now), Arc::clone(&most));
    let trial = Trial::start(
        |_| {},
        move |_, _| {
            let (now, most) = (Arc::clone(&inner), Arc::clone(&peak));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                document()
            }
        },
    )
    .await;
    let answers = futures::future::join_all((0..20).map(|_| trial.ask(false))).await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(most.load(Ordering::SeqCst), MODEL_CALLS);
}

#[tokio::test]
async fn fifty_calls_at_once_overrun_a_small_budget_by_no_more_than_their_slots() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let trial = Trial::start(
        |order| order.tokens_left = Some(3000),
        move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                axum::Json(json!({"usage": {"input_tokens": 30, "output_tokens": 970}})).into_response()
            }
        },
    )
    .await;
    let answers = futures::future::join_all((0..50).map(|_| trial.ask(false))).await;
    let refused = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::FORBIDDEN)
        .count();
    let made = made.load(Ordering::SeqCst);
    assert_eq!(made + refused, 50);
    let most = 3 + MODEL_CALLS;
    assert!((3..=most).contains(&made), "{made} calls were made");
    assert_eq!(
        trial.record.spent().0.tokens(),
        u64::try_from(made).unwrap() * 1000
    );
    let BrokerState::Stopped { reason, .. } = trial.state() else {
        panic!("{:?}", trial.state())
    };
    assert_eq!(reason, Reason::BudgetSpent);
}

fn costs(order: &mut ModelOrder) {
    let price = json!({"input": 3, "output": 15, "cacheWrite": 3.75, "cacheRead": 0.3});
    order.prices = [("claude-x".to_owned(), serde_json::from_value(price).unwrap())].into();
}

/// What the body of `one-hour-cache` costs with this usage.
async fn cost_of_an_hour(usage: Value) -> u64 {
    let answer = json!({"id": "m", "usage": usage});
    let trial = Trial::start(costs, move |_, _| {
        let answer = answer.clone();
        async move { axum::Json(answer).into_response() }
    })
    .await;
    let mut body = body(false);
    let control = json!({"type": "ephemeral", "ttl": "1h"});
    body["system"] = json!([{"type": "text", "text": "x", "cache_control": control}]);
    drop(trial.begin(&body).await.into_body().collect().await);
    trial.settled(1).await;
    trial.record.spent().1.unwrap()
}

#[tokio::test]
async fn a_cache_for_an_hour_costs_what_the_provider_bills() {
    let told = json!({"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}});
    assert_eq!(cost_of_an_hour(told).await, 1500 + 3600);
    let untold = json!({"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 1000});
    assert_eq!(
        cost_of_an_hour(untold).await,
        6000,
        "nobody says that it was less"
    );
}

#[tokio::test]
async fn a_long_context_is_asked_for_only_where_it_has_a_price() {
    for (price, passes) in [(None, true), (Some(false), false), (Some(true), true)] {
        let seen = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&seen);
        let change = |order: &mut ModelOrder| {
            if let Some(long) = price {
                costs(order);
                let long = long.then(|| json!({"aboveTokens": 200_000, "input": 6, "output": 22.5, "cacheWrite": 7.5, "cacheRead": 0.6}));
                let price = order.prices.get_mut("claude-x").unwrap();
                price.long_context = serde_json::from_value(json!(long)).unwrap();
            }
        };
        let trial = Trial::start(change, move |_, request| {
            *asked.lock().unwrap() = request.headers().get("anthropic-beta").cloned();
            async { document() }
        })
        .await;
        let request = http::Request::post(format!("http://{}/v1/messages", trial.address))
            .header("anthropic-beta", "effort-2025-11-24,context-1m-2025-08-07")
            .body(Full::new(Bytes::from(body(false).to_string())))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        drop(client.request(request).await.unwrap());
        let betas = seen.lock().unwrap().take().unwrap();
        assert_eq!(
            betas.to_str().unwrap().contains("context-1m"),
            passes,
            "{price:?}"
        );
    }
}
