//! The beginning of a stream: a provider that has no time may say so after it answered 200, in the place of an answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use gastown_api::reason::Reason;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

/// The most of a stream that is held back. The first event of the Responses API repeats instructions and tools.
const MOST: usize = 512 * 1024;

/// For how long. A provider that has more to think about says so to the agent.
const LONGEST: Duration = Duration::from_mins(1);

/// Types of events in which no part of an answer is told, nor a figure that is billed.
const EMPTY: &[&str] = &[
    "ping",
    "response.created",
    "response.queued",
    "response.in_progress",
];

/// What `Incoming` gives; None is its end.
type Next = Option<Result<Frame<Bytes>, hyper::Error>>;

/// An answer of which the beginning may have been read.
pub(super) struct Answer {
    begun: VecDeque<Next>,
    rest: Incoming,
}

/// Why a call was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub reason: Reason,
    pub message: String,
}

impl Answer {
    /// An answer of which nothing was read.
    pub(super) fn unread(rest: Incoming) -> Self {
        Self {
            begun: VecDeque::new(),
            rest,
        }
    }

    /// The next part.
    pub(super) async fn frame(&mut self) -> Next {
        match self.begun.pop_front() {
            Some(next) => next,
            None => self.rest.frame().await,
        }
    }

    /// Holds a stream back until it is known whether it begins with an outage; what is held back too long is an answer.
    pub(super) async fn begin(mut self) -> Result<Self, Outage> {
        let until = Instant::now() + LONGEST;
        let mut opening = Opening::default();
        while opening.seen.len() < MOST {
            let Ok(next) = timeout_at(until, self.rest.frame()).await else {
                break;
            };
            let data = next.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            let said = data.cloned().map(|data| opening.feed(&data));
            let has_ended = !matches!(next, Some(Ok(_)));
            self.begun.push_back(next);
            match said {
                Some(Said::Outage(outage)) => return Err(outage),
                Some(Said::Something) => break,
                _ if has_ended => break,
                _ => {}
            }
        }
        Ok(self)
    }
}

/// What the lines of a stream have said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Nothing yet.
    Nothing,
    /// A part of an answer, or what is not known.
    Something,
    /// That there is none.
    Outage(Outage),
}

/// The beginning of a stream.
#[derive(Debug, Default)]
struct Opening {
    seen: Vec<u8>,
    /// How much of it stands in lines that were looked at.
    judged: usize,
}

impl Opening {
    fn feed(&mut self, chunk: &[u8]) -> Said {
        self.seen.extend_from_slice(chunk);
        while let Some(length) = self.seen[self.judged..].iter().position(|byte| *byte == b'\n') {
            let line = &self.seen[self.judged..self.judged + length];
            self.judged += length + 1;
            match line.strip_prefix(b"data:").map(classify) {
                None | Some(Said::Nothing) => {}
                Some(said) => return said,
            }
        }
        Said::Nothing
    }
}

/// What one event says.
fn classify(json: &[u8]) -> Said {
    let event: Value = serde_json::from_slice(json).unwrap_or_default();
    if event["type"].as_str().is_some_and(|kind| EMPTY.contains(&kind)) {
        return Said::Nothing;
    }
    outage(&event).map_or(Said::Something, Said::Outage)
}

/// Why there is no answer, by the types and codes of the errors that a provider also answers as a status that passes.
fn outage(event: &Value) -> Option<Outage> {
    let error = error(event)?;
    ["code", "type"].into_iter().find_map(|field| {
        let kind = match &error[field] {
            Value::String(kind) => kind.clone(),
            Value::Number(code) => code.to_string(),
            _ => return None,
        };
        let reason = match kind.as_str() {
            "overloaded_error" | "server_is_overloaded" | "slow_down" | "503" | "529" => Reason::Overloaded,
            "rate_limit_error" | "rate_limit_exceeded" | "429" => Reason::RateLimited,
            "insufficient_quota" | "usage_limit_reached" => Reason::UsageLimitReached,
            "api_error"
            | "timeout_error"
            | "server_error"
            | "internal_server_error"
            | "500"
            | "502"
            | "504" => Reason::ModelUnreachable,
            _ => return None,
        };
        let message = format!("the model endpoint began its answer with the error {kind:?}");
        Some(Outage { reason, message })
    })
}

/// The error of an event, where it has nothing else: in the Messages API and of most gateways it is an object of its own, in
/// the Responses API the event itself or a part of the response that failed.
fn error(event: &Value) -> Option<&Value> {
    match event["type"].as_str() {
        Some("error") => Some(
            event
                .get("error")
                .filter(|error| error.is_object())
                .unwrap_or(event),
        ),
        Some("response.failed") => {
            let response = &event["response"];
            response["usage"].is_null().then(|| &response["error"])
        }
        Some(_) => None,
        None => event.get("error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stream: &str) -> Said {
        Opening::default().feed(stream.as_bytes())
    }

    fn reason(stream: &str) -> Option<Reason> {
        match said(stream) {
            Said::Outage(outage) => Some(outage.reason),
            _ => None,
        }
    }

    const OUTAGES: &[(&str, Reason)] = &[
        (
            r#"{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}"#,
            Reason::Overloaded,
        ),
        (
            r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#,
            Reason::ModelUnreachable,
        ),
        (
            r#"{"type":"error","error":{"type":"rate_limit_error"}}"#,
            Reason::RateLimited,
        ),
        (
            r#"{"type":"error","code":"server_error","message":"x"}"#,
            Reason::ModelUnreachable,
        ),
        (
            r#"{"type":"error","error":{"type":"invalid_request","code":"insufficient_quota"}}"#,
            Reason::UsageLimitReached,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"server_error"},"usage":null}}"#,
            Reason::ModelUnreachable,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}"#,
            Reason::RateLimited,
        ),
        (
            r#"{"error":{"message":"x","type":"None","code":"503"}}"#,
            Reason::Overloaded,
        ),
        (
            r#"{"error":{"message":"x","code":502}}"#,
            Reason::ModelUnreachable,
        ),
    ];

    #[test]
    fn an_error_in_the_place_of_an_answer_is_known_by_its_type() {
        for (event, wanted) in OUTAGES {
            let first = format!("event: error\r\ndata: {event}\r\n\r\n");
            assert_eq!(reason(&first), Some(*wanted), "{event}");
            for empty in EMPTY {
                let after = format!(": hello\nevent: x\ndata: {{\"type\": \"{empty}\"}}\n\n{first}");
                assert_eq!(reason(&after), Some(*wanted), "{event} after {empty}");
            }
            assert_eq!(said(&format!("data: {event}")), Said::Nothing, "not whole");
        }
    }

    #[test]
    fn an_answer_and_an_error_that_does_not_pass_are_no_outage() {
        for event in [
            r#"{"type":"error","error":{"type":"invalid_request_error"}}"#,
            r#"{"type":"message_start","message":{"error":{"type":"api_error"}},"error":{"type":"api_error"}}"#,
            r#"{"type":"response.failed","response":{"error":{"code":"server_error"},"usage":{"input_tokens":1}}}"#,
            r#"{"type":"response.failed","response":{"error":{"code":"context_length_exceeded"}}}"#,
            "[DONE]",
            "",
        ] {
            assert_eq!(said(&format!("data: {event}\n\n")), Said::Something, "{event}");
            let (late, _) = OUTAGES[0];
            let late = format!("data: {event}\n\ndata: {late}\n\n");
            assert_eq!(said(&late), Said::Something, "it has begun: {event}");
        }
    }

    #[test]
    fn an_outage_is_the_same_wherever_the_stream_is_cut() {
        let stream = format!(
            "event: ping\ndata: {{\"type\":\"ping\"}}\n\ndata: {}\n",
            OUTAGES[0].0
        );
        for cut in 0..stream.len() {
            let (begin, end) = stream.as_bytes().split_at(cut);
            let mut opening = Opening::default();
            assert_eq!(opening.feed(begin), Said::Nothing);
            assert!(matches!(opening.feed(end), Said::Outage(_)), "cut at {cut}");
        }
    }
}
