//! The lines of a polecat's containers: `[label] text`, then indented lines that belong to it. The pod writes them so
//! (`polecat/keyless/src/run/agent/`); here they are coloured, or made into JSON lines.

use serde::Serialize;

use crate::output::fold::fold;
use crate::output::style::Style;
use crate::view::escape;

/// What stands before a line that goes on with the event before.
const INDENT: &str = "    ";

/// A line as JSON.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it was written.
    pub time: String,
    /// The container that wrote it.
    pub container: String,
    /// What it is: `says`, `Bash`, `result`, `tokens`; empty for a line without one.
    pub label: String,
    /// Whether it goes on with the event before.
    pub continued: bool,
    /// What it says.
    pub text: String,
}

/// Reads lines with the kubelet's time before them, and remembers where it was.
#[derive(Debug, Default)]
pub struct Reader {
    label: String,
    /// The time of the last line, and how many lines had that time: the kubelet resumes at whole times.
    last: Option<(String, usize)>,
    /// How many lines of the last time are still to be left out after a new connection.
    skip: usize,
}

impl Reader {
    /// Where to go on after the connection broke.
    pub fn resume(&mut self) -> Option<String> {
        let (time, count) = self.last.as_ref()?;
        self.skip = *count;
        Some(time.clone())
    }

    /// The line without its time; none: it was seen before the connection broke.
    pub fn line<'a>(&mut self, stamped: &'a str) -> Option<(&'a str, &'a str)> {
        let (time, text) = match stamped.split_once(' ') {
            Some((time, text)) if time.parse::<jiff::Timestamp>().is_ok() => (time, text),
            _ => return Some(("", stamped)),
        };
        match &mut self.last {
            Some((last, count)) if last == time => {
                if self.skip > 0 {
                    self.skip -= 1;
                    return None;
                }
                *count += 1;
            }
            // The kubelet's `sinceTime` counts whole seconds: what was before comes again.
            Some((last, _)) if self.skip > 0 && time < last.as_str() => return None,
            _ => {
                self.skip = 0;
                self.last = Some((time.to_owned(), 1));
            }
        }
        Some((time, text))
    }

    /// The line as JSON.
    pub fn event(&mut self, container: &str, time: &str, text: &str) -> Event {
        let (label, continued, text) = match labelled(text) {
            Some((label, rest)) => {
                label.clone_into(&mut self.label);
                (label.to_owned(), false, rest)
            }
            None if text.starts_with(' ') => {
                // Only the transcript's own indentation goes: what follows is the text's.
                let own = text.strip_prefix(INDENT).unwrap_or(text);
                (self.label.clone(), true, own)
            }
            None => {
                self.label.clear();
                (String::new(), false, text)
            }
        };
        Event {
            time: time.to_owned(),
            container: container.to_owned(),
            label,
            continued,
            text: text.to_owned(),
        }
    }
}

/// `[label] rest`.
fn labelled(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once(']')?;
    let known = !label.is_empty()
        && label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    known.then_some((label, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// The line for people, folded to a terminal of `width` columns.
pub fn paint(text: &str, style: Style, width: Option<usize>) -> Vec<String> {
    let text = escape(text);
    let parts = fold(&text, width, 4);
    let Some((label, _)) = labelled(&text) else {
        let trimmed = text.trim_start();
        let paint = |part: &String| match trimmed.get(..2) {
            Some("- ") => style.bad(part),
            Some("+ ") => style.good(part),
            _ => part.clone(),
        };
        return parts.iter().map(paint).collect();
    };
    let brackets = format!("[{label}]");
    let paint = |part: &String| {
        let rest = part.strip_prefix(&brackets);
        match (label, rest) {
            ("tokens" | "thinks" | "result" | "start", _) => style.faint(part),
            ("end", _) => style.strong(part),
            (_, None) => part.clone(),
            ("says", Some(rest)) => format!("{}{rest}", style.strong(&brackets)),
            ("failed" | "error" | "stderr", Some(rest)) => format!("{}{rest}", style.bad(&brackets)),
            (_, Some(rest)) => format!("{}{rest}", style.name(&brackets)),
        }
    };
    parts.iter().map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_events_and_what_is_indented_belongs_to_the_one_before() {
        let mut reader = Reader::default();
        let mut event = |text| {
            let event = reader.event("claude", "t", text);
            (event.label, event.continued, event.text)
        };
        assert_eq!(event("[Edit] /a"), ("Edit".into(), false, "/a".into()));
        assert_eq!(event("    - old"), ("Edit".into(), true, "- old".into()));
        assert_eq!(
            event("        deeper"),
            ("Edit".into(), true, "    deeper".into())
        );
        assert_eq!(event("     \tx"), ("Edit".into(), true, " \tx".into()));
        assert_eq!(event("  odd"), ("Edit".into(), true, "  odd".into()));
        assert_eq!(
            event("polecat run: x"),
            (String::new(), false, "polecat run: x".into())
        );
    }

    #[test]
    fn after_a_broken_connection_no_line_comes_twice_and_none_is_lost() {
        let mut reader = Reader::default();
        let a = [
            "2026-01-01T00:00:00.1Z a",
            "2026-01-01T00:00:00.2Z b",
            "2026-01-01T00:00:00.2Z c",
        ];
        let mut seen: Vec<String> = a
            .iter()
            .filter_map(|line| reader.line(line).map(|(_, text)| text.to_owned()))
            .collect();
        assert_eq!(reader.resume().unwrap(), "2026-01-01T00:00:00.2Z");
        let again = [
            a[0],
            a[1],
            a[2],
            "2026-01-01T00:00:00.2Z d",
            "2026-01-01T00:00:00.3Z e",
        ];
        seen.extend(
            again
                .iter()
                .filter_map(|line| reader.line(line).map(|(_, text)| text.to_owned())),
        );
        assert_eq!(seen.join(""), "abcde");
    }

    #[test]
    fn without_colour_a_line_is_as_it_was() {
        let style = Style::on(false);
        for line in ["[says] hello", "    + new", "plain", "[not a label] x"] {
            assert_eq!(paint(line, style, None), [line]);
        }
    }
}
