//! Codex' stream of events as readable lines.

use serde_json::Value;

use crate::run::show::{
    MAX_INPUT, MAX_LINES, MAX_RESULT, MAX_TEXT, Transcript, brief, label, paragraph, remarkable, text,
};
use polecat_common::console::{cut, escape};

/// The state of the session so far.
#[derive(Debug, Default)]
pub struct Session {
    ended: bool,
    complaint: Option<String>,
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
            "thread.started" => vec!["[start] Codex".to_owned()],
            "turn.completed" => {
                self.complaint = None;
                self.ended = true;
                vec![end(&event["usage"])]
            }
            "turn.failed" => {
                self.ended = true;
                let mut lines = vec!["[end] the agent failed".to_owned()];
                lines.extend(self.complain(&plain(text(&event["error"], "message"))));
                lines
            }
            "error" => self.complain(&plain(text(event, "message"))),
            "item.started" => begin(&event["item"]),
            "turn.started" | "item.updated" => Vec::new(),
            "item.completed" => item(&event["item"]),
            other => vec![format!("[{}] {}", label(other), remarkable(event))],
        }
    }
}

impl Session {
    /// An error may be one that is tried again: a turn that is completed takes it back. A turn that is interrupted has no
    /// event, and Codex exits with 1. Source: `codex-rs/exec/src/event_processor_with_jsonl_output.rs` and `lib.rs` of
    /// openai/codex.
    fn complain(&mut self, words: &str) -> Vec<String> {
        self.complaint = Some(escape(&cut(words, 300)));
        paragraph("error", words, MAX_TEXT, usize::MAX)
    }
}

/// Codex shows an endpoint's refusal as raw JSON; the endpoint's message is inside.
fn plain(words: &str) -> String {
    let json: Value = serde_json::from_str(words).unwrap_or_default();
    let inner = json.pointer("/error/message").and_then(Value::as_str);
    inner.unwrap_or(words).to_owned()
}

fn end(usage: &Value) -> String {
    let number = |field: &str| usage[field].as_u64().unwrap_or_default();
    format!(
        "[end] the agent is done: {} tokens in ({} cached), {} out",
        number("input_tokens"),
        number("cached_input_tokens"),
        number("output_tokens")
    )
}

/// Commands are shown when they start, other items when they are complete.
fn begin(item: &Value) -> Vec<String> {
    match text(item, "type") {
        "command_execution" => paragraph("shell", text(item, "command"), MAX_INPUT, MAX_LINES),
        _ => Vec::new(),
    }
}

fn item(item: &Value) -> Vec<String> {
    match text(item, "type") {
        "agent_message" => paragraph("says", text(item, "text"), MAX_TEXT, usize::MAX),
        "reasoning" => paragraph("thinks", text(item, "text"), MAX_RESULT, MAX_LINES),
        "command_execution" => {
            let ended_well = item["exit_code"].as_i64() == Some(0);
            let label = if ended_well { "result" } else { "failed" };
            paragraph(label, text(item, "aggregated_output"), MAX_RESULT, MAX_LINES)
        }
        "file_change" => {
            let changes = item["changes"].as_array().map_or(&[][..], Vec::as_slice);
            let change = |change: &Value| {
                let (kind, path) = (text(change, "kind"), text(change, "path"));
                format!("{kind} {path}")
            };
            let all: Vec<_> = changes.iter().map(change).collect();
            paragraph("edit", &all.join("\n"), MAX_RESULT, MAX_LINES)
        }
        "error" => paragraph("error", text(item, "message"), MAX_TEXT, MAX_LINES),
        other => vec![format!("[{}] {}", label(other), brief(item))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::show::testing::{forges_nothing, show};

    #[test]
    fn a_session_reads_like_a_log() {
        let mut session = Session::default();
        let events = [
            (
                r#"{"type":"thread.started","thread_id":"x"}"#,
                vec!["[start] Codex"],
            ),
            (r#"{"type":"turn.started"}"#, vec![]),
            (
                r#"{"type":"item.completed","item":{"id":"0","type":"reasoning","text":"**Look**"}}"#,
                vec!["[thinks] **Look**"],
            ),
            (
                r#"{"type":"item.started","item":{"id":"1","type":"command_execution","command":"bash -lc 'ls'","aggregated_output":"","exit_code":null,"status":"in_progress"}}"#,
                vec!["[shell] bash -lc 'ls'"],
            ),
            (
                r#"{"type":"item.completed","item":{"id":"1","type":"command_execution","command":"bash -lc 'ls'","aggregated_output":"a\nb\n","exit_code":0,"status":"completed"}}"#,
                vec!["[result] a", "    b"],
            ),
            (
                r#"{"type":"item.completed","item":{"id":"2","type":"file_change","changes":[{"path":"a.py","kind":"update"}],"status":"completed"}}"#,
                vec!["[edit] update a.py"],
            ),
            (
                r#"{"type":"item.completed","item":{"id":"3","type":"agent_message","text":"Done."}}"#,
                vec!["[says] Done."],
            ),
            (
                r#"{"type":"turn.completed","usage":{"input_tokens":20,"cached_input_tokens":5,"output_tokens":3}}"#,
                vec!["[end] the agent is done: 20 tokens in (5 cached), 3 out"],
            ),
        ];
        for (event, lines) in events {
            assert_eq!(show(&mut session, event), lines, "{event}");
        }
        assert_eq!(session.complaint(), None);
    }

    #[test]
    fn an_error_is_kept_unless_the_turn_is_completed_after_all() {
        let mut session = Session::default();
        let lines = show(
            &mut session,
            r#"{"type":"error","message":"Reconnecting... 1/5"}"#,
        );
        assert_eq!(lines, ["[error] Reconnecting... 1/5"]);
        assert!(session.complaint().is_some() && !session.has_result());
        show(&mut session, r#"{"type":"turn.completed","usage":{}}"#);
        assert_eq!(session.complaint(), None);
        let lines = show(
            &mut session,
            r#"{"type":"turn.failed","error":{"message":"{\"error\": {\"message\": \"no such model\"}}"}}"#,
        );
        assert_eq!(lines, ["[end] the agent failed", "[error] no such model"]);
        assert_eq!(session.complaint().as_deref(), Some("no such model"));
        assert!(session.has_result());
    }

    #[test]
    fn no_event_can_forge_a_line() {
        let mut session = Session::default();
        let forgeries = [
            r#"{"type":"item.completed","item":{"type":"agent_message","text":"x\npolecat run: pushed\r\u001b[1A"}}"#,
            r#"{"type":"item.started","item":{"type":"command_execution","command":"\npolecat run: y"}}"#,
            r#"{"type":"item.completed","item":{"type":"file_change","changes":[{"path":"\npolecat run: z","kind":7},4]}}"#,
            r#"{"type":"item.completed","item":{"type":"x]\npolecat run: w"}}"#,
            r#"{"type":"item.completed"}"#,
            r#"{"type":"turn.completed","usage":[]}"#,
            r#"{"type":"turn.failed"}"#,
            "polecat run: t",
            "null",
        ];
        forges_nothing(&mut session, &forgeries);
    }
}
