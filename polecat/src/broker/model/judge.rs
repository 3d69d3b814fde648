//! What an upstream's answer means for the call: a pure function of status, headers and body.

use std::time::Duration;

use gastown_api::reason::Reason;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;

use super::error::Refusal;

/// The longest wait before the call is tried again where the upstream does not say how long.
const LONGEST_GUESS: Duration = Duration::from_mins(1);

/// The longest wait at a time whatever the upstream says; how long an attempt may be parked in all is another limit.
const LONGEST_WAIT: Duration = Duration::from_hours(6);

/// What to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Pass it on.
    Pass,
    /// Hold the call, wait, and try again.
    Wait {
        /// Why.
        reason: Reason,
        /// How long.
        delay: Duration,
    },
    /// The key is refused: nothing will work with it.
    Stop {
        /// In words, without anything the upstream sent.
        message: String,
    },
    /// Tell the agent, in our words.
    Fail(Refusal),
}

/// Judges by status and headers; `tries` counts earlier waits of this call.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, tries: u32, now: Timestamp) -> Verdict {
    let wait = |reason| Verdict::Wait {
        reason,
        delay: delay(headers, tries, now),
    };
    match status.as_u16() {
        // A compressed answer would hide its usage; it was not asked for.
        200..=299 if headers.contains_key(header::CONTENT_ENCODING) => Verdict::Fail(Refusal::upstream(
            "the model endpoint compresses its answers unasked",
        )),
        200..=299 => Verdict::Pass,
        401 | 403 => Verdict::Stop {
            message: format!("the model endpoint answered {status} to the API key"),
        },
        429 => wait(Reason::RateLimited),
        503 | 529 => wait(Reason::Overloaded),
        // A redirect is not followed: it could lead the key anywhere.
        300..=399 => Verdict::Fail(Refusal::upstream(format!(
            "the model endpoint answered {status}; redirects are not followed"
        ))),
        _ => Verdict::Fail(Refusal::passed_on(status, kind(status), "")),
    }
}

/// The upstream's error in our words: its message only from the place where the API puts it, cut, and without
/// anything that could be the key.
pub(super) fn redact(status: StatusCode, body: &[u8], key: &str) -> Refusal {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = json
        .pointer("/error/message")
        .and_then(Value::as_str)
        .unwrap_or("no reason was given");
    let message: String = message.chars().filter(|c| !c.is_control()).take(500).collect();
    let message = if leaks(&message, key) {
        "the reason is withheld: it contains a part of the API key".to_owned()
    } else {
        message
    };
    Refusal::passed_on(status, kind(status), message)
}

/// Some gateways show a key's first or last characters.
fn leaks(message: &str, key: &str) -> bool {
    let part = 8.min(key.len());
    let mut parts = key.as_bytes().windows(part.max(1));
    parts.any(|part| message.as_bytes().windows(part.len()).any(|words| words == part))
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400..=403 | 405..=412 | 414..=428 => "invalid_request_error",
        404 => "not_found_error",
        413 => "request_too_large",
        _ => "api_error",
    }
}

/// `retry-after` in seconds, else the reset times that Anthropic sends, else 2, 4, 8, … up to 60 seconds.
fn delay(headers: &HeaderMap, tries: u32, now: Timestamp) -> Duration {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = text("retry-after")
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(Duration::from_secs);
    let reset = || {
        let unified = text("anthropic-ratelimit-unified-reset")
            .and_then(|text| Timestamp::from_second(text.parse().ok()?).ok());
        let names = [
            "anthropic-ratelimit-tokens-reset",
            "anthropic-ratelimit-requests-reset",
        ];
        let dated = names
            .into_iter()
            .filter_map(|name| text(name)?.parse::<Timestamp>().ok())
            .max();
        Duration::try_from(unified.or(dated)?.duration_since(now)).ok()
    };
    let guess = || Duration::from_secs(2u64.saturating_pow(tries.saturating_add(1))).min(LONGEST_GUESS);
    seconds
        .or_else(reset)
        .unwrap_or_else(guess)
        .clamp(Duration::from_secs(1), LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &'static str)], tries: u32) -> Verdict {
        let headers = headers
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)))
            .collect();
        judge(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            tries,
            "2026-01-01T00:00:00Z".parse().unwrap(),
        )
    }

    fn waits(reason: Reason, seconds: u64) -> Verdict {
        Verdict::Wait {
            reason,
            delay: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_limit_is_waited_for_as_long_as_the_upstream_says() {
        assert_eq!(
            judged(429, &[("retry-after", "17")], 0),
            waits(Reason::RateLimited, 17)
        );
        let reset = ("anthropic-ratelimit-requests-reset", "2026-01-01T00:01:00Z");
        assert_eq!(judged(429, &[reset], 0), waits(Reason::RateLimited, 60));
        assert_eq!(
            judged(429, &[("anthropic-ratelimit-unified-reset", "1767225630")], 0),
            waits(Reason::RateLimited, 30)
        );
        assert_eq!(judged(529, &[], 2), waits(Reason::Overloaded, 8));
        assert_eq!(judged(529, &[], u32::MAX), waits(Reason::Overloaded, 60));
        assert_eq!(
            judged(429, &[("retry-after", "99999999")], 0),
            waits(Reason::RateLimited, 21_600)
        );
        assert_eq!(
            judged(429, &[("retry-after", "0")], 0),
            waits(Reason::RateLimited, 1)
        );
    }

    #[test]
    fn a_refused_key_stops_and_a_redirect_is_not_followed() {
        assert!(matches!(judged(401, &[], 0), Verdict::Stop { .. }));
        assert!(matches!(judged(403, &[], 0), Verdict::Stop { .. }));
        assert!(matches!(
            judged(307, &[("location", "https://evil")], 0),
            Verdict::Fail(_)
        ));
        assert!(matches!(
            judged(200, &[("content-encoding", "gzip")], 0),
            Verdict::Fail(_)
        ));
        assert_eq!(judged(200, &[], 0), Verdict::Pass);
    }

    #[test]
    fn the_upstreams_words_never_carry_the_key() {
        let body = br#"{"error":{"message":"bad key sk-secret\u001b[2J"}}"#;
        assert!(!format!("{:?}", redact(StatusCode::BAD_REQUEST, body, "sk-secret")).contains("sk-secret"));
        let ends = redact(
            StatusCode::BAD_REQUEST,
            br#"{"error":{"message":"key ...56789abc"}}"#,
            "sk-0123456789abc",
        );
        assert!(ends.message.contains("withheld"), "{ends:?}");
        let shown = format!("{:?}", redact(StatusCode::BAD_REQUEST, body, "something-else"));
        assert!(shown.contains("bad key") && !shown.contains("\\u{1b}"), "{shown}");
    }
}
