//! Streams that begin with an error in the place of an answer, after the provider answered 200.

use super::*;

const START: &str = r#"{"type":"message_start","message":{"usage":{"input_tokens":30,"output_tokens":1}}}"#;

fn error_event(kind: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": "m"}}).to_string()
}

/// A stream of these events, each in a part of its own.
fn stream(events: &[&str]) -> Response {
    let parts: Vec<_> = events
        .iter()
        .map(|event| Ok::<_, std::convert::Infallible>(format!("data: {event}\n\n")))
        .collect();
    let mut response = Response::new(Body::from_stream(futures::stream::iter(parts)));
    for (name, value) in [
        ("content-type", "text/event-stream"),
        // When a window that is not used up begins anew.
        ("anthropic-ratelimit-unified-status", "allowed"),
        ("anthropic-ratelimit-unified-reset", "4102444800"),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

#[tokio::test]
async fn a_stream_that_begins_with_an_outage_is_asked_for_again_and_only_the_answer_is_charged() {
    for kind in ["overloaded_error", "api_error", "rate_limit_error"] {
        let trial = Trial::start(
            |order| order.tokens_left = Some(1_000_000),
            move |number, _| async move {
                match number {
                    0 => stream(&[r#"{"type": "ping"}"#, &error_event(kind)]),
                    _ => stream(&[START, r#"{"type":"message_stop"}"#]),
                }
            },
        )
        .await;
        let (status, text) = trial.ask(true).await;
        assert_eq!(status, StatusCode::OK);
        let whole = format!("data: {START}\n\ndata: {{\"type\":\"message_stop\"}}\n\n");
        assert_eq!(text, whole, "{kind}");
        let usage = trial.settled(1).await;
        assert_eq!((usage.requests, usage.tokens()), (1, 31), "{kind}");
    }
}

#[tokio::test]
async fn an_outage_at_each_beginning_parks_and_costs_nothing() {
    for (kind, wanted) in [
        ("overloaded_error", Reason::Overloaded),
        ("api_error", Reason::ModelUnreachable),
    ] {
        let trial = Trial::start(
            |order| order.tokens_left = Some(1_000_000),
            move |_, _| async move { stream(&[&error_event(kind)]) },
        )
        .await;
        let (reason, message, until) = trial.parks(trial.ask(true)).await;
        assert_eq!((reason, until), (wanted, None));
        assert!(message.contains(kind), "{message}");
        assert_eq!(trial.record.spent().0, Usage::default());
    }
}

#[tokio::test]
async fn an_error_after_the_beginning_and_one_that_does_not_pass_go_to_the_agent_and_are_charged() {
    let late = [START.to_owned(), error_event("overloaded_error")];
    let lasting = [
        r#"{"type": "ping"}"#.to_owned(),
        error_event("invalid_request_error"),
    ];
    for events in [late, lasting] {
        let sent = events.clone();
        let trial = Trial::start(
            |order| order.tokens_left = Some(1_000_000),
            move |_, _| {
                let events = sent.clone();
                async move { stream(&[&events[0], &events[1]]) }
            },
        )
        .await;
        let (status, text) = trial.ask(true).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(text, format!("data: {}\n\ndata: {}\n\n", events[0], events[1]));
        let usage = trial.settled(1).await;
        assert!(usage.requests == 1 && usage.tokens() > 0, "{usage:?}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_in_its_beginning_is_no_whole_answer() {
    let trial = Trial::start(
        |order| order.tokens_left = Some(1_000_000),
        |_, _| async {
            let parts = [
                Ok("data: {\"type\": \"ping\"}\n\n"),
                Err(std::io::Error::other("gone")),
            ];
            let pause = |part| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                part
            };
            Response::new(Body::from_stream(futures::stream::iter(parts).then(pause)))
        },
    )
    .await;
    // The head may be lost with the rest.
    if let Ok(answer) = trial.try_at("/v1/messages", &body(true)).await {
        assert!(answer.into_body().collect().await.is_err());
    }
    assert_eq!(trial.settled(1).await.requests, 1);
}

#[tokio::test]
async fn a_stream_that_says_nothing_at_great_length_is_passed_on() {
    let trial = Trial::start(
        |_| {},
        |_, _| async {
            let pings = Bytes::from("data: {\"type\": \"ping\"}\n\n".repeat(4096));
            let pings = std::iter::repeat_n(Ok::<_, std::convert::Infallible>(pings), 8);
            let silent = futures::stream::iter(pings).chain(futures::stream::pending());
            Response::new(Body::from_stream(silent))
        },
    )
    .await;
    let body = body(true);
    let begun = tokio::time::timeout(Duration::from_secs(20), trial.begin(&body)).await;
    assert_eq!(begun.unwrap().status(), StatusCode::OK);
}
