//! What calls cost, and that a spent budget ends the attempt.

use super::*;

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
    assert_eq!(most.load(Ordering::SeqCst), proxy::CALLS);
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
    let most = 3 + proxy::CALLS;
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
