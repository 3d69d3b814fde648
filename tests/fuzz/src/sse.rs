use gastown_broker::parsers::{answer, usage};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::first;

const KEY: &str = "sk-ant-api03-the-key-of-this-test";

/// What a model endpoint answers: the usage is the same however the network cuts it, and an error never tells the key. The
/// first byte says which of the two, and how it is cut.
pub fn sse(data: &[u8]) {
    let (kind, rest) = first(data);
    if kind >= 0xf0 {
        return error(kind, rest);
    }
    let stream = kind & 1 == 0;
    let size = usize::from(kind >> 1) + 1;
    let whole = usage(stream, std::iter::once(rest));
    let cut = usage(stream, rest.chunks(size));
    assert_eq!(whole, cut, "cut to {size}");
    assert_eq!(whole.bytes, rest.len());
    if let Some(usage) = whole.usage {
        // The status keeps whole numbers as the API server does.
        assert!(i64::try_from(usage.tokens()).is_ok(), "{usage:?}");
        assert_eq!(usage.requests, 1);
    }
}

/// An error: its status, a line of the time to wait, and its body.
fn error(kind: u8, rest: &[u8]) {
    let status = [
        300, 301, 400, 401, 403, 404, 413, 429, 500, 502, 503, 529, 418, 451, 200, 599,
    ];
    let status = StatusCode::from_u16(status[usize::from(kind & 15)]).expect("it is a status");
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (time, body) = rest.split_at(end);
    let mut headers = HeaderMap::new();
    if let Ok(time) = HeaderValue::from_bytes(time) {
        for name in [
            "retry-after",
            "anthropic-ratelimit-unified-reset",
            "anthropic-ratelimit-tokens-reset",
        ] {
            headers.insert(name, time.clone());
        }
    }
    if let Some(told) = answer(status, &headers, body, KEY) {
        assert!(!told.contains(char::is_control) && told.len() <= 4096, "{told:?}");
        assert!(!told.contains(KEY), "{told:?}");
    }
}
