//! Host keys: read by OpenSSH's own `ssh-keyscan`, shown by fingerprint, compared with what a person expects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gastown_api::known_hosts;
use tokio::process::Command;

use crate::error::CommandError;

/// A line of `known_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// The whole line.
    pub line: String,
    /// The kind of key: `ssh-ed25519`.
    pub kind: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// The keys that `host` shows.
pub async fn scan(host: &str, port: u16) -> Result<Vec<HostKey>, CommandError> {
    let output = Command::new("ssh-keyscan")
        .args([
            "-T",
            "10",
            "-t",
            "ed25519,ecdsa,rsa",
            "-p",
            &port.to_string(),
            "--",
            host,
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .map_err(|source| CommandError::RunProgram {
            program: "ssh-keyscan",
            source,
        })?;
    let keys = parse(&String::from_utf8_lossy(&output.stdout));
    if keys.is_empty() {
        let said = complaints(&String::from_utf8_lossy(&output.stderr));
        return Err(CommandError::Invalid(format!(
            "failed to read the host keys of {host:?} port {port}: it showed none ({said}); check the address, or pass --known-hosts FILE"
        )));
    }
    Ok(keys)
}

/// What ssh-keyscan said, each once: it asks for every kind of key anew, and fails each time with the same words.
fn complaints(stderr: &str) -> String {
    let mut said: Vec<&str> = Vec::new();
    for line in stderr.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') && !said.contains(&line) {
            said.push(line);
        }
    }
    if said.is_empty() {
        return "without a word".to_owned();
    }
    said.join("; ")
}

/// The keys of a `known_hosts` text; comments and damaged lines are left out.
pub fn parse(text: &str) -> Vec<HostKey> {
    let keys = known_hosts::parse(text).map(|key| HostKey {
        line: key.line.to_owned(),
        kind: key.kind.to_owned(),
        fingerprint: format!(
            "SHA256:{}",
            STANDARD_NO_PAD.encode(gastown_crypto::sha256(&key.key).as_bytes())
        ),
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// github.com's published key and fingerprint
    /// (<https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/githubs-ssh-key-fingerprints>).
    const GITHUB: &str =
        "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn what_ssh_keyscan_says_for_every_kind_of_key_is_said_once() {
        let unknown = "getaddrinfo testbed: Name or service not known";
        let stderr = format!("# testbed:22 SSH-2.0\n{unknown}\n{unknown}\r\n\nclosed\n{unknown}\n");
        assert_eq!(complaints(&stderr), format!("{unknown}; closed"));
        assert_eq!(complaints("# testbed:22\n"), "without a word");
    }

    #[test]
    fn a_fingerprint_is_the_one_that_the_host_publishes() {
        let keys = parse(&format!("# comment\n{GITHUB}\nbroken line\n"));
        assert_eq!(keys.len(), 1);
        assert_eq!(
            keys[0].fingerprint,
            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
    }
}
