//! What to do, in words: from the command line, a file, or standard input.

use std::io::Read as _;
use std::path::PathBuf;

use crate::error::CommandError;

/// The most bytes of a task; the schema's limit.
const MAX_TASK: usize = 65_536;

/// Flags that give the task.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct TaskArgs {
    /// The task, as text.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Read the task from a file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read the task from standard input.
    #[arg(long)]
    stdin: bool,
}

impl TaskArgs {
    /// The task, if one is given.
    pub fn read(&self) -> Result<Option<String>, CommandError> {
        let fail = |path: String| move |source| CommandError::ReadFile { path, source };
        let text = if let Some(message) = &self.message {
            message.clone()
        } else if let Some(path) = &self.file {
            std::fs::read_to_string(path).map_err(fail(path.to_string_lossy().into_owned()))?
        } else if self.stdin {
            let mut text = String::new();
            let limit = u64::try_from(MAX_TASK).unwrap_or(u64::MAX) + 1;
            std::io::stdin()
                .take(limit)
                .read_to_string(&mut text)
                .map_err(fail("standard input".to_owned()))?;
            text
        } else {
            return Ok(None);
        };
        let text = text.trim_end();
        if text.trim().is_empty() {
            return Err(CommandError::Invalid(
                "the task is empty; say what to do".to_owned(),
            ));
        }
        if text.len() > MAX_TASK {
            let why = format!(
                "the task has more than {MAX_TASK} bytes; commit the text to the repository, and name the file in the task"
            );
            return Err(CommandError::Invalid(why));
        }
        Ok(Some(text.to_owned()))
    }
}
