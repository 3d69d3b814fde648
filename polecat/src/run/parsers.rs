//! The agent's output as it is shown.

use std::io;

use tokio::io::AsyncRead;

use super::lines::Lines;
use super::transcript::Transcript;

/// The lines of the log that `output` becomes, and the complaint that the report would carry.
pub async fn transcript(
    output: impl AsyncRead + Unpin,
    limit: usize,
) -> io::Result<(Vec<String>, Option<String>)> {
    let mut lines = Lines::new(output, limit);
    let mut transcript = Transcript::default();
    let mut shown = Vec::new();
    while let Some(line) = lines.next().await? {
        shown.extend(transcript.event(&line));
    }
    Ok((shown, transcript.complaint()))
}
