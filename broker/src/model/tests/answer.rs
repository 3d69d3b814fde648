//! What the agent hears of the upstream's answers, in either API.

use super::*;

#[tokio::test]
async fn an_error_of_the_upstream_is_told_without_the_key_and_costs_nothing() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            let words = ["prompt is too long", "key sk-ant-0123456789"];
            error(400, words[number])
        },
    )
    .await;
    let (status, text) = trial.ask(true).await;
    assert!(
        status == StatusCode::BAD_REQUEST && text.contains("prompt is too long"),
        "{text}"
    );
    assert!(trial.ask(true).await.1.contains("withheld"));
    assert_eq!(trial.record.spent().0, Usage::default());
}

#[tokio::test]
async fn a_stream_passes_as_it_comes_and_is_settled_at_its_end() {
    let trial = Trial::start(|_| {}, |_, _| async { events(Duration::from_millis(300)) }).await;
    let begun = std::time::Instant::now();
    let mut answer = trial.begin(&body(true)).await.into_body();
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(
        first.starts_with(b"data: {\"type\":\"message_start\""),
        "{first:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "the first part waited for the others"
    );
    let rest = answer.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: {\"type\":\"message_stop\"}\n\n"));
    let usage = trial.settled(1).await;
    assert_eq!((usage.input_tokens, usage.output_tokens), (30, 12));
}

fn speaks_responses(order: &mut ModelOrder) {
    order.provider = gastown_api::polecat::Provider::Openai;
    order.apis = vec![gastown_api::work_order::ModelApi::Responses];
    order.allowed_models = vec!["gpt-*".to_owned()];
}

#[tokio::test]
async fn the_responses_api_is_served_with_a_bearer_and_settled_from_its_last_event() {
    let seen = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&seen);
    let trial = Trial::start(speaks_responses, move |_, request| {
        let key = request.headers()["authorization"].clone();
        *asked.lock().unwrap() = Some((request.uri().to_string(), key));
        let last = r#"{"type":"response.completed","response":{"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":12}}}"#;
        let events = format!("data: {{\"type\":\"response.created\"}}\n\ndata: {last}\n\n");
        async move { Response::new(Body::from(events)) }
    })
    .await;
    trial.secret("OPENAI_API_KEY", Some("sk-openai"));
    let body = json!({"model": "gpt-x", "store": false, "stream": true, "input": "hi"});
    let response = trial.begin_at("/v1/responses", &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response.into_body().collect().await);
    let usage = trial.settled(1).await;
    assert_eq!(
        (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens),
        (20, 10, 12)
    );
    let (path, key) = seen.lock().unwrap().take().unwrap();
    assert_eq!(
        (path.as_str(), key.to_str().unwrap()),
        ("/v1/responses", "Bearer sk-openai")
    );
    assert_eq!(
        trial.ask(false).await.0,
        StatusCode::NOT_FOUND,
        "the Messages API is not served"
    );
}
