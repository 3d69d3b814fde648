//! A credential that stops working while the agent is at work.

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;

use super::remote::Remote;
use super::transport::mount;
use super::*;

/// A broker over HTTPS that is serving, and its folder.
async fn serving(remote: &Remote) -> (tempfile::TempDir, Broker) {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("username", "u"),
        ("password", "p"),
        ("ca.crt", remote.ca.as_str()),
    ];
    mount(&dir.path().join("secret"), &files);
    let order = order(remote, |order| {
        order.role.git.remote.trusted_hosts = vec!["localhost".to_owned()];
    });
    let broker = start(dir.path(), "broker", &order, UID).await.unwrap();
    broker.record.enter(BrokerState::Serving);
    (dir, broker)
}

impl Broker {
    pub(super) async fn parked(&self) -> (Reason, String) {
        for _ in 0..600 {
            if let BrokerState::Parked { reason, message, .. } = self.evidence().state {
                return (reason, message);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it was not parked: {:?}", self.evidence())
    }

    async fn serves_again(&self) {
        for _ in 0..600 {
            if self.evidence().state == BrokerState::Serving {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it is parked still: {:?}", self.evidence())
    }
}

/// A push of HEAD to `name` that runs on.
pub(super) fn push(clone: &Path, name: &str) -> tokio::task::JoinHandle<Result<String, String>> {
    let (clone, refspec) = (clone.to_owned(), format!("HEAD:{name}"));
    tokio::spawn(async move { git(&clone, &["push", "-q", "origin", &refspec]).await })
}

#[tokio::test]
async fn a_push_waits_parked_until_the_password_is_renewed_and_then_arrives() {
    let remote = Remote::https().await;
    let (dir, broker) = serving(&remote).await;
    let secret = dir.path().join("secret");
    let clone = broker.clone(dir.path(), "a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    mount(&secret, &[("password", "expired")]);
    let pushing = push(&clone, WORK);
    let (reason, message) = broker.parked().await;
    assert_eq!(reason, Reason::GitCredentialRefused);
    assert!(message.contains("401"), "{message}");
    // A snapshot does not wait: the keeper makes another one.
    let error = push(&clone, WIP).await.unwrap().unwrap_err();
    assert!(error.contains("GitCredentialRefused"), "{error}");
    assert!(!pushing.is_finished());
    assert_eq!(tip(&remote.repo, WORK).await, None);
    mount(&secret, &[("password", "p")]);
    pushing.await.unwrap().unwrap();
    broker.serves_again().await;
    assert_eq!(tip(&remote.repo, WORK).await, Some(one));
    push(&clone, WIP).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_checkpoint_parks_too_and_the_attempt_goes_on_without_another_push() {
    let remote = Remote::https().await;
    let (dir, broker) = serving(&remote).await;
    let secret = dir.path().join("secret");
    let clone = broker.clone(dir.path(), "a").await;
    commit(&clone, "src/b.txt", "1").await;
    for (key, wrong, right, reason) in [
        ("password", "expired", "p", Reason::GitCredentialRefused),
        ("username", "", "u", Reason::SecretMissing),
        (
            "ca.crt",
            "no certificate",
            remote.ca.as_str(),
            Reason::SecretInvalid,
        ),
    ] {
        mount(&secret, &[(key, wrong)]);
        push(&clone, WIP).await.unwrap().unwrap_err();
        assert_eq!(broker.parked().await.0, reason);
        mount(&secret, &[(key, right)]);
        broker.serves_again().await;
    }
    push(&clone, WIP).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_credential_that_loses_the_right_to_push_parks_and_a_stopped_attempt_waits_no_longer() {
    let remote = Remote::https().await;
    let (dir, broker) = serving(&remote).await;
    let clone = broker.clone(dir.path(), "a").await;
    commit(&clone, "src/b.txt", "1").await;
    git(&remote.repo, &["config", "http.receivepack", "false"])
        .await
        .unwrap();
    let pushing = push(&clone, WORK);
    let (reason, message) = broker.parked().await;
    assert_eq!(reason, Reason::GitCredentialRefused);
    assert!(message.contains("no push is possible"), "{message}");
    broker.record.enter(BrokerState::Stopped {
        reason: Reason::ParkedTooLong,
        message: "m".to_owned(),
    });
    let error = pushing.await.unwrap().unwrap_err();
    assert!(error.contains("ParkedTooLong"), "{error}");
}

#[tokio::test]
async fn an_agent_parks_nothing_by_what_it_pushes_or_by_words_that_a_hook_repeats() {
    let remote = Remote::https().await;
    remote.hook(
        "pre-receive",
        "echo 'ERROR: Permission denied (publickey). access denied'; exit 1",
    );
    let (dir, broker) = serving(&remote).await;
    let clone = broker.clone(dir.path(), "a").await;
    commit(&clone, "src/b.txt", "1").await;
    for name in [WORK, WIP, "refs/heads/main", "refs/tags/x"] {
        push(&clone, name).await.unwrap().unwrap_err();
        assert_eq!(broker.evidence().state, BrokerState::Serving, "{name}");
    }
}

#[tokio::test]
async fn a_broker_that_is_restarted_while_the_password_is_refused_waits_parked_and_serves_then() {
    let remote = Remote::https().await;
    let (dir, broker) = serving(&remote).await;
    let secret = dir.path().join("secret");
    let clone = broker.clone(dir.path(), "a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WORK}")])
        .await
        .unwrap();
    drop(broker);
    mount(&secret, &[("password", "expired")]);
    let order = order(&remote, |order| {
        order.role.git.remote.trusted_hosts = vec!["localhost".to_owned()];
    });
    let home = dir.path().to_owned();
    let restarted = start(&home, "broker", &order, UID);
    tokio::pin!(restarted);
    let early = tokio::time::timeout(Duration::from_secs(3), &mut restarted).await;
    assert!(early.is_err(), "it waits: {:?}", early.unwrap().err());
    mount(&secret, &[("password", "p")]);
    let broker = restarted.await.unwrap();
    assert_eq!(broker.evidence().state, BrokerState::Serving);
    assert!(broker.evidence().parked_seconds > 0, "{:?}", broker.evidence());
    assert_eq!(broker.evidence().pushed, Some(one));
    // Where nothing has begun, nothing waits.
    mount(&secret, &[("password", "expired")]);
    let failure = start(&home, "other", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::GitCredentialRefused, "{failure}");
}
