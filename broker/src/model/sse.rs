//! Reads the usage out of an answer while it passes: a stream of server-sent events, or one JSON document.

use gastown_api::usage::{Surcharge, Usage};
use serde::Deserialize;

/// The longest line that is looked at; a longer one is passed and not read. The last event of the Responses API repeats
/// the whole answer.
const MAX_LINE: usize = 1024 * 1024;

/// Types of the events that end an answer.
const LAST: &[&str] = &[
    "message_stop",
    "response.completed",
    "response.incomplete",
    "response.failed",
];

/// The most of a JSON answer that is kept to be read.
const MAX_DOCUMENT: usize = 8 * 1024 * 1024;

/// The most tokens of one kind that an answer is believed to have. The API server keeps no whole number above 2^63, and a
/// status that it does not take would never say how the attempt ended.
const MOST_TOKENS: u64 = 1 << 40;

/// What an answer told of its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedUsage {
    /// The figures it told.
    pub usage: Option<Usage>,
    /// What makes them dearer than the price table has them.
    pub surcharge: Surcharge,
    /// Whether it told how long what was written to the cache stays there.
    pub tells_cache_times: bool,
    /// Whether the figures are the last ones.
    pub whole: bool,
    /// Whether nothing in it can be of a model provider, such as an error page of something between.
    pub foreign: bool,
    /// Bytes of the answer.
    pub bytes: usize,
}

/// Collects usage from the bytes of an answer.
#[derive(Debug)]
pub(super) struct UsageReader {
    kind: Kind,
    bytes: usize,
}

#[derive(Debug)]
enum Kind {
    Events(Events),
    /// A document, all of it; None when it is too long.
    Document(Option<Vec<u8>>),
}

#[derive(Debug, Default)]
struct Events {
    /// The unfinished line.
    line: Vec<u8>,
    /// Whether that line is too long.
    overlong: bool,
    found: Option<Figures>,
    /// Whether the last event was there.
    ended: bool,
    content: Content,
}

/// What there was besides empty lines and names of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    Nothing,
    /// Lines that no stream of events has.
    Foreign,
    /// Data.
    Data,
}

/// The provider's figures, by its names; those of a later event replace those of an earlier one.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Figures {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheTimes>,
    server_tool_use: Option<ServerTools>,
    inference_geo: Option<Geo>,
    speed: Option<Speed>,
    /// Stands beside the usage in the Responses API.
    #[serde(skip)]
    tier: Option<Tier>,
    /// Of the Responses API, which counts these among the input tokens.
    input_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// The cache writes by how long they stay.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct CacheTimes {
    ephemeral_1h_input_tokens: Option<u64>,
}

/// What the provider did besides.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct ServerTools {
    web_search_requests: Option<u64>,
}

/// Where the model ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Geo {
    Us,
    #[serde(other)]
    Other,
}

/// In which mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speed {
    Fast,
    #[serde(other)]
    Other,
}

/// In which of `OpenAI`'s tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tier {
    Priority,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Of the Messages API.
    message: Option<Answer>,
    /// Of the Responses API.
    response: Option<Answer>,
    usage: Option<Figures>,
    service_tier: Option<Tier>,
}

#[derive(Deserialize)]
struct Answer {
    usage: Option<Figures>,
    service_tier: Option<Tier>,
}

impl Event {
    fn figures(self) -> Option<Figures> {
        let answer = self.message.or(self.response);
        let tier = answer.as_ref().and_then(|answer| answer.service_tier);
        let usage = self.usage.or_else(|| answer.and_then(|answer| answer.usage));
        usage.map(|figures| Figures {
            tier: tier.or(self.service_tier),
            ..figures
        })
    }
}

impl UsageReader {
    /// A reader of a stream or of a document.
    pub(super) fn new(stream: bool) -> Self {
        let kind = if stream {
            Kind::Events(Events::default())
        } else {
            Kind::Document(Some(Vec::new()))
        };
        Self { kind, bytes: 0 }
    }

    /// Takes the next bytes of the answer.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.bytes = self.bytes.saturating_add(chunk.len());
        match &mut self.kind {
            Kind::Events(events) => events.feed(chunk),
            Kind::Document(kept) => {
                *kept = kept
                    .take()
                    .filter(|kept| kept.len() + chunk.len() <= MAX_DOCUMENT);
                if let Some(kept) = kept {
                    kept.extend_from_slice(chunk);
                }
            }
        }
    }

    /// What the answer told.
    pub(super) fn finish(&self) -> ReportedUsage {
        let (figures, whole, foreign) = match &self.kind {
            Kind::Events(events) => (events.found, events.ended, events.is_foreign()),
            Kind::Document(Some(kept)) => match serde_json::from_slice::<Event>(kept) {
                Ok(document) => (document.figures(), true, false),
                Err(error) => (None, true, kept.is_empty() || error.is_syntax()),
            },
            Kind::Document(None) => (None, true, false),
        };
        ReportedUsage {
            usage: figures.map(Figures::usage),
            surcharge: figures.map(Figures::surcharge).unwrap_or_default(),
            tells_cache_times: figures.is_some_and(|figures| figures.cache_creation.is_some()),
            whole,
            foreign,
            bytes: self.bytes,
        }
    }
}

impl Events {
    fn feed(&mut self, chunk: &[u8]) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.overlong |= self.line.len() + part.len() > MAX_LINE;
            if !self.overlong {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                if !self.overlong {
                    self.read_line();
                }
                self.line.clear();
                self.overlong = false;
            }
        }
    }

    fn is_foreign(&self) -> bool {
        match self.content {
            Content::Nothing => !is_of_events(&self.line),
            Content::Foreign => true,
            Content::Data => false,
        }
    }

    /// Most lines are deltas of text: those are not parsed.
    fn read_line(&mut self) {
        let Some(json) = self.line.strip_prefix(b"data:") else {
            if self.content == Content::Nothing && !is_of_events(&self.line) {
                self.content = Content::Foreign;
            }
            return;
        };
        self.content = Content::Data;
        let holds = |word: &[u8]| json.windows(word.len()).any(|window| window == word);
        if !holds(b"\"usage\":") && !LAST.iter().any(|kind| holds(kind.as_bytes())) {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Event>(json) else {
            return;
        };
        self.ended |= event.kind.as_deref().is_some_and(|kind| LAST.contains(&kind));
        if let Some(new) = event.figures() {
            self.found = Some(self.found.unwrap_or_default().followed_by(new));
        }
    }
}

impl Figures {
    fn followed_by(self, new: Self) -> Self {
        Self {
            input_tokens: new.input_tokens.or(self.input_tokens),
            output_tokens: new.output_tokens.or(self.output_tokens),
            cache_creation_input_tokens: new
                .cache_creation_input_tokens
                .or(self.cache_creation_input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(self.cache_read_input_tokens),
            cache_creation: new.cache_creation.or(self.cache_creation),
            server_tool_use: new.server_tool_use.or(self.server_tool_use),
            inference_geo: new.inference_geo.or(self.inference_geo),
            speed: new.speed.or(self.speed),
            tier: new.tier.or(self.tier),
            input_tokens_details: new.input_tokens_details.or(self.input_tokens_details),
        }
    }

    fn surcharge(self) -> Surcharge {
        let one_hour = self
            .cache_creation
            .and_then(|times| times.ephemeral_1h_input_tokens);
        let searches = self.server_tool_use.and_then(|tools| tools.web_search_requests);
        Surcharge {
            one_hour_tokens: tokens(one_hour),
            web_searches: tokens(searches),
            us_only: self.inference_geo == Some(Geo::Us),
            fast: self.speed == Some(Speed::Fast),
            priority: self.tier == Some(Tier::Priority),
        }
    }

    fn usage(self) -> Usage {
        let cached = self
            .input_tokens_details
            .and_then(|details| details.cached_tokens);
        let input = self
            .input_tokens
            .map(|input| input.saturating_sub(cached.unwrap_or_default()));
        Usage {
            input_tokens: tokens(input),
            output_tokens: tokens(self.output_tokens),
            cache_write_tokens: tokens(self.cache_creation_input_tokens),
            cache_read_tokens: tokens(self.cache_read_input_tokens.or(cached)),
            requests: 1,
        }
    }
}

/// Whether a stream of events may have this line, or one that begins so.
fn is_of_events(line: &[u8]) -> bool {
    let fields = ["data:", "event:", "id:", "retry:"].map(str::as_bytes);
    let begins = |field: &[u8]| line.starts_with(field) || field.starts_with(line);
    line.trim_ascii().is_empty() || line.starts_with(b":") || fields.into_iter().any(begins)
}

fn tokens(reported: Option<u64>) -> u64 {
    reported.unwrap_or_default().min(MOST_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "event: message_start\r\n",
        r#"data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":10,"cache_read_input_tokens":7,"output_tokens":1}}}"#,
        "\r\n\r\nevent: content_block_delta\n",
        r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"the \"usage\": of \"message_stop\""}}"#,
        "\n\nevent: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}"#,
        "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    fn expected() -> Usage {
        Usage {
            input_tokens: 10,
            output_tokens: 42,
            cache_read_tokens: 7,
            requests: 1,
            ..Usage::default()
        }
    }

    fn read(parts: &[&[u8]]) -> ReportedUsage {
        let mut reader = UsageReader::new(true);
        for part in parts {
            reader.feed(part);
        }
        reader.finish()
    }

    #[test]
    fn usage_is_the_same_wherever_the_stream_is_cut() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let reported = read(&[&bytes[..cut], &bytes[cut..]]);
            let expected = ReportedUsage {
                usage: Some(expected()),
                surcharge: Surcharge::default(),
                tells_cache_times: false,
                whole: true,
                foreign: false,
                bytes: bytes.len(),
            };
            assert_eq!(reported, expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single).usage, Some(expected()));
    }

    #[test]
    fn a_stream_that_broke_off_is_not_whole_and_tells_its_input() {
        let begin = STREAM.find("event: message_delta").unwrap();
        let reported = read(&[&STREAM.as_bytes()[..begin]]);
        assert!(!reported.whole);
        assert_eq!(
            reported
                .usage
                .map(|usage| (usage.input_tokens, usage.output_tokens)),
            Some((10, 1))
        );
    }

    #[test]
    fn an_overlong_line_is_passed_and_the_next_is_read() {
        let overlong = b"data: {\"usage\":".repeat(MAX_LINE);
        assert_eq!(
            read(&[&overlong, b"\n", STREAM.as_bytes()]).usage,
            Some(expected())
        );
    }

    #[test]
    fn figures_that_no_status_can_hold_are_not_believed() {
        let reported = read(&[b"data: {\"usage\":{\"input_tokens\":18446744073709551615,\"output_tokens\":9223372036854775808}}\n"]);
        let usage = reported.usage.unwrap();
        assert!(i64::try_from(usage.tokens()).is_ok(), "{usage:?}");
    }

    #[test]
    fn a_stream_of_the_responses_api_tells_its_usage_in_its_last_event() {
        let stream = concat!(
            "event: response.created\n",
            r#"data: {"type":"response.created","response":{"id":"r","usage":null}}"#,
            "\n\n",
            r#"data: {"type":"response.output_text.delta","delta":"\"response.completed\""}"#,
            "\n\n",
            r#"data: {"type":"response.completed","response":{"id":"r","usage":{"input_tokens":17,"input_tokens_details":{"cached_tokens":7},"output_tokens":42,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":59}}}"#,
            "\n\n",
        );
        assert_eq!(read(&[stream.as_bytes()]).usage, Some(expected()));
        let begin = stream.rfind("data:").unwrap();
        let cut = read(&[&stream.as_bytes()[..begin]]);
        assert_eq!((cut.usage, cut.whole), (None, false));
        let failed = br#"data: {"type":"response.failed","response":{"usage":null}}
"#;
        assert!(read(&[failed]).whole);
    }

    #[test]
    fn garbage_has_no_usage() {
        for bytes in [
            &b""[..],
            b"data:",
            b"data: {\"usage\":7}\n",
            b"data: {\"usage\":{\"input_tokens\":-1}}\n",
            b"data: {\"type\":\"x\",\"y\":\"message_stop\"}\n",
            &[0xff; 99],
        ] {
            let reported = read(&[bytes]);
            assert_eq!((reported.usage, reported.whole), (None, false), "{bytes:?}");
        }
    }

    #[test]
    fn what_makes_a_call_dearer_is_read() {
        let usage = r#"{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":9,"cache_creation":
            {"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":7},"server_tool_use":{"web_search_requests":3},
            "service_tier":"standard","inference_geo":"us","speed":"fast"}"#;
        let mut reader = UsageReader::new(false);
        reader.feed(format!("{{\"usage\":{usage}}}").as_bytes());
        let reported = reader.finish();
        let expected = Surcharge {
            one_hour_tokens: 7,
            web_searches: 3,
            us_only: true,
            fast: true,
            priority: false,
        };
        assert_eq!((reported.surcharge, reported.tells_cache_times), (expected, true));
        let start = format!(
            "data: {{\"message\":{{\"usage\":{}}}}}\n",
            usage.replace('\n', " ")
        );
        let reported = read(&[
            start.as_bytes(),
            b"data: {\"usage\":{\"output_tokens\":5,\"speed\":null}}\n",
        ]);
        assert_eq!(reported.surcharge, expected, "an earlier event reported it");
        let priority = br#"data: {"type":"response.completed","response":{"service_tier":"priority","usage":{"input_tokens":1}}}
"#;
        assert!(read(&[priority]).surcharge.priority);
        let usual = br#"data: {"message":{"usage":{"input_tokens":1,"speed":"standard","inference_geo":"not_available"}}}
"#;
        assert_eq!(read(&[usual]).surcharge, Surcharge::default());
    }

    #[test]
    fn an_answer_that_no_provider_wrote_is_known() {
        let page = b"<html><body>502 Bad Gateway</body></html>";
        for stream in [true, false] {
            let mut reader = UsageReader::new(stream);
            reader.feed(page);
            assert!(reader.finish().foreign, "stream {stream}");
        }
        for stream in [&b""[..], b"\n", b": ping\n\n", b"eve", b"event: ping\n"] {
            assert!(!read(&[stream]).foreign, "{stream:?}: it broke off");
        }
        assert!(UsageReader::new(false).finish().foreign, "an empty document");
        let mut other = UsageReader::new(false);
        other.feed(br#"{"id":"m"}"#);
        assert!(!other.finish().foreign);
        assert!(!read(&[STREAM.as_bytes()]).foreign);
    }

    #[test]
    fn a_document_tells_its_usage() {
        let mut reader = UsageReader::new(false);
        reader.feed(br#"{"id":"m","usage":{"input_tokens":3,"out"#);
        reader.feed(br#"put_tokens":4}}"#);
        let reported = reader.finish();
        assert_eq!(
            (reported.usage.map(|usage| usage.tokens()), reported.whole),
            (Some(7), true)
        );
    }
}
