//! What an upstream's answer means for the call: a pure function of status, headers and body.

use std::time::Duration;

use gastown_api::reason::Reason;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::credential::Credential;
use super::error::Refusal;

/// The longest wait before the call is tried again where the upstream does not say how long.
const LONGEST_GUESS: Duration = Duration::from_mins(1);

/// The longest wait at a time whatever the upstream says: a weekly window, and a day. How long an attempt may be parked
/// in all is another limit.
const LONGEST_WAIT: Duration = Duration::from_hours(8 * 24);

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// Before the next try.
    pub delay: Duration,
    /// Whether the upstream said so; else it is a guess.
    pub told: bool,
}

/// What to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// Pass it on.
    Pass,
    /// Hold the call, wait, and try again.
    Wait {
        /// Why.
        reason: Reason,
        /// In words.
        message: String,
        /// How long.
        wait: Wait,
    },
    /// The token is refused, as one that has expired is: another one may come.
    Renew,
    /// The key is refused: nothing will work with it.
    Stop {
        /// In words, without anything the upstream sent.
        message: String,
    },
    /// Tell the agent, in our words.
    Fail(Refusal),
}

/// Classifies an answer by status and headers; `tries` counts earlier waits of this call.
pub(super) fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    credential: &Credential,
    tries: u32,
    now: Timestamp,
) -> Handling {
    let held = |reason, message| Handling::Wait {
        reason,
        message,
        wait: wait_from(headers, now).unwrap_or_else(|| guess(tries)),
    };
    let busy = |reason| held(reason, format!("the model endpoint answered {status}"));
    match status.as_u16() {
        // A compressed answer would hide its usage; it was not asked for.
        200..=299 if headers.contains_key(header::CONTENT_ENCODING) => Handling::Fail(Refusal::upstream(
            "the model endpoint compresses its answers unasked",
        )),
        200..=299 => match strange_kind(headers) {
            None => Handling::Pass,
            Some(kind) => held(
                Reason::ModelUnreachable,
                format!("the model endpoint answered {status} with {kind}, as no model provider does"),
            ),
        },
        401 if matches!(credential, Credential::Oauth(_)) => Handling::Renew,
        401 | 403 => Handling::Stop {
            message: format!("the model endpoint answered {status} to the credential"),
        },
        429 => used_up(headers, tries, now).unwrap_or_else(|| busy(Reason::RateLimited)),
        503 | 529 => busy(Reason::Overloaded),
        // What asks for more than HTTP/1.1 or a call that does not exist stays an error.
        501 | 505 => Handling::Fail(Refusal::passed_on(status, kind(status), "")),
        408 | 500..=599 => busy(Reason::ModelUnreachable),
        // A redirect is not followed: it could lead the key anywhere.
        300..=399 => Handling::Fail(Refusal::upstream(format!(
            "the model endpoint answered {status}; redirects are not followed"
        ))),
        _ => Handling::Fail(Refusal::passed_on(status, kind(status), "")),
    }
}

/// Whether an answer is a stream of events or a document, whatever was asked for; none: it does not say.
pub(super) fn is_stream(headers: &HeaderMap) -> Option<bool> {
    let kind = text(headers, header::CONTENT_TYPE.as_str())?.to_ascii_lowercase();
    let kinds = [("event-stream", true), ("json", false)];
    kinds
        .into_iter()
        .find_map(|(part, stream)| kind.contains(part).then_some(stream))
}

/// The type of an answer that something between wrote: the page of a proxy, a portal or a firewall.
fn strange_kind(headers: &HeaderMap) -> Option<&str> {
    let kind = text(headers, header::CONTENT_TYPE.as_str())?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let lower = kind.to_ascii_lowercase();
    let is_page = lower.contains("html") || lower.contains("xml") || lower.starts_with("image/");
    is_page.then_some(kind)
}

/// A subscription whose window is used up: Anthropic says which and when it resets.
fn used_up(headers: &HeaderMap, tries: u32, now: Timestamp) -> Option<Handling> {
    if text(headers, "anthropic-ratelimit-unified-status")? != "rejected" {
        return None;
    }
    let window = match text(headers, "anthropic-ratelimit-unified-representative-claim") {
        Some("five_hour") => "5-hour window",
        Some("seven_day") => "weekly window",
        Some("seven_day_opus" | "seven_day_sonnet") => "weekly window of the model",
        _ => "usage window",
    };
    let reset = unified_reset(headers).and_then(|reset| until(reset, now));
    Some(Handling::Wait {
        reason: Reason::UsageLimitReached,
        message: format!("the subscription's {window} is used up"),
        wait: reset
            .or_else(|| wait_from(headers, now))
            .unwrap_or_else(|| guess(tries)),
    })
}

/// Whether the body of a 429 says that what was bought is used up: by `OpenAI`'s codes. That passes as well, but not soon.
pub(super) fn is_used_up(body: &[u8]) -> bool {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let codes = ["/error/code", "/error/type"].map(|at| json.pointer(at).and_then(Value::as_str));
    let used_up = ["insufficient_quota", "usage_limit_reached"];
    codes.iter().flatten().any(|code| used_up.contains(code))
}

/// The upstream's error in our words.
pub(super) fn redact(status: StatusCode, body: &[u8], key: &str) -> Refusal {
    let message = words(body, key).unwrap_or_else(|| "no reason was given".to_owned());
    Refusal::passed_on(status, kind(status), message)
}

/// What the upstream says in the place where the API puts it, cut, and without anything that could be the key.
pub(super) fn words(body: &[u8], key: &str) -> Option<String> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = json.pointer("/error/message").and_then(Value::as_str)?;
    let message: String = message.chars().filter(|c| !c.is_control()).take(500).collect();
    Some(if leaks(&message, key) {
        "the reason is withheld: it contains a part of the API key".to_owned()
    } else {
        message
    })
}

/// Some gateways show a key's first or last characters.
fn leaks(message: &str, key: &str) -> bool {
    if key.is_empty() {
        return false;
    }
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

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
}

/// `retry-after` in seconds or as a date, else the reset times of Anthropic, else those of `OpenAI`.
fn wait_from(headers: &HeaderMap, now: Timestamp) -> Option<Wait> {
    let after = text(headers, "retry-after");
    let seconds = after
        .and_then(|text| text.parse::<u64>().ok())
        .map(Duration::from_secs);
    let date = || {
        let date = jiff::fmt::rfc2822::parse(after?).ok()?;
        Duration::try_from(date.timestamp().duration_since(now)).ok()
    };
    seconds
        .or_else(date)
        .map(bounded)
        .or_else(|| until(unified_reset(headers).or_else(|| dated_reset(headers))?, now))
        .or_else(|| Some(bounded(span_reset(headers)?)))
}

fn unified_reset(headers: &HeaderMap) -> Option<Timestamp> {
    let seconds = text(headers, "anthropic-ratelimit-unified-reset")?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

fn dated_reset(headers: &HeaderMap) -> Option<Timestamp> {
    let names = [
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-output-tokens-reset",
        "anthropic-ratelimit-requests-reset",
    ];
    let dates = names
        .into_iter()
        .filter_map(|name| text(headers, name)?.parse().ok());
    dates.max()
}

/// Such as `6m0s`, `1.2s` and `120ms`.
fn span_reset(headers: &HeaderMap) -> Option<Duration> {
    let names = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"];
    let spans = names.into_iter().filter_map(|name| {
        let span: SignedDuration = text(headers, name)?.parse().ok()?;
        Duration::try_from(span).ok()
    });
    spans.max()
}

fn until(reset: Timestamp, now: Timestamp) -> Option<Wait> {
    Duration::try_from(reset.duration_since(now)).ok().map(bounded)
}

fn bounded(delay: Duration) -> Wait {
    let delay = delay.clamp(Duration::from_secs(1), LONGEST_WAIT);
    Wait { delay, told: true }
}

/// 2, 4, 8, … up to 60 seconds.
pub(super) fn guess(tries: u32) -> Wait {
    let delay = Duration::from_secs(2u64.saturating_pow(tries.saturating_add(1))).min(LONGEST_GUESS);
    Wait { delay, told: false }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const KEY: fn() -> Credential = || Credential::ApiKey("k".to_owned());
    const TOKEN: fn() -> Credential = || Credential::Oauth("t".to_owned());

    fn judged_with(
        credential: &Credential,
        status: u16,
        headers: &[(&'static str, &'static str)],
        tries: u32,
    ) -> Handling {
        let headers = headers
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)))
            .collect();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        classify(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            credential,
            tries,
            now,
        )
    }

    fn classified(status: u16, headers: &[(&'static str, &'static str)], tries: u32) -> Handling {
        judged_with(&KEY(), status, headers, tries)
    }

    /// Reason, seconds, and whether they were told.
    fn waits(handling: &Handling) -> (Reason, u64, bool) {
        match handling {
            Handling::Wait { reason, wait, .. } => (*reason, wait.delay.as_secs(), wait.told),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_limit_is_waited_for_as_long_as_the_upstream_says() {
        let limited = |name, value| waits(&classified(429, &[(name, value)], 0));
        for (name, value, seconds) in [
            ("retry-after", "17", 17),
            ("retry-after", "Thu, 01 Jan 2026 00:02:00 GMT", 120),
            ("anthropic-ratelimit-requests-reset", "2026-01-01T00:01:00Z", 60),
            (
                "anthropic-ratelimit-output-tokens-reset",
                "2026-01-01T00:01:00Z",
                60,
            ),
            ("anthropic-ratelimit-unified-reset", "1767225630", 30),
            ("x-ratelimit-reset-requests", "6m0s", 360),
            ("x-ratelimit-reset-tokens", "1.5s", 1),
            ("retry-after", "99999999", 691_200),
            ("retry-after", "0", 1),
        ] {
            assert_eq!(
                limited(name, value),
                (Reason::RateLimited, seconds, true),
                "{name}: {value}"
            );
        }
        assert_eq!(limited("retry-after", "soon"), (Reason::RateLimited, 2, false));
        assert_eq!(waits(&classified(529, &[], 2)), (Reason::Overloaded, 8, false));
        assert_eq!(
            waits(&classified(503, &[("retry-after", "9")], 2)),
            (Reason::Overloaded, 9, true)
        );
        assert_eq!(
            waits(&classified(529, &[], u32::MAX)),
            (Reason::Overloaded, 60, false)
        );
    }

    #[test]
    fn a_provider_that_fails_and_a_page_in_its_place_are_outages() {
        for status in [408, 500, 502, 504, 520, 524, 599] {
            assert_eq!(
                waits(&classified(status, &[], 1)),
                (Reason::ModelUnreachable, 4, false),
                "{status}"
            );
        }
        assert_eq!(
            waits(&classified(502, &[("retry-after", "9")], 1)),
            (Reason::ModelUnreachable, 9, true)
        );
        for status in [400, 404, 413, 501, 505] {
            assert!(
                matches!(classified(status, &[], 0), Handling::Fail(_)),
                "{status}"
            );
        }
        for page in ["text/html; charset=utf-8", "Application/XHTML+xml", "image/png"] {
            let handling = classified(200, &[("content-type", page)], 0);
            assert_eq!(waits(&handling).0, Reason::ModelUnreachable, "{page}");
        }
        for answer in ["application/json", "text/event-stream; charset=utf-8"] {
            assert_eq!(classified(200, &[("content-type", answer)], 0), Handling::Pass);
        }
    }

    /// What Anthropic answers a subscription that has nothing left of its five hours.
    const REJECTED: &[(&str, &str)] = &[
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-reset", "1767240000"),
        ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
        ("anthropic-ratelimit-unified-5h-status", "rejected"),
        ("anthropic-ratelimit-unified-5h-reset", "1767240000"),
        ("anthropic-ratelimit-unified-7d-status", "allowed"),
        ("anthropic-ratelimit-unified-7d-reset", "1767600000"),
        ("anthropic-ratelimit-unified-overage-status", "rejected"),
        ("retry-after", "60"),
    ];

    #[test]
    fn a_used_up_window_is_waited_for_until_its_reset_and_named() {
        let handling = judged_with(&TOKEN(), 429, REJECTED, 0);
        assert_eq!(waits(&handling), (Reason::UsageLimitReached, 14_400, true));
        let Handling::Wait { message, .. } = handling else {
            panic!("{handling:?}")
        };
        assert_eq!(message, "the subscription's 5-hour window is used up");
        let mut allowed = REJECTED.to_vec();
        allowed[0].1 = "allowed";
        assert_eq!(
            waits(&judged_with(&TOKEN(), 429, &allowed, 0)),
            (Reason::RateLimited, 60, true)
        );
    }

    #[test]
    fn a_used_up_quota_is_known_by_its_code() {
        let recorded = br#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
        assert!(is_used_up(recorded));
        assert!(is_used_up(
            br#"{"error":{"type":"usage_limit_reached","plan_type":"plus"}}"#
        ));
        assert!(!is_used_up(
            br#"{"error":{"type":"requests","code":"rate_limit_exceeded"}}"#
        ));
        assert!(!is_used_up(b"insufficient_quota"));
    }

    #[test]
    fn a_refused_key_stops_a_refused_token_may_be_renewed_and_a_redirect_is_not_followed() {
        assert!(matches!(classified(401, &[], 0), Handling::Stop { .. }));
        assert!(matches!(classified(403, &[], 0), Handling::Stop { .. }));
        assert_eq!(judged_with(&TOKEN(), 401, &[], 0), Handling::Renew);
        assert!(matches!(
            judged_with(&TOKEN(), 403, &[], 0),
            Handling::Stop { .. }
        ));
        assert!(matches!(
            classified(307, &[("location", "https://evil")], 0),
            Handling::Fail(_)
        ));
        assert!(matches!(
            classified(200, &[("content-encoding", "gzip")], 0),
            Handling::Fail(_)
        ));
        assert_eq!(classified(200, &[], 0), Handling::Pass);
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
