//! `cargo xtask picture`: what a command shows in a terminal of 80 columns, as SVG for a page.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::process::Command;
use crate::workspace;

/// What a page shows without scrolling.
const COLUMNS: usize = 80;
/// The size of a character.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 19.0;
const MARGIN: f64 = 14.0;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write.
    file: PathBuf,
    /// What the prompt of the picture shows; by default the command.
    #[arg(long)]
    title: Option<String>,
    /// The command, run in a real terminal.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Text of one style.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    text: String,
    class: String,
}

pub fn run(args: Args) -> Result<()> {
    let line = args.command.join(" ");
    let shown = run_in_terminal(&line)?;
    let lines: Vec<Vec<Span>> = shown.lines().map(spans).collect();
    for spans in &lines {
        let width: usize = spans.iter().map(|span| span.text.chars().count()).sum();
        let text: String = spans.iter().map(|span| span.text.as_str()).collect();
        ensure!(
            width <= COLUMNS,
            "the line {text:?} has {width} columns; it must fit {COLUMNS}"
        );
    }
    let title = args.title.unwrap_or(line);
    workspace::write_whole(&args.file, svg(&title, &lines).as_bytes())
}

/// util-linux's `script` gives the command a terminal.
fn run_in_terminal(line: &str) -> Result<String> {
    let command = format!("stty cols {COLUMNS} rows 60 2>/dev/null; {line}");
    let script = Command::new("script").args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let output = script.env("TERM", "xterm-256color").into_inner().output();
    let output = output.context("failed to start `script`; install util-linux")?;
    let text = String::from_utf8(output.stdout).context("the command printed no UTF-8")?;
    Ok(text.replace("\r\n", "\n").trim_end().to_owned())
}

/// The styled parts of a line; sequences other than colours are left out.
fn spans(line: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut class = String::new();
    let mut rest = line;
    loop {
        let (text, after) = rest.split_once("\u{1b}[").unwrap_or((rest, ""));
        if !text.is_empty() {
            spans.push(Span {
                text: text.to_owned(),
                class: class.clone(),
            });
        }
        let Some(end) = after.find(|c: char| c.is_ascii_alphabetic()) else {
            return spans;
        };
        if after[end..].starts_with('m') {
            class.clear();
            class.push_str(match &after[..end] {
                "1" => "strong",
                "2" => "faint",
                "31" => "red",
                "32" => "green",
                "33" => "yellow",
                "36" => "cyan",
                _ => "",
            });
        }
        rest = &after[end + 1..];
    }
}

fn svg(title: &str, lines: &[Vec<Span>]) -> String {
    let prompt = vec![Span {
        text: format!("$ {title}"),
        class: "faint".to_owned(),
    }];
    #[expect(clippy::cast_precision_loss, reason = "a screen has few lines and columns")]
    let size = |count: usize, unit: f64| count as f64 * unit + 2.0 * MARGIN;
    let (width, height) = (size(COLUMNS, WIDTH), size(lines.len() + 1, HEIGHT));
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" role="img" aria-label="{}">
<style>text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}}
.strong{{font-weight:bold}}.faint{{fill:#8892a2}}.red{{fill:#ff7b72}}.green{{fill:#7ee787}}.yellow{{fill:#e3b341}}.cyan{{fill:#79c0ff}}</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
"##,
        escape(title)
    );
    for (at, spans) in std::iter::once(&prompt).chain(lines).enumerate() {
        let y = size(at + 1, HEIGHT) - MARGIN - 5.0;
        let _strings_take_everything = write!(text, r#"<text x="{MARGIN}" y="{y:.0}" xml:space="preserve">"#);
        for span in spans {
            let _strings_take_everything = write!(
                text,
                r#"<tspan class="{}">{}</tspan>"#,
                span.class,
                escape(&span.text)
            );
        }
        text.push_str("</text>\n");
    }
    text.push_str("</svg>\n");
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_other_sequences_go() {
        let found = spans("\u{1b}[H\u{1b}[2Ja\u{1b}[31mStuck\u{1b}[0m b");
        let pairs: Vec<_> = found
            .iter()
            .map(|span| (span.text.as_str(), span.class.as_str()))
            .collect();
        assert_eq!(pairs, [("a", ""), ("Stuck", "red"), (" b", "")]);
    }

    #[test]
    fn text_cannot_become_markup() {
        let line = vec![Span {
            text: "<b>&".to_owned(),
            class: String::new(),
        }];
        let picture = svg("t", &[line]);
        assert!(
            picture.contains("&lt;b&gt;&amp;") && !picture.contains("<b>"),
            "{picture}"
        );
    }
}
