//! Faults of the remote are reported at the start, before an agent runs.

use gastown_api::reason::Reason;

use super::remote::Remote;
use super::*;

async fn fails(remote: &Remote, change: impl FnOnce(&mut WorkOrder)) -> super::super::Failure {
    let dir = tempfile::tempdir().unwrap();
    let order = order(remote, change);
    start(dir.path(), "broker", &order, UID).await.err().unwrap()
}

/// Makes `name` on the remote, at `main`.
async fn make_ref(remote: &Remote, name: &str) {
    git(&remote.repo, &["update-ref", name, "main"]).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_stands_where_ours_needs_a_folder_is_named() {
    for name in [
        "refs/heads/polecat",
        "refs/heads/polecat/furiosa",
        "refs/heads/polecat/furiosa/gt-1@m1/x/y",
    ] {
        let remote = Remote::http().await;
        make_ref(&remote, name).await;
        let failure = fails(&remote, |_| {}).await;
        assert_eq!(failure.reason, Reason::RefBlocked, "{failure}");
        for part in [WORK, name] {
            assert!(failure.message.contains(&format!("{part:?}")), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_base_branch_that_is_in_the_way_of_the_work_branch_is_named() {
    let remote = Remote::http().await;
    let failure = fails(&remote, |order| {
        order.role.git.work_branch = "main/fix".parse().unwrap();
    })
    .await;
    assert_eq!(failure.reason, Reason::RefBlocked, "{failure}");
    assert!(failure.message.contains("\"refs/heads/main\""), "{failure}");
}

#[tokio::test]
async fn a_snapshot_whose_ref_is_blocked_goes_to_a_branch_and_with_both_blocked_nothing_begins() {
    let remote = Remote::http().await;
    make_ref(&remote, "refs/gastown/wip").await;
    let dir = tempfile::tempdir().unwrap();
    let order = order(&remote, |_| {});
    let broker = start(dir.path(), "broker", &order, UID).await.unwrap();
    let clone = broker.clone(dir.path(), "a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    let branch = "refs/heads/gastown-wip/furiosa/01234567";
    assert_eq!(tip(&remote.repo, branch).await, Some(one));
    assert_eq!(broker.evidence().refused_count, 0);
    git(&remote.repo, &["update-ref", "-d", branch]).await.unwrap();
    make_ref(&remote, "refs/heads/gastown-wip").await;
    let failure = start(dir.path(), "other", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::RefBlocked, "{failure}");
}

#[tokio::test]
async fn refs_beside_ours_are_in_nobodys_way() {
    let remote = Remote::http().await;
    for name in [
        "refs/heads/polecat/nux/gt-1@m1",
        "refs/heads/polecat/furiosa/gt-1@m12",
        "refs/gastown/wip/furiosa/fedcba98",
        "refs/tags/polecat",
        "refs/mirrors/refs/heads/polecat",
    ] {
        make_ref(&remote, name).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let order = order(&remote, |_| {});
    start(dir.path(), "broker", &order, UID).await.unwrap();
}

#[tokio::test]
async fn a_credential_that_may_only_read_is_named_and_the_probe_leaves_nothing() {
    let remote = Remote::http().await;
    let dir = tempfile::tempdir().unwrap();
    let order = order(&remote, |_| {});
    let before = git(&remote.repo, &["for-each-ref"]).await.unwrap();
    start(dir.path(), "broker", &order, UID).await.unwrap();
    assert_eq!(git(&remote.repo, &["for-each-ref"]).await.unwrap(), before);
    git(&remote.repo, &["config", "http.receivepack", "false"])
        .await
        .unwrap();
    let failure = start(dir.path(), "other", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::GitCredentialRefused, "{failure}");
    assert!(
        failure.message.starts_with("no push is possible: ") && failure.message.contains("403"),
        "{failure}"
    );
}

#[tokio::test]
async fn work_that_an_earlier_attempt_had_pushed_needs_no_call_of_a_model() {
    let remote = Remote::http().await;
    make_ref(&remote, WORK).await;
    let there = tip(&remote.repo, WORK).await.unwrap();
    for (unconfirmed, unmetered) in [
        (Some(there), false),
        ("a".repeat(40).parse().ok(), true),
        (None, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let order = order(&remote, |order| {
            order.role.model.tokens_left = Some(9);
            order.role.git.unconfirmed = unconfirmed;
        });
        let broker = start(dir.path(), "broker", &order, UID).await.unwrap();
        assert_eq!(
            broker.evidence().is_unmetered(),
            unmetered,
            "{:?}",
            order.role.git.unconfirmed
        );
    }
}

#[tokio::test]
async fn tags_and_other_branches_are_fetched_by_name_and_only_where_the_rig_lets_them() {
    for may in [true, false] {
        let trial = Trial::of(Remote::http().await, |order| order.role.git.other_branches = may).await;
        let upstream = &trial.remote.repo;
        git(upstream, &["tag", "v1", "main~1"]).await.unwrap();
        let topic = trial.dir.path().join("topic");
        git(
            trial.dir.path(),
            &["clone", "-q", upstream.to_str().unwrap(), "topic"],
        )
        .await
        .unwrap();
        let wanted = commit(&topic, "src/topic.txt", "t").await;
        git(&topic, &["push", "-q", "origin", "HEAD:refs/heads/topic/x"])
            .await
            .unwrap();
        let clone = trial.clone("a").await;
        let listed = git(&clone, &["ls-remote", "origin", "refs/heads/*"])
            .await
            .unwrap();
        assert!(!listed.contains("topic/x"), "{listed}");
        let fetched = git(&clone, &["fetch", "-q", "origin", "topic/x"]).await;
        assert_eq!(fetched.is_ok(), may, "{fetched:?}");
        if may {
            assert_eq!(tip(&clone, "FETCH_HEAD").await, Some(wanted.clone()));
            git(&clone, &["fetch", "-q", "origin", "tag", "v1"])
                .await
                .unwrap();
            assert!(tip(&clone, "refs/tags/v1").await.is_some());
        }
        // They are for reading.
        let refused = git(&clone, &["push", "-q", "origin", "HEAD:refs/heads/topic/x"]).await;
        assert!(refused.unwrap_err().contains("only"));
        assert_eq!(tip(upstream, "refs/heads/topic/x").await, Some(wanted));
        let none = git(&clone, &["fetch", "-q", "origin", "nope"]).await.unwrap_err();
        assert!(none.contains("couldn't find remote ref"), "{none}");
    }
}

#[tokio::test]
async fn a_database_of_dolt_on_the_remote_is_seen_and_not_fetched() {
    for has in [true, false] {
        let remote = Remote::http().await;
        if has {
            git(&remote.repo, &["update-ref", "refs/dolt/data", "main"])
                .await
                .unwrap();
        }
        let trial = Trial::of(remote, |_| {}).await;
        assert_eq!(trial.broker.host.repository().unwrap().beads_in_dolt, has);
        let clone = trial.clone("a").await;
        let listed = git(&clone, &["ls-remote", "origin"]).await.unwrap();
        assert!(!listed.contains("dolt"), "{listed}");
    }
}

#[tokio::test]
async fn tags_on_the_history_come_with_the_clone() {
    let remote = Remote::http().await;
    git(&remote.repo, &["tag", "v1", "main~1"]).await.unwrap();
    let trial = Trial::of(remote, |_| {}).await;
    let clone = trial.clone("a").await;
    assert_eq!(
        git(&clone, &["describe", "--tags"])
            .await
            .unwrap()
            .split('-')
            .next(),
        Some("v1")
    );
}
