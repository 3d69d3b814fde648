//! The host keys that `auth git` pins: from a file, or as the host shows them and a person vouches for them.

use gastown_api::known_hosts::{Coverage, PUBLISHED, coverage};
use gastown_api::repository::RepositoryUrl;

use super::{Args, read};
use crate::command::auth::confirm::Question;
use crate::error::CommandError;
use crate::host_key::{self, HostKey};
use crate::session::Session;

impl Args {
    /// The lines to pin; none: the chart ships the keys of this host.
    pub(super) async fn host_keys(
        &self,
        session: &Session,
        url: &RepositoryUrl,
    ) -> Result<Option<String>, CommandError> {
        if let Some(path) = &self.known_hosts {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            if coverage(&text, url) == Coverage::No {
                return Err(CommandError::Invalid(format!(
                    "{:?} holds no host key of {:?}; make it with `ssh-keyscan -p {} {} > FILE`, and compare the fingerprints",
                    path.to_string_lossy(),
                    url.host(),
                    url.port_or_default(),
                    url.host()
                )));
            }
            return Ok(Some(text));
        }
        if PUBLISHED.contains(&url.host()) && self.fingerprint.is_none() {
            session.reporter.note(&format!(
                "host keys of {}: the published ones, which the operator ships",
                url.host()
            ));
            return Ok(None);
        }
        let keys = host_key::scan(url.host(), url.port_or_default()).await?;
        let keys = self.agree(session, url, keys)?;
        let mut text: String = keys
            .iter()
            .map(|key| key.line.as_str())
            .collect::<Vec<_>>()
            .join("\n");
        text.push('\n');
        Ok(Some(text))
    }

    /// What a person or `--fingerprint` vouches for.
    fn agree(
        &self,
        session: &Session,
        url: &RepositoryUrl,
        keys: Vec<HostKey>,
    ) -> Result<Vec<HostKey>, CommandError> {
        if let Some(expected) = &self.fingerprint {
            let matching: Vec<_> = keys
                .iter()
                .filter(|key| key.fingerprint == *expected)
                .cloned()
                .collect();
            return if matching.is_empty() {
                Err(CommandError::Invalid(format!(
                    "{:?} shows no key with the fingerprint {expected:?} but {}: someone may sit between; ask the host's owner",
                    url.host(),
                    fingerprints(&keys)
                )))
            } else {
                Ok(matching)
            };
        }
        session.reporter.note(&format!(
            "host keys of {}, to compare with what its owner publishes:",
            url.host()
        ));
        for key in &keys {
            session
                .reporter
                .note(&format!("  {:<20} {}", key.kind, key.fingerprint));
        }
        if self.yes {
            return Ok(keys);
        }
        let question = Question {
            text: "trust these keys?",
            unasked: &format!(
                "nobody can be asked whether these are the keys of {:?}; repeat with --fingerprint SHA256:… of one of them, or with --yes",
                url.host()
            ),
            declined: "the host keys are not trusted, and nothing was changed; pass the right ones with --known-hosts FILE",
        };
        question.agree()?;
        Ok(keys)
    }
}

fn fingerprints(keys: &[HostKey]) -> String {
    let shown: Vec<_> = keys
        .iter()
        .map(|key| format!("{} {}", key.kind, key.fingerprint))
        .collect();
    shown.join(", ")
}
