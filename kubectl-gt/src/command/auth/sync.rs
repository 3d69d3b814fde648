//! `kubectl gt auth sync`: uploads a chosen part of `~/.claude`, after showing it.

mod archive;
mod collect;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::collect::{Collected, collect};
use super::confirm;
use super::secret::{Draft, WriteArgs};
use crate::command::{CommandError, MODEL_SECRET};
use crate::error::Error;
use crate::model_secret::{API_KEY, CREDENTIALS, HOME, MAX_BYTES, MEMORY, OAUTH_TOKEN, SETTINGS, expiry};
use crate::session::{Session, Talk};

/// When the secret was last synced.
pub const LAST_SYNC: &str = "gastown.io/last-sync";

/// Flags of `auth sync`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Claude Code's folder; by default `CLAUDE_CONFIG_DIR`, else ~/.claude.
    #[arg(long, value_name = "FOLDER")]
    claude_dir: Option<PathBuf>,
    /// The secret's name.
    #[arg(long, visible_alias = "name", default_value = MODEL_SECRET)]
    secret: String,
    /// Take a key of the Anthropic API from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    api_key_from_env: Option<String>,
    /// Take what `claude setup-token` printed from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    oauth_token_from_env: Option<String>,
    /// Upload without being asked.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl Args {
    /// Shows what would be uploaded, and uploads it.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let folder = self.folder()?;
        // Who has only a key needs no folder.
        let only_a_key = self.claude_dir.is_none()
            && (self.api_key_from_env.is_some() || self.oauth_token_from_env.is_some());
        let collected = if only_a_key && !folder.exists() {
            Collected::default()
        } else {
            collect(is_folder(&folder)?)?
        };
        let mut data = collected.data()?;
        self.add_keys(&mut data)?;
        preview(session.talk, &folder.to_string_lossy(), &collected, &data);
        if data.is_empty() {
            return Err(CommandError::Invalid(format!(
                "{:?} holds nothing to sync: no {CREDENTIALS}, {SETTINGS}, {MEMORY}, skills, hooks, commands or agents; pass --claude-dir, or --api-key-from-env VARIABLE",
                folder.to_string_lossy()
            ))
            .into());
        }
        fits(&collected, &data)?;
        no_credential(session.talk, &data);
        let cluster = session.cluster().await?;
        if !self.write.dry_run.is_on() && !self.yes && confirm::can_ask() {
            let question = format!(
                "upload this to secret {:?} in namespace {:?}?",
                self.secret,
                cluster.namespace()
            );
            if !confirm::ask(&question).unwrap_or(false) {
                return Err(CommandError::Refused(
                    "nothing was uploaded; repeat, and answer y, or pass --yes".to_owned(),
                )
                .into());
            }
        }
        let now = Timestamp::now();
        let now = now.round(jiff::Unit::Second).unwrap_or(now);
        let draft = Draft {
            name: &self.secret,
            data,
            annotations: BTreeMap::from([(LAST_SYNC, now.to_string())]),
        };
        self.write.write(session, &cluster, &draft, "").await
    }

    fn folder(&self) -> Result<PathBuf, CommandError> {
        let from_env = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let folder = self
            .claude_dir
            .clone()
            .or_else(|| from_env("CLAUDE_CONFIG_DIR"))
            .or_else(|| from_env("HOME").map(|home| home.join(".claude")));
        folder.ok_or_else(|| {
            CommandError::Usage(
                "neither CLAUDE_CONFIG_DIR nor HOME is set; pass --claude-dir FOLDER".to_owned(),
            )
        })
    }

    fn add_keys(&self, data: &mut BTreeMap<&'static str, Vec<u8>>) -> Result<(), CommandError> {
        for (key, variable) in [
            (API_KEY, &self.api_key_from_env),
            (OAUTH_TOKEN, &self.oauth_token_from_env),
        ] {
            let Some(variable) = variable else { continue };
            let value = std::env::var(variable).unwrap_or_default();
            let value = value.trim();
            if value.is_empty() {
                let why =
                    format!("the environment variable {variable:?} is empty; set it to the value of {key}");
                return Err(CommandError::Invalid(why));
            }
            data.insert(key, value.as_bytes().to_vec());
        }
        Ok(())
    }
}

/// The folder itself, if it is one.
fn is_folder(folder: &Path) -> Result<&Path, CommandError> {
    let path = || folder.to_string_lossy().into_owned();
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(folder),
        Ok(_) => Err(CommandError::Invalid(format!(
            "{:?} is no folder; pass --claude-dir FOLDER",
            path()
        ))),
        Err(source) => Err(CommandError::ReadFile { path: path(), source }),
    }
}

/// What would be uploaded and what not, before it is.
fn preview(talk: Talk, folder: &str, collected: &Collected, data: &BTreeMap<&'static str, Vec<u8>>) {
    talk.note(&talk.style.strong(&format!("to upload from {folder}:")));
    for (key, value) in data {
        talk.note(&format!("  {key:<24} {}", size(value.len())));
        if *key == HOME {
            for file in collected.files.iter().take(20) {
                let link = if file.linked { " (through a link)" } else { "" };
                talk.note(&format!("    {:<40} {}{link}", file.path, size(file.bytes.len())));
            }
            if collected.files.len() > 20 {
                talk.note(&format!("    … and {} more files", collected.files.len() - 20));
            }
        }
    }
    if !collected.left_out.is_empty() {
        talk.note(&talk.style.strong("left out:"));
        for left in &collected.left_out {
            talk.note(&format!("  {:<24} {}", left.path, left.why));
        }
    }
}

fn fits(collected: &Collected, data: &BTreeMap<&'static str, Vec<u8>>) -> Result<(), CommandError> {
    let total: usize = data.values().map(Vec::len).sum();
    if total <= MAX_BYTES {
        return Ok(());
    }
    let mut files: Vec<_> = collected.files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.bytes.len()));
    let biggest: Vec<_> = files
        .iter()
        .take(5)
        .map(|file| format!("{} ({})", file.path, size(file.bytes.len())))
        .collect();
    Err(CommandError::Invalid(format!(
        "the upload has {} and a Secret holds at most {}; move the largest out of the folder: {}",
        size(total),
        size(MAX_BYTES),
        biggest.join(", ")
    )))
}

/// On a Mac the credential is in the Keychain, which has no file to upload.
fn no_credential(talk: Talk, data: &BTreeMap<&'static str, Vec<u8>>) {
    match data.get(CREDENTIALS) {
        Some(bytes) => match expiry(bytes) {
            Some(at) if at <= Timestamp::now() => talk.warn(&format!(
                "the credentials expired at {at}; run `claude` once, and sync again, or use --oauth-token-from-env (`claude setup-token`)"
            )),
            Some(at) => talk.note(&format!(
                "the credentials expire at {at}; no pod refreshes them: for longer work use --oauth-token-from-env (`claude setup-token`)"
            )),
            None => talk.warn(&format!("{CREDENTIALS} has no access token; run `claude` and log in")),
        },
        None if data.contains_key(API_KEY) || data.contains_key(OAUTH_TOKEN) => {}
        None if cfg!(target_os = "macos") => talk.warn(
            "no credential is uploaded: on macOS Claude Code keeps it in the Keychain; run `claude setup-token`, put what it prints into an environment variable, and repeat with --oauth-token-from-env VARIABLE",
        ),
        None => talk.warn(&format!(
            "no credential is uploaded: there is no {CREDENTIALS}; run `claude` and log in, or repeat with --api-key-from-env or --oauth-token-from-env"
        )),
    }
}

fn size(bytes: usize) -> String {
    if bytes < 1024 {
        format!("{bytes} B")
    } else {
        format!("{} KiB", bytes.div_ceil(1024))
    }
}
