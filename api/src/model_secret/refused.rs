//! What can be no credential of a model: the secret's key, its text, and the remedy that the message must name.

#[rustfmt::skip]
pub const REFUSED: &[(&str, &str, &str)] = &[
    ("ANTHROPIC_API_KEY", r#"{"claudeAiOauth":{"accessToken":"t0ken"}}"#, ".credentials.json"),
    ("ANTHROPIC_API_KEY", "\"t0ken\"", "without them"),
    ("ANTHROPIC_API_KEY", "'t0ken'", "without them"),
    ("ANTHROPIC_API_KEY", "t0ken\nt0ken", "more than one line"),
    ("ANTHROPIC_API_KEY", "-----BEGIN PRIVATE KEY-----\r\nt0ken", "more than one line"),
    ("ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY=t0ken", "behind the ="),
    ("ANTHROPIC_API_KEY", "Bearer t0ken", "without \"Bearer\""),
    ("ANTHROPIC_API_KEY", "t0ken\u{1b}[A", "no key has"),
    ("ANTHROPIC_API_KEY", "t0k\u{e9}n", "no key has"),
    ("CLAUDE_CODE_OAUTH_TOKEN", "export t0ken", "no key has"),
    (".credentials.json", r#"{"claudeAiOauth":{"accessToken":"t0ken\n"}}"#, "accessToken"),
    (".credentials.json", "t0ken", "whole file"),
];
