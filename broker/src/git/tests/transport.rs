//! How the remote is reached, and what happens when it is not.

use gastown_api::reason::Reason;

use super::remote::Remote;
use super::repair::push;
use super::sshd::Sshd;
use super::*;

const SECRET: [(&str, &str); 2] = [("username", "u"), ("password", "p")];

/// Writes the files of a mounted secret.
pub fn mount(dir: &Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

async fn start_with(
    remote: &Remote,
    files: &[(&str, &str)],
    trusted: &[&str],
) -> (tempfile::TempDir, Result<Broker, super::super::Failure>) {
    let dir = tempfile::tempdir().unwrap();
    mount(&dir.path().join("secret"), files);
    let order = order(remote, |order| {
        order.role.git.remote.trusted_hosts = trusted.iter().map(|host| (*host).to_owned()).collect();
    });
    let broker = start(dir.path(), "broker", &order, UID).await;
    (dir, broker)
}

/// Checks that a commit goes through `broker` to the work branch of the remote's `repo`.
async fn delivers(dir: &Path, broker: &Broker, repo: &Path) {
    let clone = broker.clone(dir, "a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(tip(repo, WORK).await, Some(one));
}

#[tokio::test]
async fn https_works_with_the_brokers_own_tls_and_the_password_stays_out_of_git() {
    let remote = Remote::https().await;
    let ca = remote.ca.clone();
    let files = [SECRET[0], SECRET[1], ("ca.crt", &ca)];
    let (dir, broker) = start_with(&remote, &files, &["localhost"]).await;
    let broker = broker.unwrap();
    delivers(dir.path(), &broker, &remote.repo).await;
    assert_eq!(remote.calls(), remote.authorized());
    let found = std::process::Command::new("grep")
        .args(["-rlE", "dTpw|Basic"])
        .arg(dir.path().join("broker"))
        .output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
}

#[tokio::test]
async fn a_renewed_password_counts_at_once_and_a_wrong_one_is_named() {
    let remote = Remote::https().await;
    let ca = remote.ca.clone();
    let (dir, broker) = start_with(
        &remote,
        &[("username", "u"), ("token", "wrong"), ("ca.crt", &ca)],
        &["localhost"],
    )
    .await;
    assert_eq!(broker.err().unwrap().reason, Reason::GitCredentialRefused);
    mount(&dir.path().join("secret"), &[("token", "p")]);
    let order = order(&remote, |order| {
        order.role.git.remote.trusted_hosts = vec!["localhost".to_owned()];
    });
    let broker = start(dir.path(), "broker", &order, UID).await.unwrap();
    let clone = broker.clone(dir.path(), "a").await;
    commit(&clone, "src/b.txt", "1").await;
    mount(&dir.path().join("secret"), &[("token", "revoked")]);
    let pushing = push(&clone, WORK);
    assert_eq!(broker.parked().await.0, Reason::GitCredentialRefused);
    mount(&dir.path().join("secret"), &[("token", "p")]);
    pushing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_token_is_sent_to_no_host_that_is_not_listed() {
    let remote = Remote::https().await;
    let ca = remote.ca.clone();
    let files = [
        SECRET[0],
        SECRET[1],
        ("ca.crt", ca.as_str()),
        ("hosts", "git.example"),
    ];
    let (_dir, broker) = start_with(&remote, &files, &["localhost:1"]).await;
    let failure = broker.err().unwrap();
    assert_eq!(failure.reason, Reason::GitHostNotAllowed);
    assert!(
        failure.message.contains("\"localhost\"") && failure.message.contains("hosts"),
        "{failure}"
    );
    assert_eq!(remote.calls(), 0);
    let files = [
        SECRET[0],
        SECRET[1],
        ("ca.crt", ca.as_str()),
        ("hosts", "git.example localhost"),
    ];
    let (_dir, broker) = start_with(&remote, &files, &[]).await;
    assert!(broker.is_ok());
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_named_and_no_password_sent() {
    let remote = Remote::https().await;
    let (_dir, broker) = start_with(&remote, &SECRET, &["localhost"]).await;
    let failure = broker.err().unwrap();
    assert_eq!(failure.reason, Reason::CertificateUntrusted);
    assert!(failure.message.contains("certificate"), "{failure}");
    assert_eq!(remote.authorized(), 0);
}

/// A proxy that takes `CONNECT` from who shows `authorization`, and what it was asked.
async fn proxy(authorization: Option<&'static str>) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut client = BufReader::new(stream);
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    client.read_line(&mut line).await.unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    lines.push(line.trim().to_owned());
                }
                let target = lines[0].split(' ').nth(1).unwrap().to_owned();
                heard.lock().unwrap().push(lines[0].clone());
                let shown = lines
                    .iter()
                    .find_map(|line| line.strip_prefix("Proxy-Authorization: "));
                if authorization.is_some() && shown != authorization {
                    client
                        .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                        .await
                        .unwrap();
                    return;
                }
                let mut host = tokio::net::TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut host).await);
            });
        }
    });
    (url, asked)
}

#[tokio::test]
async fn https_goes_through_the_proxy_with_its_credential_and_names_it_when_it_refuses() {
    let remote = Remote::https().await;
    let (url, asked) = proxy(Some("Basic cDpx")).await;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    let ca = remote.ca.clone();
    mount(
        &secret,
        &[
            SECRET[0],
            SECRET[1],
            ("ca.crt", &ca),
            ("proxy", "p:q\n"),
            ("hosts", "localhost"),
        ],
    );
    let with = |url: &str| {
        let url = url.to_owned();
        order(&remote, |order| {
            let except = vec!["other.example".to_owned()];
            order.proxy = Some(gastown_api::work_order::ProxyOrder { url, except });
        })
    };
    let broker = start(dir.path(), "b1", &with(&url), UID).await.unwrap();
    delivers(dir.path(), &broker, &remote.repo).await;
    let port = remote.url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    let line = format!("CONNECT localhost:{port} HTTP/1.1");
    let heard = asked.lock().unwrap().clone();
    assert!(
        !heard.is_empty() && heard.iter().all(|asked| *asked == line),
        "{heard:?}"
    );
    mount(&secret, &[("proxy", "p:wrong")]);
    let failure = start(dir.path(), "b2", &with(&url), UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::ProxyFailed, "{failure}");
    assert!(
        failure.message.contains(&url) && failure.message.contains("localhost"),
        "{failure}"
    );
    assert!(!failure.message.contains("wrong"), "{failure}");
}

#[tokio::test]
async fn a_redirect_and_a_missing_repository_are_named() {
    let mut remote = Remote::http().await;
    remote.url = remote.url.replace("/up.git", "/moved.git");
    let (_dir, broker) = start_with(&remote, &[], &[]).await;
    let failure = broker.err().unwrap();
    assert_eq!(failure.reason, Reason::RepositoryNotFound);
    assert!(failure.message.contains("redirects to \"/up.git\""), "{failure}");
    remote.url = remote.url.replace("/moved.git", "/none.git");
    let (_dir, broker) = start_with(&remote, &[], &[]).await;
    assert_eq!(broker.err().unwrap().reason, Reason::RepositoryNotFound);
}

#[tokio::test]
async fn plain_http_is_sent_no_password() {
    let remote = Remote::http().await;
    let (_dir, broker) = start_with(&remote, &SECRET, &["localhost"]).await;
    assert!(broker.is_ok());
    assert!(remote.calls() > 0);
    assert_eq!(remote.authorized(), 0);
}

#[tokio::test]
async fn a_repository_with_ten_thousand_refs_is_served_like_any_other() {
    let remote = Remote::http().await;
    let main = tip(&remote.repo, "refs/heads/main").await.unwrap();
    // Mirrors keep what they mirror under names that end like the branch itself: git lists all of these for it.
    let branches = (0..10_000).map(|number| format!("refs/heads/topic/{number}"));
    let mirrored = (0..10_000).map(|number| format!("refs/mirrors/{number}/refs/heads/main"));
    let packed = branches.chain(mirrored).map(|name| format!("{main} {name}\n"));
    std::fs::write(remote.repo.join("packed-refs"), packed.collect::<String>()).unwrap();
    let (dir, broker) = start_with(&remote, &[], &[]).await;
    delivers(dir.path(), &broker.unwrap(), &remote.repo).await;
}

#[tokio::test]
async fn an_unreachable_host_is_asked_again_and_then_named() {
    let mut remote = Remote::http().await;
    remote.url = "http://127.0.0.1:1/up.git".to_owned();
    let begun = std::time::Instant::now();
    let (_dir, broker) = start_with(&remote, &[], &[]).await;
    let failure = broker.err().unwrap();
    assert_eq!(failure.reason, Reason::GitHostUnreachable);
    assert!(failure.message.contains("refused"), "{failure}");
    assert!((15..40).contains(&begun.elapsed().as_secs()));
}

#[tokio::test]
async fn an_ssh_key_that_may_only_read_is_named_before_anything_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut sshd = Sshd::start(dir.path()).await;
    // As hosts do: the key is known, and the command is answered in words.
    let script = dir.path().join("read-only");
    let text = "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in git-receive-pack*) echo 'ERROR: The key you are authenticating with has been marked as read only.' >&2; exit 1;; esac\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
    std::fs::write(&script, text).unwrap();
    let public = std::fs::read_to_string(dir.path().join("user.pub")).unwrap();
    let line = format!("command=\"sh {}\" {public}", script.display());
    std::fs::write(dir.path().join("user.pub"), line).unwrap();
    let mut order = fixture::order();
    order.role.git.remote.repository = sshd.url.parse().unwrap();
    order.role.git.remote.known_hosts.clone_from(&sshd.known_hosts);
    mount(&dir.path().join("secret"), &[("ssh-privatekey", &sshd.key)]);
    let failure = start(dir.path(), "broker", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::GitCredentialRefused, "{failure}");
    assert!(failure.message.contains("marked as read only"), "{failure}");
    sshd.child.kill().await.unwrap();
}

#[tokio::test]
async fn ssh_works_with_the_key_and_a_known_host_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut sshd = Sshd::start(dir.path()).await;
    let secret = dir.path().join("secret");
    let mut order = fixture::order();
    order.role.git.remote.repository = sshd.url.parse().unwrap();
    mount(&secret, &[("ssh-privatekey", &sshd.key)]);
    let failure = start(dir.path(), "b1", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::HostKeyUnknown, "{failure}");
    order.role.git.remote.known_hosts.clone_from(&sshd.known_hosts);
    // The secret pins another repository's host: what the chart ships for this one counts all the same.
    let elsewhere = sshd.known_hosts.replace("127.0.0.1", "git.example");
    mount(
        &secret,
        &[("ssh-privatekey", &sshd.key), ("known_hosts", &elsewhere)],
    );
    let broker = start(dir.path(), "b2", &order, UID).await.unwrap();
    delivers(dir.path(), &broker, &sshd.repo).await;
    std::fs::remove_file(secret.join("known_hosts")).unwrap();
    let other = dir.path().join("other");
    let keygen = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&other)
        .status();
    assert!(keygen.unwrap().success());
    mount(
        &secret,
        &[("ssh-privatekey", &std::fs::read_to_string(&other).unwrap())],
    );
    let failure = start(dir.path(), "b3", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::GitCredentialRefused, "{failure}");
    mount(&secret, &[("ssh-privatekey", "no key at all")]);
    let failure = start(dir.path(), "b4", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::SecretInvalid, "{failure}");
    mount(&secret, &[("ssh-privatekey", &sshd.key)]);
    order.role.git.remote.repository = format!("{}x", sshd.url).parse().unwrap();
    let failure = start(dir.path(), "b5", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::RepositoryNotFound, "{failure}");
    order.role.git.remote.repository = sshd.url.parse().unwrap();
    let other_key = std::fs::read_to_string(format!("{}.pub", other.display())).unwrap();
    let name = sshd.known_hosts.split(' ').next().unwrap();
    order.role.git.remote.known_hosts = format!("{name} {other_key}");
    let failure = start(dir.path(), "b6", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::HostKeyUnknown, "{failure}");
    sshd.child.kill().await.unwrap();
}
