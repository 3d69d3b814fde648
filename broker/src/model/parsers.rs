//! A model call before it leaves, and its answer on the way back.

use gastown_api::work_order::ModelOrder;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

pub use super::sse::ReportedUsage;

use super::body;
use super::classify::{self, Handling};
use super::credential::Credential;
use super::endpoint::Endpoint;
use super::headers;
use super::sse::UsageReader;

/// A call that may leave.
#[derive(Debug)]
pub struct Passed {
    /// The path below the endpoint.
    pub path: &'static str,
    /// Its headers, without the key.
    pub headers: HeaderMap,
    /// The model that is charged.
    pub model: String,
    /// Whether the answer is read as a stream.
    pub stream: bool,
    /// What is reserved for the answer.
    pub max_tokens: u64,
}

/// Checks a call as [`super::proxy`] does, or says what the agent is told.
pub fn request(head: &Parts, body: &[u8], order: &ModelOrder) -> Result<Passed, String> {
    let checked = || {
        let endpoint = Endpoint::read(&head.method, &head.uri, &order.apis)?;
        headers::check(&head.headers)?;
        let call = body::check(body, endpoint, order)?;
        Ok(Passed {
            path: endpoint.path(head.uri.query() == Some("beta=true")),
            headers: headers::request(&head.headers, true),
            model: call.model,
            stream: call.stream,
            max_tokens: call.max_tokens,
        })
    };
    checked().map_err(|refusal: super::error::Refusal| refusal.message)
}

/// The usage that an answer tells, read part by part.
pub fn usage<'a>(stream: bool, parts: impl Iterator<Item = &'a [u8]>) -> ReportedUsage {
    let mut reader = UsageReader::new(stream);
    parts.for_each(|part| reader.feed(part));
    reader.finish()
}

/// What the agent is told of an answer that is not passed on; none: it is passed, or waited for.
#[must_use]
pub fn answer(status: StatusCode, headers: &HeaderMap, body: &[u8], key: &str) -> Option<String> {
    let credential = Credential::ApiKey(key.to_owned());
    match classify::classify(status, headers, &credential, 0, Timestamp::UNIX_EPOCH) {
        Handling::Pass | Handling::Wait { .. } | Handling::Renew => None,
        Handling::Stop { message } => Some(message),
        Handling::Fail(_) => Some(classify::redact(status, body, key).message),
    }
}
