//! Calls that are held until the provider takes them: limits, used-up windows, endpoints that are away.

use super::*;

#[tokio::test]
async fn a_call_that_is_to_come_later_is_held_and_tried_again() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            match number {
                0 => {
                    let mut response = error(429, "slow down");
                    response.headers_mut().insert("retry-after", 1.into());
                    response
                }
                _ => document(),
            }
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    assert_eq!(
        trial.settled(1).await.requests,
        1,
        "only the answered call counts"
    );
}

#[tokio::test]
async fn a_used_up_window_parks_until_its_reset_or_until_another_credential_is_there() {
    let reset = in_hours(5).as_second();
    let trial = Trial::start(
        |_| {},
        move |_, request| async move {
            if request.headers()["x-api-key"] == "another" {
                return document();
            }
            let mut response = error(429, "This request would exceed your account's rate limit.");
            for (name, value) in [
                ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
                ("anthropic-ratelimit-unified-reset", reset.to_string()),
                (
                    "anthropic-ratelimit-unified-representative-claim",
                    "seven_day".to_owned(),
                ),
            ] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        },
    )
    .await;
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, message, until) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::UsageLimitReached);
    assert_eq!(message, "the subscription's weekly window is used up");
    let early = until
        .unwrap()
        .duration_since(jiff::Timestamp::from_second(reset).unwrap())
        .abs();
    assert!(early < jiff::SignedDuration::from_secs(60), "{until:?}");
    trial.secret("ANTHROPIC_API_KEY", Some("another"));
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.state(), BrokerState::Serving);
}

#[tokio::test]
async fn a_used_up_quota_of_openai_is_no_mere_rate_limit() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            if number > 0 {
                return document();
            }
            let body = json!({"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}});
            let mut response = (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
            response.headers_mut().insert("retry-after", 600.into());
            response
        },
    )
    .await;
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, ..) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::UsageLimitReached);
}

/// Where nothing listens, yet.
async fn nowhere() -> std::net::SocketAddr {
    bind().await.local_addr().unwrap()
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_waited_for() {
    let address = nowhere().await;
    let trial = Trial::before(format!("http://{address}"), |_| {}).await;
    let call = trial.ask(false);
    tokio::pin!(call);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut call).await;
    assert!(early.is_err(), "the call is held");
    let late = TcpListener::bind(address).await.unwrap();
    let router = Router::new().fallback(|| async { document() });
    tokio::spawn(async move { axum::serve(late, router).await });
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.settled(1).await.requests, 1);
}

#[tokio::test]
async fn an_endpoint_that_stays_away_parks_by_name() {
    let address = nowhere().await;
    let trial = Trial::before(format!("http://{address}"), |_| {}).await;
    let (reason, message, until) = trial.parks(trial.ask(false)).await;
    assert_eq!((reason, until), (Reason::ModelUnreachable, None));
    assert!(message.contains(&address.to_string()), "{message}");
}

#[tokio::test]
async fn a_provider_that_fails_is_waited_for_and_costs_nothing() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move {
            match number {
                0 => error(500, "Internal server error"),
                _ => document(),
            }
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    let usage = trial.settled(1).await;
    assert_eq!((usage.requests, usage.tokens()), (1, 42));
}

#[tokio::test]
async fn a_provider_that_goes_on_failing_parks_with_its_words() {
    let trial = Trial::start(
        |_| {},
        |_, _| async { error(502, "no upstream of sk-ant-0123456789 \u{1b}[2J") },
    )
    .await;
    let (reason, message, until) = trial.parks(trial.ask(true)).await;
    assert_eq!((reason, until), (Reason::ModelUnreachable, None));
    assert!(
        message.starts_with("the model endpoint answered 502 Bad Gateway: "),
        "{message}"
    );
    assert!(!message.contains("sk-ant"), "{message}");
    assert_eq!(trial.record.spent().0, Usage::default());
}

/// What a proxy's login page answers to everything.
fn page(status: u16) -> Response {
    let mut response = Response::new(Body::from("<html><body>Please log in</body></html>"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
        .headers_mut()
        .insert("content-type", "text/html".parse().unwrap());
    response
}

#[tokio::test]
async fn a_page_in_the_place_of_an_answer_is_an_outage_and_costs_nothing() {
    for stream in [true, false] {
        let trial = Trial::start(
            |_| {},
            |number, _| async move {
                match number {
                    0 => page(200),
                    _ => document(),
                }
            },
        )
        .await;
        let (status, text) = trial.ask(stream).await;
        assert!(status == StatusCode::OK && !text.contains("log in"), "{text}");
        assert_eq!(trial.settled(1).await.requests, 1);
    }
}

#[tokio::test]
async fn a_page_that_says_it_is_an_answer_costs_nothing() {
    let trial = Trial::start(
        |order| order.tokens_left = Some(1_000_000),
        |_, _| async {
            let mut response = page(200);
            let kind = "application/json".parse().unwrap();
            response.headers_mut().insert("content-type", kind);
            response
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(trial.record.spent().0, Usage::default());
}

#[tokio::test]
async fn a_call_waits_while_the_git_host_refuses_the_credential() {
    let trial = Trial::start(|_| {}, |_, _| async move { document() }).await;
    trial.record.set_git_refused(true);
    let call = trial.ask(false);
    tokio::pin!(call);
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut call).await;
    assert!(waits.is_err(), "what it does could not be saved");
    trial.record.set_git_refused(false);
    assert_eq!(call.await.0, StatusCode::OK);
}
