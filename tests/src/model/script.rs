//! The files that a scripted model answers from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// What the model says, turn by turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The turns; after the last one the model says "Done." and ends.
    pub turns: Vec<Turn>,
}

/// One answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Turn {
    /// Text.
    pub say: Option<String>,
    /// Words that the message answered must hold, such as a tool's result; else the model says so and ends.
    pub matches: Option<String>,
    /// A tool to use; the agent runs it and asks for the next turn.
    pub tool: Option<Tool>,
    /// Why the model stops; else `tool_use` with a tool and `end_turn` without.
    pub stop: Option<String>,
    /// What the answer is said to have used.
    pub usage: UsageFigures,
    /// Answer with this status instead.
    pub status: Option<u16>,
    /// The header `retry-after` of that answer, in seconds.
    pub retry_after: Option<u32>,
    /// With that answer, the headers of a subscription whose five-hour window is used up and resets after so many seconds.
    pub window_resets_in: Option<u32>,
    /// Never answer.
    pub hang: bool,
    /// How often `status` or `hang` hold; afterwards the rest of the turn does.
    pub times: Option<u32>,
    /// Milliseconds between the events of a stream.
    pub slow: u64,
    /// Break the stream off before its end.
    pub abort: bool,
}

/// A tool and its input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name, such as `Bash`.
    pub name: String,
    /// Its input, in which `{{cwd}}` stands for the agent's folder and `{{result}}` for the last tool's result.
    pub input: Value,
}

/// Tokens of an answer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UsageFigures {
    /// Read without a cache.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
    /// Written to the cache.
    pub cache_write_tokens: u64,
    /// Of these, for an hour; none: the answer does not tell for how long.
    pub one_hour_tokens: Option<u64>,
    /// Read from the cache.
    pub cache_read_tokens: u64,
}

impl Default for UsageFigures {
    fn default() -> Self {
        Self {
            input_tokens: 1200,
            output_tokens: 80,
            cache_write_tokens: 0,
            one_hour_tokens: None,
            cache_read_tokens: 300,
        }
    }
}

impl Turn {
    /// A turn that only says something.
    #[must_use]
    pub fn saying(text: &str) -> Self {
        Self {
            say: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// What to say when `last`, the content that is answered, does not hold what this turn wants.
    pub(super) fn unmet(&self, last: &Value) -> Option<String> {
        let wanted = self.matches.as_deref()?;
        // As it stands in the JSON, so that one look finds it in text and in blocks alike.
        let quoted = Value::from(wanted).to_string();
        let inner = quoted.trim_matches('"');
        (!last.to_string().contains(inner))
            .then(|| format!("The script wants {wanted:?}, and it did not come."))
    }
}

/// Why scripts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadScripts {
    /// A folder or file cannot be read.
    #[error("failed to read {path:?}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no script.
    #[error("failed to parse script {path:?}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_yaml_ng::Error,
    },
}

/// Every `NAME.yaml` of the folder, by NAME.
pub(super) fn load(folder: &Path) -> Result<BTreeMap<String, Script>, LoadScripts> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadScripts::Read { path, source }
    };
    let mut scripts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(read(folder))? {
        let path = entry.map_err(read(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(read(&path))?;
        let script = serde_yaml_ng::from_str(&text).map_err(|source| LoadScripts::Parse {
            path: path.clone(),
            source,
        })?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        scripts.insert(name, script);
    }
    Ok(scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_of_the_tests_can_be_read() {
        let scripts = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).unwrap();
        assert!(scripts.contains_key("fix-bug"), "{:?}", scripts.keys());
    }
}
