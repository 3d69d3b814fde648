//! Answers of the upstream that are no answer to the agent's call: what their bodies tell, within a bound.

use std::time::Duration;

use bytes::Bytes;
use gastown_api::reason::Reason;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::classify;
use super::credential::Credential;
use super::error::Refusal;

/// The most of an upstream's error that is read, and how long.
const MAX_ERROR: usize = 64 * 1024;
const READ_ERROR: Duration = Duration::from_secs(10);

/// What only the body tells: a limit of the rate that is none, since what was bought is used up; why an endpoint fails.
pub(super) async fn refine(
    reason: Reason,
    message: String,
    response: http::Response<Incoming>,
    credential: &Credential,
) -> (Reason, String) {
    if response.status().is_success() {
        return (reason, message);
    }
    match reason {
        Reason::RateLimited => {
            let used_up = classify::is_used_up(&error_body(response).await);
            let reason = if used_up {
                Reason::UsageLimitReached
            } else {
                reason
            };
            (reason, message)
        }
        Reason::ModelUnreachable => {
            let words = classify::words(&error_body(response).await, credential.reveal());
            let shown = words.map(|words| format!("{message}: {words}"));
            (reason, shown.unwrap_or(message))
        }
        _ => (reason, message),
    }
}

/// An error of the upstream, with its own words where they are safe.
pub(super) async fn explain(
    refusal: Refusal,
    response: http::Response<Incoming>,
    credential: &Credential,
) -> Refusal {
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return refusal;
    }
    classify::redact(status, &error_body(response).await, credential.reveal())
}

/// What came of an error's body within a bound; nothing where it is longer or slower.
async fn error_body(response: http::Response<Incoming>) -> Bytes {
    let body = Limited::new(response.into_body(), MAX_ERROR).collect();
    let body = tokio::time::timeout(READ_ERROR, body).await;
    let body = body.ok().and_then(Result::ok);
    body.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}
