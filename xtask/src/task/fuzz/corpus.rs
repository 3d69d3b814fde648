//! What is kept of what a session found: few small inputs that together reach all that was reached.

use std::path::PathBuf;

use anyhow::Result;

use super::session::Session;

/// The most that is kept for each target; the unit tests replay all of it each time.
const MOST_FILES: usize = 200;
const MOST_BYTES: u64 = 1024 * 1024;

/// Replaces the kept corpus by a smaller one of the same reach, the smallest inputs first.
pub fn keep(session: &Session) -> Result<()> {
    let merged = session.found.with_file_name("merged");
    if merged.exists() {
        fs_err::remove_dir_all(&merged)?;
    }
    fs_err::create_dir_all(&merged)?;
    let merge = session.command().args(["-set_cover_merge=1"]).arg(&merged);
    merge.arg(&session.kept).arg(&session.found).output()?;
    let mut inputs = Vec::new();
    for entry in fs_err::read_dir(&merged)? {
        let entry = entry?;
        inputs.push((entry.metadata()?.len(), entry.path()));
    }
    inputs.sort();
    fs_err::remove_dir_all(&session.kept)?;
    fs_err::create_dir_all(&session.kept)?;
    for path in choose(inputs) {
        if let Some(name) = path.file_name() {
            fs_err::copy(&path, session.kept.join(name))?;
        }
    }
    Ok(())
}

/// As many of the first as fit.
fn choose(inputs: Vec<(u64, PathBuf)>) -> Vec<PathBuf> {
    let mut bytes = 0;
    let fitting = inputs.into_iter().take(MOST_FILES).take_while(|(size, _)| {
        bytes += size;
        bytes <= MOST_BYTES
    });
    fitting.map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_tests_replay() {
        let inputs =
            |count: u64, size: u64| (0..count).map(|n| (size, PathBuf::from(n.to_string()))).collect();
        assert_eq!(choose(inputs(500, 1)).len(), MOST_FILES);
        assert_eq!(choose(inputs(5, 300_000)).len(), 3);
    }
}
