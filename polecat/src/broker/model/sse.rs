//! Reads the usage out of an answer while it passes: a stream of server-sent events, or one JSON document.

use gastown_api::usage::Usage;
use serde::Deserialize;

/// The longest line that is looked at. Events with usage are far shorter; a longer line is passed and not read.
const MAX_LINE: usize = 256 * 1024;

/// The most of a JSON answer that is kept to be read.
const MAX_DOCUMENT: usize = 8 * 1024 * 1024;

/// Collects usage from the bytes of an answer.
#[derive(Debug)]
pub(super) enum UsageReader {
    /// Of a stream.
    Events {
        /// The unfinished line.
        line: Vec<u8>,
        /// Whether that line is too long.
        overlong: bool,
        /// What was found.
        found: Option<Figures>,
    },
    /// Of a document.
    Document {
        /// All of it; None when it is too long.
        bytes: Option<Vec<u8>>,
    },
}

/// The provider's figures; those of a later event replace those of an earlier one.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Figures {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Event {
    message: Option<Message>,
    usage: Option<Figures>,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Figures>,
}

impl UsageReader {
    /// A reader of a stream or of a document.
    pub(super) fn new(stream: bool) -> Self {
        if stream {
            Self::Events {
                line: Vec::new(),
                overlong: false,
                found: None,
            }
        } else {
            Self::Document {
                bytes: Some(Vec::new()),
            }
        }
    }

    /// Takes the next bytes of the answer.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        match self {
            Self::Document { bytes } => {
                if bytes
                    .as_ref()
                    .is_some_and(|bytes| bytes.len() + chunk.len() > MAX_DOCUMENT)
                {
                    *bytes = None;
                }
                if let Some(bytes) = bytes {
                    bytes.extend_from_slice(chunk);
                }
            }
            Self::Events {
                line,
                overlong,
                found,
            } => {
                for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                    let ended = part.ends_with(b"\n");
                    if line.len() + part.len() > MAX_LINE {
                        *overlong = true;
                    }
                    if !*overlong {
                        line.extend_from_slice(part);
                    }
                    if ended {
                        if !*overlong {
                            read_line(line, found);
                        }
                        line.clear();
                        *overlong = false;
                    }
                }
            }
        }
    }

    /// The usage, where the answer told it.
    pub(super) fn finish(self) -> Option<Usage> {
        let figures = match self {
            Self::Events {
                mut found,
                line,
                overlong,
            } => {
                if !overlong {
                    read_line(&line, &mut found);
                }
                found
            }
            Self::Document { bytes } => serde_json::from_slice::<Event>(&bytes?).ok()?.usage,
        }?;
        Some(Usage {
            input_tokens: figures.input_tokens.unwrap_or_default(),
            output_tokens: figures.output_tokens.unwrap_or_default(),
            cache_write_tokens: figures.cache_creation_input_tokens.unwrap_or_default(),
            cache_read_tokens: figures.cache_read_input_tokens.unwrap_or_default(),
            requests: 1,
        })
    }
}

/// Most lines are deltas of text without usage: those are not parsed.
fn read_line(line: &[u8], found: &mut Option<Figures>) {
    let Some(json) = line.strip_prefix(b"data:") else {
        return;
    };
    if !json.windows(8).any(|window| window == b"\"usage\":") {
        return;
    }
    let Ok(event) = serde_json::from_slice::<Event>(json) else {
        return;
    };
    if let Some(new) = event
        .usage
        .or_else(|| event.message.and_then(|message| message.usage))
    {
        let old = found.unwrap_or_default();
        *found = Some(Figures {
            input_tokens: new.input_tokens.or(old.input_tokens),
            output_tokens: new.output_tokens.or(old.output_tokens),
            cache_creation_input_tokens: new
                .cache_creation_input_tokens
                .or(old.cache_creation_input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "event: message_start\r\n",
        r#"data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":10,"cache_read_input_tokens":7,"output_tokens":1}}}"#,
        "\r\n\r\nevent: content_block_delta\n",
        r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"the \"usage\": of words"}}"#,
        "\n\nevent: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}"#,
        "\n\n",
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

    #[test]
    fn usage_is_the_same_wherever_the_stream_is_cut() {
        for cut in 0..=STREAM.len() {
            let mut reader = UsageReader::new(true);
            reader.feed(&STREAM.as_bytes()[..cut]);
            reader.feed(&STREAM.as_bytes()[cut..]);
            assert_eq!(reader.finish(), Some(expected()), "cut at {cut}");
        }
    }

    #[test]
    fn an_overlong_line_is_passed_and_the_next_is_read() {
        let mut reader = UsageReader::new(true);
        reader.feed(&b"data: {\"usage\":".repeat(MAX_LINE));
        reader.feed(b"\n");
        reader.feed(STREAM.as_bytes());
        assert_eq!(reader.finish(), Some(expected()));
    }

    #[test]
    fn garbage_has_no_usage() {
        for bytes in [
            &b""[..],
            b"data:",
            b"data: {\"usage\":7}\n",
            b"data: {\"usage\":{\"input_tokens\":-1}}\n",
            &[0xff; 99],
        ] {
            let mut reader = UsageReader::new(true);
            reader.feed(bytes);
            assert_eq!(reader.finish(), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_document_tells_its_usage() {
        let mut reader = UsageReader::new(false);
        reader.feed(br#"{"id":"m","usage":{"input_tokens":3,"out"#);
        reader.feed(br#"put_tokens":4}}"#);
        assert_eq!(reader.finish().map(|usage| usage.tokens()), Some(7));
    }
}
