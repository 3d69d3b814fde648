//! The secret's settings on their way to the agent.

use super::archive;

/// The paths that pass of the archive `gzipped`, or why it is refused.
pub fn settings_archive(gzipped: &[u8]) -> Result<Vec<String>, String> {
    let collected = archive::read(gzipped).map_err(|error| error.to_string())?;
    archive::write(&collected.files).map_err(|error| error.to_string())?;
    Ok(collected.files.into_keys().collect())
}
