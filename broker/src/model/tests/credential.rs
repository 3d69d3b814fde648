//! Which credential goes up, and what follows when there is none that the provider takes.

use super::*;

/// Claude Code's file with a token that is good until `expires`.
fn credentials(token: &str, expires: jiff::Timestamp) -> String {
    let oauth = json!({"accessToken": token, "refreshToken": "sk-ant-ort01-x", "expiresAt": expires.as_millisecond()});
    json!({"claudeAiOauth": oauth}).to_string()
}

#[tokio::test]
async fn the_key_of_the_file_goes_up_and_is_read_anew() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keys = Arc::clone(&seen);
    let trial = Trial::start(
        |_| {},
        move |_, request| {
            keys.lock()
                .unwrap()
                .push((request.headers()["x-api-key"].clone(), request.uri().to_string()));
            async { document() }
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    std::fs::write(trial.folder.path().join("ANTHROPIC_API_KEY"), "sk-new").unwrap();
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    let path = "/v1/messages?beta=true".to_owned();
    let expected = [
        (KEY.parse().unwrap(), path.clone()),
        ("sk-new".parse().unwrap(), path),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_key_that_is_gone_parks_by_name_until_it_is_back() {
    let trial = Trial::start(|_| {}, |_, _| async { document() }).await;
    let key = trial.folder.path().join("ANTHROPIC_API_KEY");
    std::fs::remove_file(&key).unwrap();
    let call = trial.ask(false);
    tokio::pin!(call);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut call).await;
    assert!(early.is_err(), "the call is held");
    let BrokerState::Parked { reason, message, .. } = trial.state() else {
        panic!("{:?}", trial.state());
    };
    assert_eq!(reason, Reason::SecretMissing);
    assert!(
        message.contains("claude-creds") && message.contains("ANTHROPIC_API_KEY"),
        "{message}"
    );
    std::fs::write(&key, KEY).unwrap();
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.state(), BrokerState::Serving);
}

#[tokio::test]
async fn a_refused_key_ends_the_attempt_without_a_word_of_the_upstream() {
    let trial = Trial::start(|_| {}, |_, _| async { error(401, &format!("bad key {KEY}")) }).await;
    for _ in 0..2 {
        let (status, text) = trial.ask(true).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(
            text.contains("ModelCredentialRefused") && !text.contains(KEY),
            "{text}"
        );
    }
    let BrokerState::Stopped { reason, message } = trial.state() else {
        panic!("{:?}", trial.state());
    };
    assert_eq!(reason, Reason::ModelCredentialRefused);
    assert!(
        message.contains("claude-creds") && !message.contains("bad key"),
        "{message}"
    );
    assert_eq!(trial.record.spent().0, Usage::default());
}

#[tokio::test]
async fn a_token_of_a_subscription_goes_up_as_a_bearer_with_its_beta() {
    let seen = Arc::new(Mutex::new(None));
    let headers = Arc::clone(&seen);
    let trial = Trial::start(
        |_| {},
        move |_, request| {
            *headers.lock().unwrap() = Some(request.headers().clone());
            async { document() }
        },
    )
    .await;
    trial.secret("ANTHROPIC_API_KEY", None);
    trial.secret(
        ".credentials.json",
        Some(&credentials("sk-ant-oat01-a", in_hours(1))),
    );
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
    let headers = seen.lock().unwrap().take().unwrap();
    assert_eq!(headers["authorization"], "Bearer sk-ant-oat01-a");
    assert_eq!(headers["anthropic-beta"], "oauth-2025-04-20");
    assert!(!headers.contains_key("x-api-key"));
}

#[tokio::test]
async fn an_expired_token_parks_before_any_call_and_a_renewed_one_goes_on() {
    let trial = Trial::start(|_| {}, |_, _| async { document() }).await;
    trial.secret("ANTHROPIC_API_KEY", None);
    trial.secret("credentials.json", Some(&credentials("old", in_hours(-1))));
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, message, _) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::CredentialExpired);
    assert!(
        message.contains("credentials.json") && message.contains("claude-creds"),
        "{message}"
    );
    assert_eq!(trial.record.spent().0.requests, 0);
    trial.secret("credentials.json", Some(&credentials("new", in_hours(1))));
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(trial.state(), BrokerState::Serving);
}

#[tokio::test]
async fn a_token_that_the_provider_no_longer_takes_is_not_sent_twice() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tokens = Arc::clone(&seen);
    let trial = Trial::start(
        |_| {},
        move |_, request| {
            let token = request.headers()["authorization"].to_str().unwrap().to_owned();
            tokens.lock().unwrap().push(token.clone());
            async move {
                match token.as_str() {
                    "Bearer new" => document(),
                    _ => error(401, "OAuth token has expired. Please obtain a new token."),
                }
            }
        },
    )
    .await;
    trial.secret("ANTHROPIC_API_KEY", None);
    trial.secret("CLAUDE_CODE_OAUTH_TOKEN", Some("old"));
    let call = trial.ask(false);
    tokio::pin!(call);
    let (reason, message, _) = trial.parks(&mut call).await;
    assert_eq!(reason, Reason::CredentialExpired);
    assert!(message.contains("CLAUDE_CODE_OAUTH_TOKEN"), "{message}");
    trial.secret("CLAUDE_CODE_OAUTH_TOKEN", Some("new"));
    assert_eq!(call.await.0, StatusCode::OK);
    assert_eq!(*seen.lock().unwrap(), ["Bearer old", "Bearer new"]);
    assert_eq!(
        trial.settled(1).await.requests,
        1,
        "only the answered call counts"
    );
}

#[tokio::test]
async fn an_endpoint_without_keys_is_sent_none() {
    let trial = Trial::start(
        |order| {
            order.provider = gastown_api::polecat::Provider::Ollama;
            order.keyless = true;
        },
        |_, request| async move {
            assert!(!request.headers().contains_key("x-api-key"));
            assert!(!request.headers().contains_key("authorization"));
            document()
        },
    )
    .await;
    assert_eq!(trial.ask(false).await.0, StatusCode::OK);
}
