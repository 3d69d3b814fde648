//! Lines for `kubectl logs`. What others wrote is escaped, so that no text of an agent or a repository can look like
//! a line of ours or drive a terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use gastown_api::text::chain;
pub use gastown_api::text::escape;

static LOGGED: AtomicU64 = AtomicU64::new(0);

/// The bytes that were written to standard output: the kubelet counts a container's log as storage of its pod.
#[must_use]
pub fn logged() -> u64 {
    LOGGED.load(Ordering::Relaxed)
}

/// Writes one line to standard output. A reader that went away is no reason to stop working.
pub fn say(line: &str) {
    let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX).saturating_add(1);
    LOGGED.fetch_add(bytes, Ordering::Relaxed);
    let mut stdout = std::io::stdout().lock();
    let _reader_is_gone = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The first `limit` bytes of `text`, and how many were left out.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    gastown_api::evidence::truncate(&mut short, limit);
    let left_out = text.len() - short.len();
    let _strings_take_everything = write!(short, "… ({left_out} bytes more)");
    short
}

/// An error with its causes, in one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    escape(&chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_says_what_it_left_out() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aéb", 2), "a… (3 bytes more)");
    }
}
