//! The agents' output as it is shown.

use std::io;

use tokio::io::AsyncRead;

use super::agent::{ClaudeSession, CodexSession};
use super::lines::Lines;
use super::show::Transcript as _;

/// The lines of the log that `output` becomes, read as that of each agent, and the complaint that the report would
/// carry.
pub async fn transcript(
    output: impl AsyncRead + Unpin,
    limit: usize,
) -> io::Result<(Vec<String>, Option<String>)> {
    let mut lines = Lines::new(output, limit);
    let (mut claude, mut codex) = (ClaudeSession::default(), CodexSession::default());
    let mut shown = Vec::new();
    while let Some(line) = lines.next().await? {
        shown.extend(claude.line(&line));
        shown.extend(codex.line(&line));
    }
    Ok((shown, claude.complaint().or_else(|| codex.complaint())))
}
