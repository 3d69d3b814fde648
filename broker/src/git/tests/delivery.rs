//! What should work.

use std::fmt::Write as _;

use gastown_api::evidence::BrokerState;
use gastown_api::reason::Reason;

use super::remote::Remote;
use super::*;

#[tokio::test]
async fn a_clone_has_the_base_with_full_history_and_a_push_reaches_the_remote() {
    let trial = Trial::new().await;
    let base = tip(&trial.remote.repo, "main").await.unwrap();
    assert_eq!(trial.broker.evidence().base, Some(base.clone()));
    assert_eq!(trial.broker.evidence().head, None);
    let clone = trial.clone("a").await;
    assert_eq!(tip(&clone, "HEAD").await, Some(base));
    let count = git(&clone, &["rev-list", "--count", "HEAD"]).await.unwrap();
    assert_eq!(count, "2");
    let refs = git(&clone, &["for-each-ref", "--format=%(refname)", "refs/remotes"])
        .await
        .unwrap();
    assert!(!refs.contains("other"), "{refs}");
    for text in ["1", "2"] {
        let one = commit(&clone, "src/b.txt", text).await;
        git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
        assert_eq!(tip(&trial.remote.repo, WORK).await, Some(one.clone()));
        assert_eq!(trial.broker.evidence().head, Some(one));
    }
    assert_eq!(trial.broker.evidence().refused_count, 0);
    let again = trial.path("b");
    git(
        trial.dir.path(),
        &[
            "clone",
            "-q",
            "-b",
            "polecat/furiosa/gt-1@m1",
            &trial.broker.url,
            "b",
        ],
    )
    .await
    .unwrap();
    assert_eq!(tip(&again, "HEAD").await, trial.broker.evidence().head);
}

#[tokio::test]
async fn a_large_push_and_an_empty_one_pass() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(trial.broker.evidence().head, tip(&clone, "main").await);
    // More than http.postBuffer, so that git asks first and then sends chunks.
    let mut noise = String::new();
    for n in 0..400_000_u32 {
        write!(noise, "{:x}", n.wrapping_mul(2_654_435_761)).unwrap();
    }
    let one = commit(&clone, "big.txt", &noise).await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, Some(one));
}

#[tokio::test]
async fn the_base_is_the_tip_of_a_work_branch_that_exists() {
    let remote = Remote::http().await;
    let work = commit(&remote.seed(), "src/w.txt", "w").await;
    remote.push_seed(WORK).await;
    let trial = Trial::of(remote, |_| {}).await;
    let evidence = trial.broker.evidence();
    assert_eq!(
        (evidence.base, evidence.head),
        (Some(work.clone()), Some(work.clone()))
    );
    let clone = trial.clone("a").await;
    assert_eq!(tip(&clone, "origin/polecat/furiosa/gt-1@m1").await, Some(work));
}

#[tokio::test]
async fn a_new_broker_adopts_what_an_earlier_one_pushed() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let base = tip(&clone, "HEAD").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    // The same container again, then another pod for a later attempt.
    let same = order(&trial.remote, |_| {});
    let again = start(trial.dir.path(), "broker", &same, UID)
        .await
        .unwrap()
        .evidence();
    assert_eq!((again.base, again.head), (base.clone(), Some(one.clone())));
    assert_eq!(again.wip.unwrap().sha, one);
    let later = order(&trial.remote, |order| {
        order.attempt = 2;
        order.role.git.base.clone_from(&base);
    });
    let later = start(trial.dir.path(), "broker2", &later, "fedcba98-1")
        .await
        .unwrap()
        .evidence();
    assert_eq!((later.base, later.head), (base, Some(one)));
    assert_eq!(later.wip, None);
}

#[tokio::test]
async fn what_the_remote_refuses_is_said_and_not_believed() {
    let trial = Trial::new().await;
    trial
        .remote
        .hook("pre-receive", "echo 'no robots here' >&2; exit 1");
    let clone = trial.clone("a").await;
    commit(&clone, "src/b.txt", "1").await;
    let error = git(&clone, &["push", "origin", "HEAD"]).await.unwrap_err();
    assert!(error.contains("no robots here"), "{error}");
    let evidence = trial.broker.evidence();
    assert_eq!(evidence.head, None);
    assert!(evidence.refused.unwrap().why.contains("PushRefused"));
    let served = git(trial.dir.path(), &["ls-remote", &trial.broker.url])
        .await
        .unwrap();
    assert!(!served.contains(WORK), "{served}");
    trial.remote.hook("pre-receive", "exit 0");
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
}

#[tokio::test]
async fn a_remote_that_moved_is_followed_and_can_be_merged() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    let other = trial.path("other");
    let upstream = trial.remote.repo.to_str().unwrap();
    git(
        trial.dir.path(),
        &["clone", "-q", "-b", "polecat/furiosa/gt-1@m1", upstream, "other"],
    )
    .await
    .unwrap();
    let theirs = commit(&other, "src/c.txt", "theirs").await;
    git(&other, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    commit(&clone, "src/b.txt", "2").await;
    let error = git(&clone, &["push", "origin", "HEAD"]).await.unwrap_err();
    assert!(error.contains("the remote moved"), "{error}");
    assert_eq!(trial.broker.evidence().head, Some(theirs));
    git(
        &clone,
        &[
            "pull",
            "-q",
            "--no-rebase",
            "--no-edit",
            "origin",
            "polecat/furiosa/gt-1@m1",
        ],
    )
    .await
    .unwrap();
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
}

#[tokio::test]
async fn a_snapshot_goes_to_a_branch_where_the_remote_refuses_the_wip_ref() {
    let trial = Trial::new().await;
    trial.remote.hook(
        "update",
        "case $1 in refs/gastown/*) echo no such namespace >&2; exit 1;; esac",
    );
    let clone = trial.clone("a").await;
    for text in ["1", "2"] {
        let one = commit(&clone, "src/b.txt", text).await;
        git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
            .await
            .unwrap();
        let branch = "refs/heads/gastown-wip/furiosa/01234567";
        assert_eq!(tip(&trial.remote.repo, branch).await, Some(one.clone()));
        let wip = trial.broker.evidence().wip.unwrap();
        assert_eq!((wip.name.as_str(), wip.sha), (branch, one));
    }
}

#[tokio::test]
async fn a_stopped_broker_says_why_and_still_takes_the_snapshot() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    trial.broker.record.enter(BrokerState::Stopped {
        reason: Reason::BudgetSpent,
        message: "spent".to_owned(),
    });
    let error = git(trial.dir.path(), &["clone", &trial.broker.url, "b"])
        .await
        .unwrap_err();
    assert!(error.contains("410"), "{error}");
    let error = git(&clone, &["push", "origin", "HEAD"]).await.unwrap_err();
    assert!(error.contains("BudgetSpent"), "{error}");
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    assert_eq!(trial.broker.evidence().wip.unwrap().sha, one);
}

#[tokio::test]
async fn a_snapshot_stays_while_it_may_hold_more_than_the_work_branch() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let wip = format!("HEAD:{WIP}");
    let first = commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", &wip]).await.unwrap();
    trial.broker.finish().await;
    assert!(trial.broker.evidence().wip.is_some(), "nothing was delivered");
    commit(&clone, "src/b.txt", "2").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    trial.broker.finish().await;
    let kept = trial.broker.evidence().wip.unwrap().sha;
    assert_eq!(
        kept, first,
        "it may hold what the branch, which came later, does not"
    );
    let later = commit(&clone, "src/b.txt", "3").await;
    git(&clone, &["push", "-q", "origin", &wip]).await.unwrap();
    trial.broker.finish().await;
    let kept = trial.broker.evidence().wip.unwrap().sha;
    assert_eq!(kept, later, "the snapshot came later");
    for folder in ["gastown-held", "gastown-held-1"] {
        let held = commit(&clone, &format!("{folder}/src/c.txt"), "4").await;
        git(&clone, &["push", "-q", "origin", &wip]).await.unwrap();
        git(&clone, &["rm", "-q", "-r", folder]).await.unwrap();
        commit(&clone, "src/b.txt", folder).await;
        git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
        trial.broker.finish().await;
        let kept = trial.broker.evidence().wip.unwrap().sha;
        assert_eq!(kept, held, "it holds what was held back");
        assert_eq!(tip(&trial.remote.repo, WIP).await, Some(held));
    }
}

#[tokio::test]
async fn a_snapshot_goes_when_the_work_branch_holds_it() {
    for order in [[WIP, WORK], [WORK, WIP]] {
        let trial = Trial::new().await;
        let clone = trial.clone("a").await;
        commit(&clone, "src/b.txt", "1").await;
        for target in order {
            let target = format!("HEAD:{target}");
            git(&clone, &["push", "-q", "origin", &target]).await.unwrap();
        }
        trial.broker.finish().await;
        assert_eq!(trial.broker.evidence().wip, None);
        assert_eq!(tip(&trial.remote.repo, WIP).await, None);
        assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
    }
}

#[tokio::test]
async fn the_base_branch_may_be_merged_into_an_older_work_branch() {
    let remote = Remote::http().await;
    remote.push_seed(WORK).await;
    commit(
        &remote.seed(),
        ".github/workflows/ci.yml",
        "on: [push, pull_request]\n",
    )
    .await;
    remote.push_seed("refs/heads/main").await;
    let trial = Trial::of(remote, |_| {}).await;
    let clone = trial.clone("a").await;
    git(
        &clone,
        &["reset", "-q", "--hard", "origin/polecat/furiosa/gt-1@m1"],
    )
    .await
    .unwrap();
    commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["merge", "-q", "--no-edit", "origin/main"])
        .await
        .unwrap();
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
}

#[tokio::test]
async fn a_missing_base_branch_is_named() {
    let remote = Remote::http().await;
    let dir = tempfile::tempdir().unwrap();
    let order = order(&remote, |order| {
        order.role.git.base_branch = "nope".parse().unwrap();
    });
    let failure = start(dir.path(), "broker", &order, UID).await.err().unwrap();
    assert_eq!(failure.reason, Reason::BranchNotFound);
    assert!(failure.message.contains("\"nope\""), "{failure}");
}

#[tokio::test]
async fn an_earlier_pods_snapshot_is_served_and_stays_where_it_is() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let left = commit(&clone, "src/b.txt", "half").await;
    git(&clone, &["push", "-q", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap();
    let later = |name: &str| {
        let name = name.to_owned();
        order(&trial.remote, |order| {
            order.attempt = 2;
            let sha = left.clone();
            order.role.git.resume = Some(gastown_api::work_order::ResumeOrder { name, sha });
        })
    };
    let broker = start(trial.dir.path(), "b2", &later(WIP), "fedcba98-1")
        .await
        .unwrap();
    assert_eq!(broker.evidence().resumed, Some(left.clone()));
    assert_eq!(broker.evidence().wip, None);
    let again = trial.path("again");
    git(trial.dir.path(), &["clone", "-q", &broker.url, "again"])
        .await
        .unwrap();
    let fetch = format!("{}:refs/gastown/resumed", gastown_api::pod::RESUME_REF);
    git(&again, &["fetch", "-q", "origin", &fetch]).await.unwrap();
    assert_eq!(tip(&again, "refs/gastown/resumed").await, Some(left.clone()));
    let error = git(&again, &["push", "origin", &format!("HEAD:{WIP}")])
        .await
        .unwrap_err();
    assert!(error.contains("may be pushed"), "{error}");
    git(&again, &["merge", "-q", "refs/gastown/resumed"])
        .await
        .unwrap();
    git(&again, &["push", "-q", "origin", &format!("HEAD:{WORK}")])
        .await
        .unwrap();
    broker.finish().await;
    assert_eq!(
        tip(&trial.remote.repo, WIP).await,
        Some(left.clone()),
        "nobody else's is deleted"
    );
    for name in [
        "refs/gastown/wip/furiosa/none",
        "refs/heads/other",
        "refs/gastown/wip/nux/01234567",
    ] {
        let other = start(trial.dir.path(), "b3", &later(name), "fedcba98-1")
            .await
            .unwrap();
        assert_eq!(other.evidence().resumed, None, "{name}");
        let served = git(trial.dir.path(), &["ls-remote", &other.url]).await.unwrap();
        assert!(!served.contains(gastown_api::pod::RESUME_REF), "{name}: {served}");
        std::fs::remove_dir_all(trial.path("b3")).unwrap();
    }
}
