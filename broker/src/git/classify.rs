//! What a failed call to the git host means: a pure function over what git, ssh and the gateway saw.

use gastown_api::evidence::truncate;
use gastown_api::reason::Reason;

/// What was asked of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Listing or fetching refs.
    Read,
    /// Pushing.
    Write,
}

/// What the gateway saw go wrong on its side of an HTTPS call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayFailure {
    /// The host answered with an error.
    Status(u16),
    /// The host answered with a redirect; following it could take the credential elsewhere.
    Redirect(String),
    /// No answer: name, connection or TLS.
    Unreachable(String),
    /// The host's certificate is not trusted.
    Certificate(String),
    /// The proxy did not connect to the host.
    Proxy(String),
}

/// Why the host did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// For the object's status.
    pub reason: Reason,
    /// The host's words, on one line, at most 400 bytes.
    pub message: String,
}

impl Failure {
    /// A failure in our own words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.retain(|c| !c.is_control());
        truncate(&mut message, 400);
        Self { reason, message }
    }

    /// Whether somebody can repair it in the secret or on the host, so that the same call succeeds then. A repository that was
    /// there at the start is not found any more where a credential lost its rights.
    pub fn may_be_repaired(&self) -> bool {
        matches!(
            self.reason,
            Reason::GitCredentialRefused
                | Reason::HostKeyUnknown
                | Reason::CertificateUntrusted
                | Reason::GitHostNotAllowed
                | Reason::RepositoryNotFound
                | Reason::SecretMissing
                | Reason::SecretInvalid
        )
    }

    /// Whether the same call may succeed a moment later.
    pub fn may_pass(&self) -> bool {
        matches!(self.reason, Reason::GitHostUnreachable | Reason::ProxyFailed)
    }
}

/// Parts of ssh's, git's and hosts' messages, in lower case, in the order in which they decide. ssh writes its own line first
/// and git a general one after it, so the particular must come before the general. Each is provoked in `tests/signs.rs`.
pub(super) const SIGNS: [(&str, Reason); 25] = [
    ("host key verification failed", Reason::HostKeyUnknown),
    ("unable to negotiate with", Reason::GitHostUnreachable),
    ("could not resolve hostname", Reason::GitHostUnreachable),
    ("connect to host", Reason::GitHostUnreachable),
    ("banner exchange", Reason::GitHostUnreachable),
    ("kex_exchange_identification", Reason::GitHostUnreachable),
    ("permission denied (", Reason::GitCredentialRefused),
    ("too many authentication failures", Reason::GitCredentialRefused),
    ("marked as read only", Reason::GitCredentialRefused),
    ("denied to deploy key", Reason::GitCredentialRefused),
    ("to protected branch", Reason::PushRefused),
    ("you are not allowed to push code", Reason::GitCredentialRefused),
    ("user permission denied", Reason::GitCredentialRefused),
    (
        "write access to repository not granted",
        Reason::GitCredentialRefused,
    ),
    (
        "deploy key does not have write access",
        Reason::GitCredentialRefused,
    ),
    ("access denied", Reason::GitCredentialRefused),
    ("repository not found", Reason::RepositoryNotFound),
    (
        "does not appear to be a git repository",
        Reason::RepositoryNotFound,
    ),
    ("could not be found", Reason::RepositoryNotFound),
    ("cannot find repository", Reason::RepositoryNotFound),
    ("couldn't find remote ref", Reason::BranchNotFound),
    ("remote rejected", Reason::PushRefused),
    ("[rejected]", Reason::PushRefused),
    ("connection closed by", Reason::GitHostUnreachable),
    ("connection reset by", Reason::GitHostUnreachable),
];

/// The sign that decides about `words`.
pub(super) fn sign_of(words: &str) -> Option<&'static (&'static str, Reason)> {
    let lower = words.to_lowercase();
    SIGNS.iter().find(|(sign, _)| lower.contains(sign))
}

/// What ssh's own words do not say.
const TOO_OLD: &str =
    "; the host's SSH server is too old for the broker's: upgrade it, or name the repository by https://";

/// Parts of what hosts say of a push that one of their rules refuses, in lower case, and the rule. The particular comes
/// before the general: every hook that declines is reported as such after its own words.
const RULES: [(&str, &str); 17] = [
    ("push protection", "secret scanning"),
    ("push cannot contain secrets", "secret scanning"),
    ("secret detection", "secret scanning"),
    ("gh001", "file size"),
    ("exceeds github's file size limit", "file size"),
    ("larger than the allowed", "file size"),
    ("without `workflow` scope", "workflow files"),
    ("create or update workflow", "workflow files"),
    ("gh006", "protected branch"),
    ("protected branch", "protected branch"),
    ("gh013", "repository rules"),
    ("repository rule violations", "repository rules"),
    ("commit message does not follow the pattern", "commit message"),
    ("is not a member of team", "commit author"),
    ("(fetch first)", "the branch has moved"),
    ("(non-fast-forward)", "the branch has moved"),
    ("hook declined", "a hook of the host"),
];

/// Judges a failed call by what git wrote (standard error, and for a push its porcelain output) and what the
/// gateway saw; `host` is named in the message.
pub fn classify(act: Act, words: &str, gateway: Option<&GatewayFailure>, host: &str) -> Failure {
    if let Some(failure) = gateway {
        return by_gateway(act, failure, host);
    }
    let lower = words.to_lowercase();
    let sign = sign_of(words);
    let reason = match (sign, act) {
        (Some((_, reason)), _) => *reason,
        (None, Act::Read) => Reason::GitHostUnreachable,
        (None, Act::Write) => Reason::PushRefused,
    };
    let rule = RULES.iter().find(|(sign, _)| lower.contains(sign));
    let rule = rule.filter(|_| reason == Reason::PushRefused);
    let rule = rule.map(|(_, rule)| format!("refused by its rule {rule:?}: "));
    let advice = sign.is_some_and(|(sign, _)| *sign == "unable to negotiate with");
    let mut said = format!("{host}: {}{}", rule.unwrap_or_default(), essence(words));
    if advice {
        truncate(&mut said, 250);
        said.push_str(TOO_OLD);
    }
    Failure::new(reason, said)
}

fn by_gateway(act: Act, failure: &GatewayFailure, host: &str) -> Failure {
    let (reason, message) = match failure {
        GatewayFailure::Status(401) => (
            Reason::GitCredentialRefused,
            "it answered 401: who are you".to_owned(),
        ),
        GatewayFailure::Status(403) => (
            Reason::GitCredentialRefused,
            "it answered 403: the credential may not do this".to_owned(),
        ),
        GatewayFailure::Status(404 | 410) => (
            Reason::RepositoryNotFound,
            "it answered 404: no such repository, or the credential may not see it".to_owned(),
        ),
        GatewayFailure::Status(407) => (
            Reason::ProxyFailed,
            "it answered 407: a proxy wants a credential".to_owned(),
        ),
        GatewayFailure::Status(413) if act == Act::Write => (
            Reason::PushRefused,
            "it answered 413: the push is too large".to_owned(),
        ),
        GatewayFailure::Status(status) => (Reason::GitHostUnreachable, format!("it answered {status}")),
        GatewayFailure::Redirect(to) => (
            Reason::RepositoryNotFound,
            format!(
                "it redirects to {to:?}, and redirects are not followed; write the final URL into the manifest"
            ),
        ),
        GatewayFailure::Unreachable(why) => (Reason::GitHostUnreachable, why.clone()),
        GatewayFailure::Certificate(why) => (Reason::CertificateUntrusted, why.clone()),
        GatewayFailure::Proxy(why) => (Reason::ProxyFailed, why.clone()),
    };
    Failure::new(reason, format!("{host}: {message}"))
}

/// The lines a person needs: those that the remote, ssh or git wrote, without progress and hints, on one line.
fn essence(words: &str) -> String {
    let noise = |line: &str| {
        let frame = line.chars().all(|c| "@-=*# ".contains(c));
        let boring = [
            "hint:",
            "To ",
            "Done",
            "error: failed to push some refs",
            "Warning: Permanently added",
        ];
        frame || boring.iter().any(|start| line.starts_with(start))
    };
    let lines: Vec<&str> = words
        .split(['\n', '\r'])
        .map(|line| line.trim().trim_start_matches("remote:").trim())
        .filter(|line| !noise(line))
        .collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded outputs of OpenSSH 9.2, git 2.39, GitHub, GitLab and Gitea.
    const RECORDED: [(Act, &str, Reason); 30] = [
        (
            Act::Read,
            "git@github.com: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Read,
            "Load key \"/broker/upstream/key\": error in libcrypto\r\ngit@h: Permission denied (publickey,password).\r\nfatal: Could not read from remote repository.",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Read,
            "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\nHost key verification failed.\r\nfatal: Could not read from remote repository.",
            Reason::HostKeyUnknown,
        ),
        (
            Act::Read,
            "@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@@@@@@\r\nHost key verification failed.\r\n",
            Reason::HostKeyUnknown,
        ),
        (
            Act::Read,
            "ssh: Could not resolve hostname nope.invalid: Name or service not known\r\nfatal: Could not read from remote repository.",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Read,
            "ssh: connect to host 127.0.0.1 port 1: Connection refused\r\nfatal: Could not read from remote repository.",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Read,
            "ssh: connect to host 10.255.255.1 port 22: Connection timed out\r\n",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Read,
            "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 127.0.0.1 port 22\r\n",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Read,
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
            Reason::RepositoryNotFound,
        ),
        (
            Act::Read,
            "fatal: '/srv/none.git' does not appear to be a git repository\nfatal: Could not read from remote repository.",
            Reason::RepositoryNotFound,
        ),
        (
            Act::Read,
            "remote: \nremote: ========\nremote: \nremote: ERROR: The project you were looking for could not be found or you don't have permission to view it.\nremote: \n",
            Reason::RepositoryNotFound,
        ),
        (
            Act::Read,
            "fatal: couldn't find remote ref refs/heads/nope",
            Reason::BranchNotFound,
        ),
        (
            Act::Read,
            "fatal: the remote end hung up unexpectedly",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Write,
            "remote: error: GH006: Protected branch update failed for refs/heads/main.\nTo github.com:o/r.git\n!\taaaa:refs/heads/x\t[remote rejected] (protected branch hook declined)\nerror: failed to push some refs to 'github.com:o/r.git'",
            Reason::PushRefused,
        ),
        (
            Act::Write,
            "!\taaaa:refs/heads/x\t[rejected] (fetch first)\nerror: failed to push some refs",
            Reason::PushRefused,
        ),
        (
            Act::Write,
            "remote: refusing to allow an OAuth App to create or update workflow\n!\ta:b\t[remote rejected] (refusing to allow)",
            Reason::PushRefused,
        ),
        (
            Act::Write,
            "ERROR: The key you are authenticating with has been marked as read only.\nfatal: Could not read from remote repository.",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Write,
            "ERROR: Permission to o/r.git denied to deploy key\nfatal: Could not read from remote repository.",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Write,
            "remote: GitLab: You are not allowed to push code to this project.\n",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Read,
            "remote: Gitea: Cannot find repository: o/none\nfatal: Could not read from remote repository.",
            Reason::RepositoryNotFound,
        ),
        (
            Act::Read,
            "remote: The project you were looking for could not be found or you don't have permission to view it.\nfatal: repository 'https://h/x.git/' not found",
            Reason::RepositoryNotFound,
        ),
        (
            Act::Read,
            "Unable to negotiate with 127.0.0.1 port 22: no matching host key type found. Their offer: ssh-rsa\r\nfatal: Could not read from remote repository.",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Read,
            "ssh: connect to host h port 22: No route to host\r\nfatal: Could not read from remote repository.",
            Reason::GitHostUnreachable,
        ),
        (
            Act::Read,
            "Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures\r\nDisconnected from 127.0.0.1 port 22\r\n",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Write,
            "remote: Gitea: User permission denied for writing.\nfatal: Could not read from remote repository.",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Write,
            "remote: Write access to repository not granted.\nfatal: unable to access",
            Reason::GitCredentialRefused,
        ),
        (
            Act::Write,
            "remote: GitLab: You are not allowed to push code to protected branches on this project.\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
            Reason::PushRefused,
        ),
        (
            Act::Write,
            "remote: Gitea: Not allowed to push to protected branch main\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
            Reason::PushRefused,
        ),
        (
            Act::Write,
            "remote: error: GH013: Repository rule violations found for refs/heads/x.\nremote: - GITHUB PUSH PROTECTION\nremote:   Push cannot contain secrets\n!\ta:b\t[remote rejected] (push declined due to repository rule violations)",
            Reason::PushRefused,
        ),
        (
            Act::Write,
            "send-pack: unexpected disconnect while reading sideband packet",
            Reason::PushRefused,
        ),
    ];

    #[test]
    fn recorded_words_of_hosts_are_understood() {
        for (act, words, reason) in RECORDED {
            let failure = classify(act, words, None, "h");
            assert_eq!(failure.reason, reason, "{words}");
            assert!(failure.message.len() <= 400 && !failure.message.contains(char::is_control));
        }
    }

    #[test]
    fn the_gateways_status_decides_before_gits_words() {
        let words = "fatal: unable to access 'http://127.0.0.1:1/x/': The requested URL returned error: 403";
        let cases = [
            (GatewayFailure::Status(401), Reason::GitCredentialRefused),
            (GatewayFailure::Status(403), Reason::GitCredentialRefused),
            (GatewayFailure::Status(404), Reason::RepositoryNotFound),
            (GatewayFailure::Status(503), Reason::GitHostUnreachable),
            (
                GatewayFailure::Redirect("https://b/".to_owned()),
                Reason::RepositoryNotFound,
            ),
            (GatewayFailure::Status(407), Reason::ProxyFailed),
            (
                GatewayFailure::Unreachable("connection refused".to_owned()),
                Reason::GitHostUnreachable,
            ),
            (
                GatewayFailure::Certificate("invalid peer certificate".to_owned()),
                Reason::CertificateUntrusted,
            ),
            (
                GatewayFailure::Proxy("unsuccessful".to_owned()),
                Reason::ProxyFailed,
            ),
        ];
        for (seen, reason) in cases {
            assert_eq!(
                classify(Act::Read, words, Some(&seen), "h").reason,
                reason,
                "{seen:?}"
            );
        }
        let redirect = GatewayFailure::Redirect("https://b/x.git".to_owned());
        let message = classify(Act::Read, words, Some(&redirect), "h").message;
        assert!(
            message.contains("https://b/x.git") && message.contains("not followed"),
            "{message}"
        );
    }

    #[test]
    fn the_rule_that_refused_a_push_is_named() {
        for (words, rule) in [
            (
                "remote: error: GH006: Protected branch update failed for refs/heads/main.\n!\ta:b\t[remote rejected] (protected branch hook declined)",
                "protected branch",
            ),
            (
                "remote: GitLab: You are not allowed to push code to protected branches on this project.\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
                "protected branch",
            ),
            (
                "remote: Gitea: Not allowed to push to protected branch main\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
                "protected branch",
            ),
            (
                "remote: error: GH013: Repository rule violations found for refs/heads/x.\nremote: - GITHUB PUSH PROTECTION\n!\ta:b\t[remote rejected] (push declined due to repository rule violations)",
                "secret scanning",
            ),
            (
                "remote: error: GH013: Repository rule violations found for refs/heads/x.\nremote: - Commits must have verified signatures.\n!\ta:b\t[remote rejected] (push declined due to repository rule violations)",
                "repository rules",
            ),
            (
                "remote: error: File big.bin is 120.00 MB; this exceeds GitHub's file size limit of 100.00 MB\nremote: error: GH001: Large files detected.\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
                "file size",
            ),
            (
                "!\ta:b\t[remote rejected] (refusing to allow an OAuth App to create or update workflow `.github/workflows/ci.yml` without `workflow` scope)",
                "workflow files",
            ),
            (
                "remote: GitLab: Commit message does not follow the pattern 'X-[0-9]+'\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
                "commit message",
            ),
            ("!\ta:b\t[rejected] (fetch first)", "the branch has moved"),
            (
                "remote: no robots here\n!\ta:b\t[remote rejected] (pre-receive hook declined)",
                "a hook of the host",
            ),
        ] {
            let failure = classify(Act::Write, words, None, "h");
            assert_eq!(failure.reason, Reason::PushRefused, "{words}");
            assert!(
                failure
                    .message
                    .starts_with(&format!("h: refused by its rule {rule:?}: ")),
                "{failure}"
            );
        }
    }

    #[test]
    fn the_remotes_words_reach_the_message_without_noise() {
        let words = "remote: error: GH006: Protected branch\nremote: \nTo h:r\n!\ta:b\t[remote rejected] (declined)\nDone\nerror: failed to push some refs to 'h:r'";
        let failure = classify(Act::Write, words, None, "h");
        assert_eq!(
            failure.message,
            "h: refused by its rule \"protected branch\": error: GH006: Protected branch; !a:b[remote rejected] (declined)"
        );
    }
}
