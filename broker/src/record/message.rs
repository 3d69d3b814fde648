//! The termination message, which is a mount and can only be overwritten.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Overwrites the file in one write, padded with spaces to what it held before, so that whoever reads it at any
/// moment finds a whole JSON document.
pub fn overwrite(path: &Path, mut text: String) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let pad = before
        .min(gastown_api::evidence::MAX_BYTES)
        .saturating_sub(text.len());
    text.extend(std::iter::repeat_n(' ', pad));
    file.write_all_at(text.as_bytes(), 0)
}
