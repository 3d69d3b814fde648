//! Claude Code's stream of events as readable lines.

use gastown_api::text::counted;
use serde_json::Value;

use crate::run::show::{
    MAX_INPUT, MAX_LINES, MAX_RESULT, MAX_TEXT, Transcript, brief, indented, label, paragraph, remarkable,
    text,
};
use polecat_common::console::{cut, escape};

/// What is known of the session so far.
#[derive(Debug, Default)]
pub struct Session {
    message: String,
    current: Tokens,
    sum: Tokens,
    ended: bool,
    complaint: Option<String>,
}

/// The values of `terminal_reason` with which a session has ended as it was meant to: by itself, or by a hook of the
/// agent's own settings. With every other, known here or not, it was cut short. Source: the schema of results in the
/// program of Claude Code 2.1.330, which names 19 values (see the test `every_reason_…`). It does not count these
/// three as errors, nor those after which work is left (`max_turns`, `tool_deferred`,
/// `background_requested`, and `aborted_…`, which is an interruption). A refusal, an answer above the most output tokens and
/// a full context window were seen to be `api_error` with `is_error`, and to exit with 1.
const ENDED_WELL: [&str; 3] = ["completed", "hook_stopped", "stop_hook_prevented"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tokens {
    input: u64,
    cached: u64,
    output: u64,
}

impl Transcript for Session {
    fn complaint(&self) -> Option<String> {
        self.complaint.clone()
    }

    fn has_result(&self) -> bool {
        self.ended
    }

    fn event(&mut self, event: &Value) -> Vec<String> {
        match text(event, "type") {
            "system" => vec![system(event)],
            "assistant" => self.assistant(&event["message"]),
            "user" => content(&event["message"]).iter().flat_map(result).collect(),
            "result" => self.end(event),
            other => vec![format!("[{}] {}", label(other), remarkable(event))],
        }
    }
}

impl Session {
    fn assistant(&mut self, message: &Value) -> Vec<String> {
        let mut lines: Vec<String> = content(message).iter().flat_map(block).collect();
        let id = text(message, "id");
        if id != self.message {
            self.sum = self.sum.plus(std::mem::take(&mut self.current));
            id.clone_into(&mut self.message);
        }
        // Each block of a message comes as an event of its own, with the usage so far.
        let tokens = Tokens::read(&message["usage"]);
        if tokens != self.current && tokens != Tokens::default() {
            self.current = tokens;
            let Tokens { input, cached, .. } = self.sum.plus(tokens);
            // What was written is only known at the end: these events carry the usage of a message's beginning.
            lines.push(format!("[tokens] {input} tokens in ({cached} cached) so far"));
        }
        lines
    }

    fn end(&mut self, event: &Value) -> Vec<String> {
        let said = text(event, "result").trim();
        let subtype = text(event, "subtype");
        let cut_short = event["terminal_reason"]
            .as_str()
            .filter(|why| !ENDED_WELL.contains(why));
        let failed = event["is_error"].as_bool().unwrap_or(false)
            || subtype.starts_with("error")
            || cut_short.is_some();
        let number = |field: &str| event[field].as_u64().unwrap_or_default();
        let seconds = number("duration_ms") / 1000;
        let totals = Tokens::read(&event["usage"]).show();
        let mut lines = vec![format!(
            "[end] {}: {}, {seconds} s, {totals}",
            if failed {
                "the agent failed"
            } else {
                "the agent is done"
            },
            counted(number("num_turns"), "turn"),
        )];
        if failed {
            let errors = event["errors"].as_array().map_or(&[][..], Vec::as_slice);
            let errors: Vec<_> = errors.iter().filter_map(Value::as_str).collect();
            let words = if said.is_empty() {
                errors.join("; ")
            } else {
                said.to_owned()
            };
            let words = if words.is_empty() {
                cut_short.unwrap_or(subtype).to_owned()
            } else {
                words
            };
            lines.extend(paragraph("error", &words, MAX_TEXT, usize::MAX));
            self.complaint = Some(escape(&cut(&words, 300)));
        } else {
            // The result of a later turn: what was started in the background had ended.
            self.complaint = None;
        }
        self.ended = true;
        lines
    }
}

impl Tokens {
    fn read(usage: &Value) -> Self {
        let number = |field: &str| usage[field].as_u64().unwrap_or_default();
        let cached = number("cache_read_input_tokens");
        let fresh = number("input_tokens").saturating_add(number("cache_creation_input_tokens"));
        Self {
            input: fresh.saturating_add(cached),
            cached,
            output: number("output_tokens"),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
        }
    }

    fn show(self) -> String {
        format!(
            "{} tokens in ({} cached), {} out",
            self.input, self.cached, self.output
        )
    }
}

/// The blocks of a message; a plain text stands for one block.
fn content(message: &Value) -> Vec<Value> {
    match &message["content"] {
        Value::Array(blocks) => blocks.clone(),
        Value::String(text) => vec![serde_json::json!({ "type": "text", "text": text })],
        _ => Vec::new(),
    }
}

fn system(event: &Value) -> String {
    let tools = event["tools"].as_array().map_or(0, Vec::len);
    match text(event, "subtype") {
        "init" => format!(
            "[start] Claude Code {}, model {}, {tools} tools",
            escape(text(event, "claude_code_version")),
            escape(text(event, "model")),
        ),
        other => format!("[{}] {}", label(other), remarkable(event)),
    }
}

fn block(block: &Value) -> Vec<String> {
    match text(block, "type") {
        "text" => paragraph("says", text(block, "text"), MAX_TEXT, usize::MAX),
        "thinking" => paragraph("thinks", text(block, "thinking"), MAX_RESULT, MAX_LINES),
        "tool_use" => call(text(block, "name"), &block["input"]),
        other => vec![format!("[{}] {}", label(other), brief(block))],
    }
}

/// A tool's call by what says most about it.
fn call(name: &str, input: &Value) -> Vec<String> {
    let name = label(name);
    let telling = [
        "command",
        "file_path",
        "notebook_path",
        "pattern",
        "url",
        "query",
        "description",
    ];
    let telling = telling.into_iter().find_map(|field| input[field].as_str());
    let mut lines = match telling {
        Some(told) => paragraph(&name, told, MAX_INPUT, MAX_LINES),
        None => vec![format!("[{name}] {}", brief(input))],
    };
    for (field, mark) in [("old_string", "- "), ("new_string", "+ "), ("content", "+ ")] {
        if let Some(side) = input[field].as_str() {
            lines.extend(indented(side, mark, MAX_RESULT, MAX_LINES));
        }
    }
    lines
}

fn result(block: &Value) -> Vec<String> {
    if text(block, "type") != "tool_result" {
        return Vec::new();
    }
    let label = if block["is_error"].as_bool().unwrap_or(false) {
        "failed"
    } else {
        "result"
    };
    let parts: Vec<_> = content(block)
        .iter()
        .map(|part| match text(part, "type") {
            "text" => text(part, "text").to_owned(),
            other => format!("({})", escape(other)),
        })
        .collect();
    paragraph(label, &parts.join("\n"), MAX_RESULT, MAX_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::lines::Line;
    use crate::run::show::testing::{forges_nothing, show};

    #[test]
    fn a_session_reads_like_a_log() {
        let mut transcript = Session::default();
        let lines = show(
            &mut transcript,
            r#"{"type":"system","subtype":"init","model":"m","tools":["A","B"],"claude_code_version":"2.1"}"#,
        );
        assert_eq!(lines, ["[start] Claude Code 2.1, model m, 2 tools"]);
        let first = r#"{"type":"assistant","message":{"id":"1","content":[{"type":"text","text":"I look.\nThen I fix."},{"type":"tool_use","name":"Edit","input":{"file_path":"a.py","old_string":"a - b","new_string":"a + b"}}],"usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":2}}}"#;
        let expected = [
            "[says] I look.",
            "    Then I fix.",
            "[Edit] a.py",
            "    - a - b",
            "    + a + b",
            "[tokens] 15 tokens in (5 cached) so far",
        ];
        assert_eq!(show(&mut transcript, first), expected);
        let result = r#"{"type":"user","message":{"content":[{"type":"tool_result","is_error":true,"content":[{"type":"text","text":"no"},{"type":"image"}]}]}}"#;
        assert_eq!(show(&mut transcript, result), ["[failed] no", "    (image)"]);
        let again = first.replace("\"id\":\"1\"", "\"id\":\"2\"");
        show(
            &mut transcript,
            &again.replace("\"output_tokens\":2", "\"output_tokens\":3"),
        );
        assert_eq!(transcript.sum.plus(transcript.current).input, 30);
        let end = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":3,"duration_ms":12345,"result":"done","usage":{"input_tokens":20,"output_tokens":5}}"#;
        assert_eq!(
            show(&mut transcript, end),
            ["[end] the agent is done: 3 turns, 12 s, 20 tokens in (0 cached), 5 out"]
        );
        assert_eq!(transcript.complaint(), None);
    }

    #[test]
    fn events_that_are_new_are_shown_without_their_plumbing() {
        let mut transcript = Session::default();
        let event = r#"{"type":"system","subtype":"api_retry","attempt":1,"error":"overloaded","error_status":null,"session_id":"s","uuid":"u"}"#;
        assert_eq!(
            show(&mut transcript, event),
            [r#"[api_retry] {"attempt":1,"error":"overloaded"}"#]
        );
    }

    #[test]
    fn an_error_is_shown_and_kept() {
        let mut transcript = Session::default();
        let end =
            r#"{"type":"result","subtype":"error_max_turns","is_error":false,"errors":["too many turns"]}"#;
        let lines = show(&mut transcript, end);
        assert!(lines[0].starts_with("[end] the agent failed"), "{lines:?}");
        assert_eq!(lines[1], "[error] too many turns");
        assert_eq!(transcript.complaint().as_deref(), Some("too many turns"));
    }

    #[test]
    fn a_result_is_the_last_word_until_the_next_one() {
        let result = |fields: &str| {
            let mut transcript = Session::default();
            assert!(!transcript.has_result());
            show(
                &mut transcript,
                &format!(r#"{{"type":"result","subtype":"success",{fields}}}"#),
            );
            assert!(transcript.has_result());
            transcript
        };
        for fields in [
            r#""is_error":true,"terminal_reason":"api_error","result":"You have hit your limit""#,
            r#""is_error":false,"terminal_reason":"max_turns","result":"You have hit your limit""#,
            r#""terminal_reason":"new_in_a_later_version","result":"You have hit your limit""#,
        ] {
            let mut transcript = result(fields);
            assert_eq!(
                transcript.complaint().as_deref(),
                Some("You have hit your limit"),
                "{fields}"
            );
            let later = r#"{"type":"result","subtype":"success","is_error":false,"result":"done"}"#;
            show(&mut transcript, later);
            assert_eq!(transcript.complaint(), None);
        }
        for fields in [
            r#""is_error":false"#,
            r#""is_error":false,"terminal_reason":"completed""#,
            r#""is_error":false,"terminal_reason":null"#,
        ] {
            assert_eq!(result(fields).complaint(), None, "{fields}");
        }
        assert_eq!(
            result(r#""terminal_reason":"prompt_too_long""#)
                .complaint()
                .as_deref(),
            Some("prompt_too_long")
        );
    }

    /// All values of Claude Code 2.1.330.
    #[test]
    fn every_reason_to_end_is_judged() {
        let well = ["completed", "hook_stopped", "stop_hook_prevented"];
        let cut_short = [
            "aborted_streaming",
            "aborted_tools",
            "api_error",
            "background_requested",
            "blocking_limit",
            "budget_exhausted",
            "image_error",
            "malformed_tool_use_exhausted",
            "max_turns",
            "model_error",
            "prompt_too_long",
            "rapid_refill_breaker",
            "structured_output_retry_exhausted",
            "tool_deferred",
            "tool_deferred_unavailable",
            "turn_setup_failed",
        ];
        let complaint = |fields: &str| {
            let mut transcript = Session::default();
            show(&mut transcript, &format!(r#"{{"type":"result",{fields}}}"#));
            transcript.complaint()
        };
        for reason in well {
            let fields = format!(r#""subtype":"success","is_error":false,"terminal_reason":"{reason}""#);
            assert_eq!(complaint(&fields), None, "{reason}");
        }
        for reason in cut_short {
            let fields = format!(r#""subtype":"success","is_error":false,"terminal_reason":"{reason}""#);
            assert_eq!(complaint(&fields).as_deref(), Some(reason));
        }
        for subtype in [
            "error_during_execution",
            "error_max_budget_usd",
            "error_max_structured_output_retries",
            "error_max_turns",
        ] {
            let fields = format!(r#""subtype":"{subtype}","is_error":false"#);
            assert_eq!(complaint(&fields).as_deref(), Some(subtype));
        }
    }

    #[test]
    fn no_event_can_forge_a_line() {
        let mut transcript = Session::default();
        let forgeries = [
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x\npolecat run: pushed\r\u001b[1Apolecat run: no"}]}}"#,
            r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"x]\npolecat run: y","input":{"command":"\npolecat run: z"}}]}}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"\u2028polecat run: w\npolecat run: v"}]}}"#,
            r#"{"type":"x\npolecat run: u"}"#,
            "polecat run: t",
            "",
            "null",
            "[]",
            "{\"type\":5}",
            "{\"type\":\"assistant\"}",
            "{\"type\":\"assistant\",\"message\":{\"content\":7,\"usage\":[]}}",
            "{\"type\":\"result\"}",
            "{\"type\":\"user\",\"message\":{\"content\":[[],{\"type\":\"tool_result\"}]}}",
        ];
        forges_nothing(&mut transcript, &forgeries);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let mut transcript = Session::default();
        let many = "x\\n".repeat(1000);
        let event = format!(
            r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","content":"{many}"}}]}}}}"#
        );
        let lines = show(&mut transcript, &event);
        assert_eq!(lines.len(), 13);
        assert_eq!(lines[12], "    … (988 lines more)");
        let long = Line {
            bytes: vec![b'a'; 5000],
            left_out: 7,
        };
        assert_eq!(transcript.line(&long)[0].matches("bytes more").count(), 2);
    }
}
