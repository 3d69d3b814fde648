//! Which bodies pass. A body is a path too: it can name a server to fetch from, another key, or a tool that the
//! provider runs with a network of its own. So everything that names a thing is allowed by list: top-level fields,
//! fields of messages, blocks, sources and tools.

mod messages;
mod responses;

use gastown_api::work_order::ModelOrder;
use serde_json::{Map, Value};

use super::endpoint::Endpoint;
use super::error::Refusal;
use super::unique_keys::UniqueKeys;

/// The most bytes of a request: what the Messages API takes.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A request that may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The model.
    pub model: String,
    /// The most tokens it may write.
    pub max_tokens: u64,
    /// Whether the answer is a stream of events.
    pub stream: bool,
    /// Whether a part of it is to stay in the provider's cache for longer than the usual five minutes.
    pub one_hour: bool,
    /// Tokens that the request is taken for before the provider has counted them.
    pub input_estimate: u64,
}

/// Reads and checks the body of a request.
pub(super) fn check(bytes: &[u8], endpoint: Endpoint, order: &ModelOrder) -> Result<Call, Refusal> {
    let UniqueKeys(body) = UniqueKeys::read(bytes)
        .map_err(|error| Refusal::bad_request(format!("the body cannot be read as JSON: {error}")))?;
    let Value::Object(body) = body else {
        return Err(Refusal::bad_request("the body is no JSON object"));
    };
    let input_estimate = estimate(bytes.len());
    match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => messages::check(&body, input_estimate, endpoint, order),
        Endpoint::Responses => responses::check(&body, input_estimate, order),
    }
}

/// English text and JSON have three to four bytes to a token; three errs on the dear side.
pub(super) fn estimate(bytes: usize) -> u64 {
    u64::try_from(bytes / 3).unwrap_or(u64::MAX)
}

fn refuse(field: &str, rule: &str) -> Refusal {
    Refusal::bad_request(format!("{field}: {rule}"))
}

fn model(body: &Map<String, Value>, order: &ModelOrder) -> Result<String, Refusal> {
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    let named = shown(model);
    if !order.allows(model) {
        Err(refuse("model", &format!("{named} is not on the operator's list")))
    } else if order.micros_left.is_some() && order.price(model).is_none() {
        Err(refuse(
            "model",
            &format!("{named} has no price, and the budget is in dollars"),
        ))
    } else {
        Ok(model.to_owned())
    }
}

fn stream(body: &Map<String, Value>) -> Result<bool, Refusal> {
    match body.get("stream") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(stream)) => Ok(*stream),
        Some(_) => Err(refuse("stream", "must be true or false")),
    }
}

fn check_fields(object: &Map<String, Value>, allowed: &[&str], at: &str) -> Result<(), Refusal> {
    let strange = object.keys().find(|key| !allowed.contains(&key.as_str()));
    strange.map_or(Ok(()), |key| {
        Err(refuse(
            &format!("{at}{}", shown(key)),
            "this field is not allowed here",
        ))
    })
}

/// Servers that are written in Go also take `Source` for `source`: what no rule here looks at must not be what they read.
fn check_spelling(at: &str, object: &Value) -> Result<(), Refusal> {
    let plain = |name: &&String| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let strange = object
        .as_object()
        .and_then(|fields| fields.keys().find(|name| !plain(name)));
    strange.map_or(Ok(()), |name| {
        Err(refuse(
            &format!("{at}.{}", shown(name)),
            "names of fields are written in lower case here",
        ))
    })
}

/// At most 80 characters, quoted.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}
