//! `kubectl gt auth sync`: uploads a chosen part of `~/.claude`, after showing it.

mod archive;
mod collect;
mod keep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gastown_api::model_secret::{API_KEY, CREDENTIALS, HOME, MEMORY, OAUTH_TOKEN, SETTINGS};
use jiff::Timestamp;

use self::collect::{Collected, collect};
use self::keep::{Found, Kept, keep};
use super::confirm::Question;
use super::secret::{Draft, WriteArgs};
use super::variable;
use crate::cluster::Cluster;
use crate::command::MODEL_SECRET;
use crate::error::{CommandError, Error};
use crate::model_secret::{credential, expiry, flaw};
use crate::reporter::Reporter;
use crate::secret::{Data, MAX_BYTES};
use crate::session::Session;

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
    /// Read an Anthropic API key from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    api_key_from_env: Option<String>,
    /// Read the token of `claude setup-token` from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    oauth_token_from_env: Option<String>,
    /// Remove this key from the secret, such as `ANTHROPIC_API_KEY`; other credentials stay until they are replaced.
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Upload without asking for confirmation.
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
        let without_folder = only_a_key && !folder.exists();
        let collected = if without_folder {
            Collected::default()
        } else {
            collect(is_folder(&folder)?)?
        };
        let mut data = collected.data()?;
        let keys = self.keys()?;
        preview(
            session.reporter,
            &format!("to upload from {}:", folder.to_string_lossy()),
            &collected,
            &data,
        );
        for FromVariable { key, name, value } in keys {
            let one = Data::from([(key.to_owned(), value)]);
            let title = format!("to upload from the environment variable {name}:");
            preview(session.reporter, &title, &Collected::default(), &one);
            data.extend(one);
        }
        if data.is_empty() && self.remove.is_empty() {
            return Err(CommandError::Invalid(format!(
                "{:?} holds nothing to sync: no {CREDENTIALS}, {SETTINGS}, {MEMORY}, skills, hooks, commands or agents; pass --claude-dir, or --api-key-from-env VARIABLE",
                folder.to_string_lossy()
            ))
            .into());
        }
        let cluster = session.cluster().await?;
        let existing = self.write.existing(session, &cluster, &self.secret).await?;
        let now = Timestamp::now();
        let found = Found {
            data: &data,
            folder: !without_folder,
            remove: &self.remove,
        };
        let kept = keep(&existing, &found, now);
        after(session.reporter, &self.secret, &kept);
        fits(&collected, &kept.data)?;
        no_credential(session.reporter, &kept.data, now);
        self.agree(&cluster)?;
        let now = now.round(jiff::Unit::Second).unwrap_or(now);
        let draft = Draft {
            name: self.secret.clone(),
            existing,
            data: kept.data,
            annotations: BTreeMap::from([(LAST_SYNC, now.to_string())]),
        };
        self.write.write(session, &cluster, &draft, "").await
    }

    /// Nothing is sent that nobody agreed to; a dry run of the client sends nothing.
    fn agree(&self, cluster: &Cluster) -> Result<(), CommandError> {
        if self.yes || self.write.dry_run.is_client() {
            return Ok(());
        }
        let place = format!("secret {:?} in namespace {:?}", self.secret, cluster.namespace());
        Question {
            text: &format!("upload this to {place}?"),
            unasked: &format!(
                "nothing was uploaded: there is no terminal to ask whether this may go to {place}; look at what is listed, and repeat with --yes"
            ),
            declined: "nothing was uploaded; repeat, and answer y, or pass --yes",
        }
        .agree()
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

    /// What comes from the environment.
    fn keys(&self) -> Result<Vec<FromVariable<'_>>, CommandError> {
        let mut keys = Vec::new();
        for (key, name) in [
            (API_KEY, &self.api_key_from_env),
            (OAUTH_TOKEN, &self.oauth_token_from_env),
        ] {
            let Some(name) = name else { continue };
            let value = variable::value(name, key, variable::environment)?;
            // The broker would park every pod with these words.
            if let Some(flaw) = flaw(key, value.as_bytes(), Timestamp::now()) {
                return Err(CommandError::Invalid(format!(
                    "the environment variable {name:?} {flaw}"
                )));
            }
            keys.push(FromVariable {
                key,
                name,
                value: value.into_bytes(),
            });
        }
        Ok(keys)
    }
}

/// A credential out of an environment variable.
struct FromVariable<'a> {
    /// Its key in the secret.
    key: &'static str,
    /// The variable's name.
    name: &'a str,
    value: Vec<u8>,
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
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Err(CommandError::Invalid(format!(
            "{:?} does not exist, so there is no login of Claude Code; log in with `claude`, or pass --api-key-from-env ANTHROPIC_API_KEY, --oauth-token-from-env VARIABLE, or --claude-dir FOLDER",
            path()
        ))),
        Err(source) => Err(CommandError::ReadFile { path: path(), source }),
    }
}

/// What would be uploaded and what not, before it is.
fn preview(reporter: Reporter, title: &str, collected: &Collected, data: &Data) {
    if !data.is_empty() {
        reporter.note(&reporter.style.strong(title));
    }
    for (key, value) in data {
        reporter.note(&format!("  {key:<24} {}", size(value.len())));
        if key == HOME {
            for file in collected.files.iter().take(20) {
                let link = if file.linked { " (through a link)" } else { "" };
                reporter.note(&format!("    {:<40} {}{link}", file.path, size(file.bytes.len())));
            }
            if collected.files.len() > 20 {
                reporter.note(&format!("    … and {} more files", collected.files.len() - 20));
            }
        }
    }
    if !collected.left_out.is_empty() {
        reporter.note(&reporter.style.strong("left out:"));
        for left in &collected.left_out {
            reporter.note(&format!("  {:<24} {}", left.path, left.why));
        }
    }
}

/// What happens to the rest of the secret.
fn after(reporter: Reporter, secret: &str, kept: &Kept) {
    for (act, keys) in [("keeps", &kept.stay), ("loses", &kept.removed)] {
        if !keys.is_empty() {
            reporter.note(&format!("secret {secret:?} {act}: {}", keys.join(", ")));
        }
    }
    for warning in &kept.warnings {
        reporter.warn(warning);
    }
}

fn fits(collected: &Collected, data: &Data) -> Result<(), CommandError> {
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

/// What is to be said of the credential that pods will use. On a Mac it is in the Keychain, which has no file to upload.
fn no_credential(reporter: Reporter, data: &Data, now: Timestamp) {
    let Some(key) = credential(data) else {
        return if cfg!(target_os = "macos") {
            reporter.warn(
                "no credential is uploaded: on macOS Claude Code keeps it in the Keychain; run `claude setup-token`, put what it prints into an environment variable, and repeat with --oauth-token-from-env VARIABLE",
            );
        } else {
            reporter.warn(&format!(
                "no credential is uploaded: there is no {CREDENTIALS}; run `claude` and log in, or repeat with --api-key-from-env or --oauth-token-from-env"
            ));
        };
    };
    let value = &data[key];
    if let Some(flaw) = flaw(key, value, now) {
        reporter.warn(&format!(
            "the credential {key} {flaw}; run `claude` once, and sync again, or use --oauth-token-from-env (`claude setup-token`)"
        ));
    } else if let Some(at) = expiry(key, value) {
        reporter.note(&format!(
            "the credentials expire at {at}; no pod refreshes them: for longer work use --oauth-token-from-env (`claude setup-token`)"
        ));
    }
}

fn size(bytes: usize) -> String {
    if bytes < 1024 {
        format!("{bytes} B")
    } else {
        format!("{} KiB", bytes.div_ceil(1024))
    }
}
