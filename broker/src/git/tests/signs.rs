//! Every sign that `classify` knows, provoked against real ssh, git and TLS, at the level of words that they are run with.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use gastown_api::reason::Reason;

use super::super::Failure;
use super::super::classify::{SIGNS, sign_of};
use super::remote::Remote;
use super::sshd::Sshd;
use super::transport::mount;
use super::*;

/// What hosts say of themselves; ssh and git carry it.
const OF_HOSTS: [(&str, Reason); 14] = [
    (
        "ERROR: The key you are authenticating with has been marked as read only.",
        Reason::GitCredentialRefused,
    ),
    (
        "ERROR: Permission to o/r.git denied to deploy key",
        Reason::GitCredentialRefused,
    ),
    (
        "remote: GitLab: You are not allowed to push code to protected branches on this project.",
        Reason::PushRefused,
    ),
    (
        "remote: GitLab: You are not allowed to push code to this project.",
        Reason::GitCredentialRefused,
    ),
    (
        "remote: Gitea: User permission denied for writing.",
        Reason::GitCredentialRefused,
    ),
    (
        "remote: Write access to repository not granted.",
        Reason::GitCredentialRefused,
    ),
    (
        "remote: This deploy key does not have write access to this project.",
        Reason::GitCredentialRefused,
    ),
    ("remote: Access denied.", Reason::GitCredentialRefused),
    ("ERROR: Repository not found.", Reason::RepositoryNotFound),
    (
        "remote: ERROR: The project you were looking for could not be found or you don't have permission to view it.",
        Reason::RepositoryNotFound,
    ),
    (
        "remote: Gitea: Cannot find repository: o/none",
        Reason::RepositoryNotFound,
    ),
    ("Permission denied (publickey).", Reason::GitCredentialRefused),
    (
        "remote: Gitea: Not allowed to push to protected branch main",
        Reason::PushRefused,
    ),
    (
        "fatal: '/srv/none.git' does not appear to be a git repository",
        Reason::RepositoryNotFound,
    ),
];

/// One place from which a remote is reached.
struct Stage {
    dir: tempfile::TempDir,
    seen: BTreeSet<&'static str>,
}

impl Stage {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            seen: BTreeSet::new(),
        }
    }

    fn git(&self) -> Git {
        Git {
            repo: self.dir.path().join("seed/.git"),
            home: self.dir.path().to_owned(),
            quarantine: None,
        }
    }

    /// The way to `url`, with `key` and `known_hosts`.
    async fn to(&self, url: &str, key: &str, known_hosts: &str) -> Upstream {
        mount(&self.dir.path().join("secret"), &[("ssh-privatekey", key)]);
        let mut order = fixture::order();
        order.role.git.remote.repository = url.parse().unwrap();
        order.role.git.remote.known_hosts = known_hosts.to_owned();
        upstream(self.dir.path(), self.dir.path(), &order).await
    }

    /// Checks what a failure was taken for, and notes the sign.
    fn check(&mut self, failure: &Failure, reason: Reason, words: &str) {
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(failure.message.contains(words), "{words:?}: {failure}");
        self.seen.extend(sign_of(&failure.message).map(|(sign, _)| *sign));
    }

    async fn list(&mut self, upstream: &Upstream, reason: Reason, words: &str) {
        let failure = upstream
            .list(&self.git(), &["refs/heads/main"])
            .await
            .unwrap_err();
        self.check(&failure, reason, words);
    }
}

/// A listener that answers each connection with `words` and closes it: politely once it has read what the client sent, else
/// the system resets the connection.
fn listener(words: &str, polite: bool) -> u16 {
    let words = words.to_owned();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(words.as_bytes()).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut bytes = [0; 4096];
            while polite && stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
            if !polite {
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    });
    port
}

/// Servers that cannot be reached, or have nothing in common with the client.
async fn of_the_connection(stage: &mut Stage, sshd: &Sshd) {
    let unreachable = Reason::GitHostUnreachable;
    for (url, words) in [
        (
            "ssh://git@nope.invalid/x".to_owned(),
            "Could not resolve hostname",
        ),
        ("ssh://git@127.0.0.1:1/x".to_owned(), "connect to host"),
        (
            format!("ssh://git@127.0.0.1:{}/x", listener("", true)),
            "kex_exchange_identification",
        ),
        (
            format!("ssh://git@127.0.0.1:{}/x", listener("SSH-1.0-old\r\n", true)),
            "127.0.0.1",
        ),
        (
            format!("ssh://git@127.0.0.1:{}/x", listener("SSH-2.0-x\r\n", true)),
            "Connection closed by",
        ),
        (
            format!("ssh://git@127.0.0.1:{}/x", listener("SSH-2.0-x\r\n", false)),
            "Connection reset by",
        ),
        (
            format!("ssh://git@127.0.0.1:{}/x", listener(&"x\r\n".repeat(1100), true)),
            "banner exchange",
        ),
    ] {
        let upstream = stage.to(&url, &sshd.key, &sshd.known_hosts).await;
        stage.list(&upstream, unreachable, words).await;
    }
    for (host_key, more, words) in [
        (
            "ed25519",
            "KexAlgorithms diffie-hellman-group1-sha1",
            "no matching key exchange",
        ),
        ("ed25519", "Ciphers 3des-cbc", "no matching cipher"),
        ("rsa", "HostKeyAlgorithms ssh-rsa", "no matching host key type"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let old = Sshd::start_with(dir.path(), host_key, more).await;
        let upstream = stage.to(&old.url, &old.key, &old.known_hosts).await;
        stage.list(&upstream, unreachable, words).await;
        stage
            .list(&upstream, unreachable, "too old for the broker's: upgrade it")
            .await;
    }
}

/// Keys of the client and of the host.
async fn of_the_keys(stage: &mut Stage, sshd: &Sshd) {
    let upstream = stage.to(&sshd.url, &sshd.key, "").await;
    stage
        .list(&upstream, Reason::HostKeyUnknown, "Host key verification failed")
        .await;
    let other = tempfile::tempdir().unwrap();
    let stranger = Sshd::start_with(other.path(), "ed25519", "MaxAuthTries 1").await;
    let name = sshd.known_hosts.split(' ').next().unwrap();
    let changed = stranger.known_hosts.split_once(' ').unwrap().1;
    let upstream = stage.to(&sshd.url, &sshd.key, &format!("{name} {changed}")).await;
    stage
        .list(&upstream, Reason::HostKeyUnknown, "IDENTIFICATION HAS CHANGED")
        .await;
    let upstream = stage.to(&sshd.url, &stranger.key, &sshd.known_hosts).await;
    stage
        .list(
            &upstream,
            Reason::GitCredentialRefused,
            "Permission denied (publickey",
        )
        .await;
    let upstream = stage.to(&stranger.url, &sshd.key, &stranger.known_hosts).await;
    stage.list(&upstream, Reason::GitCredentialRefused, "").await;
}

/// Words of hosts: a forced command says them, as theirs do.
async fn of_the_host(stage: &mut Stage) {
    let dir = tempfile::tempdir().unwrap();
    let sshd = Sshd::start(dir.path()).await;
    let said = dir.path().join("said");
    let public = std::fs::read_to_string(dir.path().join("user.pub")).unwrap();
    let line = format!("command=\"cat {} >&2; exit 1\" {public}", said.display());
    std::fs::write(dir.path().join("user.pub"), line).unwrap();
    let upstream = stage.to(&sshd.url, &sshd.key, &sshd.known_hosts).await;
    for (words, reason) in OF_HOSTS {
        std::fs::write(&said, format!("{words}\n")).unwrap();
        let shown = words.trim_start_matches("remote: ");
        stage.list(&upstream, reason, shown).await;
    }
    // A server that goes away in the middle of a session.
    let gone = dir.path().join("gone");
    std::fs::write(&gone, "#!/bin/sh\nkill -9 $(ps -o ppid= -p $PPID)\n").unwrap();
    std::fs::set_permissions(&gone, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(
        dir.path().join("user.pub"),
        format!("command=\"{}\" {public}", gone.display()),
    )
    .unwrap();
    stage.list(&upstream, Reason::GitHostUnreachable, "").await;
}

/// What git itself says of refs.
async fn of_git(stage: &mut Stage, sshd: &Sshd) {
    let upstream = stage.to(&sshd.url, &sshd.key, &sshd.known_hosts).await;
    let git = stage.git();
    let failure = upstream
        .fetch(&git, &["refs/heads/nope:refs/heads/nope"])
        .await
        .unwrap_err();
    stage.check(&failure, Reason::BranchNotFound, "couldn't find remote ref");
    let head = tip(&git.repo, "refs/heads/main").await.unwrap();
    let older = tip(&git.repo, "refs/heads/main~1").await.unwrap();
    let failure = upstream.push(&git, &older, "refs/heads/main").await.unwrap_err();
    stage.check(&failure, Reason::PushRefused, "[rejected]");
    let hook = sshd.repo.join("hooks/update");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho no robots >&2; exit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let failure = upstream.push(&git, &head, "refs/heads/new").await.unwrap_err();
    stage.check(&failure, Reason::PushRefused, "remote rejected");
}

#[tokio::test]
async fn every_sign_is_said_by_the_real_programs() {
    let mut stage = Stage::new();
    let sshd = Sshd::start(stage.dir.path()).await;
    of_the_connection(&mut stage, &sshd).await;
    of_the_keys(&mut stage, &sshd).await;
    of_the_host(&mut stage).await;
    of_git(&mut stage, &sshd).await;
    let never: Vec<_> = SIGNS
        .iter()
        .map(|(sign, _)| *sign)
        .filter(|sign| !stage.seen.contains(sign))
        .collect();
    assert!(never.is_empty(), "nothing says {never:?}");
}

#[tokio::test]
async fn each_flaw_of_a_certificate_is_named_with_its_own_remedy() {
    let named = |name: &str| rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let mut expired = named("localhost");
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let mut early = named("localhost");
    early.not_before = rcgen::date_time_ymd(4000, 1, 1);
    let mut authority = named("localhost");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    for (certificate, words) in [
        (expired, "renew it on the host"),
        (early, "compare the clocks"),
        (named("other.example"), "another name"),
        (authority, "basicConstraints=critical,CA:FALSE"),
    ] {
        let remote = Remote::https_as(certificate).await;
        let dir = tempfile::tempdir().unwrap();
        mount(
            &dir.path().join("secret"),
            &[("username", "u"), ("password", "p"), ("ca.crt", &remote.ca)],
        );
        let order = order(&remote, |order| {
            order.role.git.remote.trusted_hosts = vec!["localhost".to_owned()];
        });
        let failure = start(dir.path(), "broker", &order, UID).await.err().unwrap();
        assert_eq!(failure.reason, Reason::CertificateUntrusted, "{failure}");
        assert!(
            failure.message.contains(words) && !failure.message.contains("Error("),
            "{failure}"
        );
        assert_eq!(remote.authorized(), 0);
    }
}
