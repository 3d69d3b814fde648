//! What another hand does to the remote after a push.

use gastown_api::evidence::FinalRead;
use gastown_api::reason::Reason;

use super::remote::Remote;
use super::*;

/// A trial whose clone `a` has pushed one commit; the base and the commit.
async fn pushed() -> (Trial, PathBuf, Sha, Sha) {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let base = tip(&clone, "HEAD").await.unwrap();
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    (trial, clone, base, one)
}

impl Trial {
    /// Another hand on the host.
    async fn host(&self, args: &[&str]) {
        git(&self.remote.repo, args).await.unwrap();
    }

    /// A commit on top of `parent` that somebody makes on the host, as the work branch.
    async fn theirs(&self, parent: &Sha, message: &str) -> Sha {
        let tree = format!("{parent}^{{tree}}");
        let made = git(
            &self.remote.repo,
            &["commit-tree", &tree, "-p", parent.as_str(), "-m", message],
        )
        .await;
        let sha: Sha = made.unwrap().parse().unwrap();
        self.host(&["update-ref", WORK, sha.as_str()]).await;
        sha
    }

    async fn holds(&self, name: &str, commit: &Sha) -> bool {
        let ask = ["merge-base", "--is-ancestor", commit.as_str(), name];
        git(&self.remote.repo, &ask).await.is_ok()
    }
}

fn was_read(evidence: &Evidence) -> bool {
    matches!(evidence.final_read, Some(FinalRead::Read { .. }))
}

#[tokio::test]
async fn the_end_says_what_the_remote_holds_then() {
    let (trial, _, base, one) = pushed().await;
    let before = trial.broker.evidence();
    assert_eq!(
        (before.pushed, before.final_read),
        (Some(one.clone()), Some(FinalRead::Pending))
    );
    assert_ne!(base, one);
    trial.broker.finish().await;
    let evidence = trial.broker.evidence();
    assert!(was_read(&evidence) && !evidence.dropped, "{evidence:?}");
    assert_eq!(evidence.head, Some(one));
}

#[tokio::test]
async fn a_branch_that_was_deleted_or_moved_back_is_dropped_and_its_commits_are_saved() {
    for moved in [None, Some("base"), Some("another")] {
        let (trial, _, base, one) = pushed().await;
        let head = match moved {
            None => {
                trial.host(&["update-ref", "-d", WORK]).await;
                None
            }
            Some("base") => {
                trial.host(&["update-ref", WORK, base.as_str()]).await;
                Some(base)
            }
            Some(_) => Some(trial.theirs(&base, "rebased by a bot").await),
        };
        trial.broker.finish().await;
        let evidence = trial.broker.evidence();
        assert!(was_read(&evidence) && evidence.dropped, "{moved:?}: {evidence:?}");
        assert_eq!(evidence.head, head, "{moved:?}");
        assert_eq!(evidence.wip.unwrap().name, WIP);
        assert!(trial.holds(WIP, &one).await, "{moved:?}");
    }
}

#[tokio::test]
async fn what_is_dropped_after_the_last_snapshot_is_added_to_it() {
    let (trial, clone, base, one) = pushed().await;
    git(&clone, &["checkout", "-q", "-b", "snapshot", base.as_str()])
        .await
        .unwrap();
    let snapshot = commit(&clone, "src/left.txt", "uncommitted").await;
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    trial.host(&["update-ref", "-d", WORK]).await;
    trial.broker.finish().await;
    for commit in [one, snapshot] {
        assert!(trial.holds(WIP, &commit).await, "{commit}");
    }
    assert_eq!(
        tip(&trial.remote.repo, WIP).await,
        trial.broker.evidence().wip.map(|wip| wip.sha)
    );
}

#[tokio::test]
async fn who_asks_before_the_last_snapshot_sees_what_was_dropped() {
    let (trial, _, _, one) = pushed().await;
    trial.host(&["update-ref", "-d", WORK]).await;
    trial.broker.reread().await.unwrap();
    let served = git(trial.dir.path(), &["ls-remote", &trial.broker.url])
        .await
        .unwrap();
    assert!(!served.contains(WORK), "{served}");
    // The keeper saves it, and the broker need not.
    trial.broker.finish().await;
    let evidence = trial.broker.evidence();
    assert!(evidence.dropped && evidence.wip.is_none(), "{evidence:?}");
    assert_eq!(evidence.pushed, Some(one));
}

#[tokio::test]
async fn a_branch_that_another_hand_moved_on_holds_the_work_still() {
    let (trial, _, _, one) = pushed().await;
    let theirs = trial.theirs(&one, "a bot's version bump").await;
    trial.broker.finish().await;
    let evidence = trial.broker.evidence();
    assert!(was_read(&evidence) && !evidence.dropped, "{evidence:?}");
    assert_eq!((evidence.head, evidence.pushed), (Some(theirs), Some(one)));
}

#[tokio::test]
async fn a_push_that_the_host_moves_on_at_once_is_taken() {
    let trial = Trial::new().await;
    let bot = format!(
        "while read o n r; do [ $r = {WORK} ] && git update-ref $r $(git -c user.name=b -c user.email=b@b commit-tree $n^{{tree}} -p $n -m bot); done; exit 0"
    );
    trial.remote.hook("post-receive", &bot);
    let clone = trial.clone("a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    let evidence = trial.broker.evidence();
    assert_eq!(evidence.refused, None);
    assert_eq!(evidence.pushed, Some(one.clone()));
    assert_eq!(evidence.head, tip(&trial.remote.repo, WORK).await);
    assert_ne!(evidence.head, Some(one));
}

#[tokio::test]
async fn a_host_that_cannot_be_read_at_the_end_confirms_nothing() {
    let (trial, clone, _, one) = pushed().await;
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    let away = trial.remote.repo.with_extension("away");
    std::fs::rename(&trial.remote.repo, &away).unwrap();
    trial.broker.finish().await;
    let evidence = trial.broker.evidence();
    let Some(FinalRead::Failed { reason, .. }) = evidence.final_read else {
        panic!("{evidence:?}")
    };
    assert_eq!(reason, Reason::RepositoryNotFound);
    assert_eq!(evidence.head, Some(one), "what it said before");
    assert!(tip(&away, WIP).await.is_some(), "the snapshot stays");
}

#[tokio::test]
async fn a_snapshot_that_another_hand_deleted_is_pushed_again_or_missed() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    trial.host(&["update-ref", "-d", WIP]).await;
    trial.broker.finish().await;
    assert_eq!(tip(&trial.remote.repo, WIP).await, Some(one));
    assert!(!trial.broker.evidence().wip_dropped);
    trial.host(&["update-ref", "-d", WIP]).await;
    trial.remote.hook("pre-receive", "exit 1");
    trial.broker.finish().await;
    assert!(trial.broker.evidence().wip_dropped);
}

#[tokio::test]
async fn the_base_of_an_attempt_that_pushed_nothing_is_no_work_to_drop() {
    let remote = Remote::http().await;
    remote.push_seed(WORK).await;
    let trial = Trial::of(remote, |_| {}).await;
    trial.host(&["update-ref", "-d", WORK]).await;
    trial.broker.finish().await;
    let evidence = trial.broker.evidence();
    assert!(
        was_read(&evidence) && !evidence.dropped && evidence.head.is_none(),
        "{evidence:?}"
    );
}

#[tokio::test]
async fn a_push_that_the_host_answers_too_late_counts_if_the_remote_has_moved() {
    let remote = Remote::http().await;
    remote.hook("post-receive", "sleep 30");
    let dir = tempfile::tempdir().unwrap();
    let limit = Duration::from_secs(2);
    let broker = start_within(dir.path(), "broker", &order(&remote, |_| {}), UID, limit)
        .await
        .unwrap();
    let clone = broker.clone(dir.path(), "a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(broker.evidence().head, Some(one));
    assert_eq!(broker.evidence().refused_count, 0);
    // One that has not moved is said to be slow, not to refuse.
    remote.hook("pre-receive", "sleep 30");
    let two = commit(&clone, "src/b.txt", "2").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap_err();
    let evidence = broker.evidence();
    assert_eq!(evidence.refused.unwrap().reason, Some(Reason::GitHostUnreachable));
    assert_ne!(evidence.head, Some(two));
}

#[tokio::test]
async fn a_restarted_broker_misses_what_was_dropped_meanwhile() {
    let (trial, _, base, one) = pushed().await;
    trial.host(&["update-ref", "-d", WORK]).await;
    let same = order(&trial.remote, |_| {});
    let again = start(trial.dir.path(), "broker", &same, UID).await.unwrap();
    assert_eq!(again.evidence().base, Some(base));
    again.finish().await;
    let evidence = again.evidence();
    assert!(evidence.dropped, "{evidence:?}");
    assert!(trial.holds(WIP, &one).await);
}
