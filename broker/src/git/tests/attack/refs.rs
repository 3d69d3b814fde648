//! Refs and histories that may not be pushed.

use super::*;

#[tokio::test]
async fn no_ref_but_the_work_branch_can_be_pushed_and_history_only_grows() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    let one = commit(&clone, "src/b.txt", "2").await;
    let only = "may be pushed";
    for name in [
        "refs/heads/main",
        "refs/heads/x",
        "refs/heads/Polecat/furiosa/gt-1@m1",
        "refs/heads/polecat/furiosa/gt-1@m1/x",
        "refs/heads/polecat/furiosa",
        "refs/tags/v1",
        "refs/gastown/wip/furiosa/76543210",
        "refs/heads/gastown-wip/furiosa/01234567",
        "refs/notes/x",
        "refs/for/main",
        "refs/heads/HEAD",
        &format!("refs/replace/{one}"),
    ] {
        trial
            .refused(&clone, &["origin", &format!("HEAD:{name}")], only)
            .await;
    }
    git(&clone, &["tag", "-a", "-m", "t", "v1"]).await.unwrap();
    trial.refused(&clone, &["origin", "v1"], only).await;
    trial
        .refused(&clone, &["origin", &format!("v1:{WORK}")], "no commit")
        .await;
    trial
        .refused(&clone, &["origin", &format!(":{WORK}")], "deleted")
        .await;
    trial.refused(&clone, &["origin", ":refs/heads/main"], only).await;
    let two = format!("HEAD:{WORK}");
    trial
        .refused(&clone, &["origin", &two, "HEAD:refs/heads/x"], "exactly one")
        .await;
    trial
        .refused(&clone, &["--atomic", "origin", &two], "atomic")
        .await;
    trial
        .refused(&clone, &["-o", "ci.skip", "origin", &two], "push options")
        .await;
    trial
        .refused(&clone, &["--mirror", "origin"], "exactly one")
        .await;
    trial
        .refused(&clone, &["--tags", "origin", &two], "exactly one")
        .await;
    let back = format!("+HEAD~2:{WORK}");
    trial.refused(&clone, &["origin", &back], "fast-forward").await;
    git(&clone, &["commit", "-q", "--amend", "-m", "x"])
        .await
        .unwrap();
    git(&clone, &["reset", "-q", "--soft", "HEAD~2"]).await.unwrap();
    git(&clone, &["commit", "-q", "-m", "other"]).await.unwrap();
    trial
        .refused(&clone, &["--force", "origin", &two], "fast-forward")
        .await;
    let evidence = trial.broker.evidence();
    assert!(evidence.refused_count >= 18, "{}", evidence.refused_count);
    assert_eq!(evidence.refused.unwrap().ref_name, WORK);
}

#[tokio::test]
async fn an_unrelated_history_is_refused() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    git(&clone, &["checkout", "-q", "--orphan", "alone"])
        .await
        .unwrap();
    commit(&clone, "src/b.txt", "1").await;
    for name in [WORK, WIP] {
        trial
            .refused(&clone, &["origin", &format!("HEAD:{name}")], "does not descend")
            .await;
    }
}

#[tokio::test]
async fn of_pushes_at_the_same_time_one_is_taken_and_the_others_hear_why() {
    let trial = Trial::new().await;
    let mut pushes = Vec::new();
    for number in 0..6 {
        let clone = trial.clone(&format!("c{number}")).await;
        commit(&clone, "src/b.txt", &number.to_string()).await;
        pushes.push(async move { (git(&clone, &["push", "-q", "origin", "HEAD"]).await, clone) });
    }
    let outcomes = futures::future::join_all(pushes).await;
    let (taken, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(outcome, _)| outcome.is_ok());
    assert_eq!((taken.len(), refused.len()), (1, 5));
    let winner = tip(&taken[0].1, "HEAD").await;
    assert_eq!(tip(&trial.remote.repo, WORK).await, winner);
    assert_eq!(trial.broker.evidence().head, winner);
    for (outcome, _) in refused {
        let error = outcome.unwrap_err();
        // Who asks for the refs after another has pushed hears it from its own git.
        let heard = ["not where the push says", "fetch first"]
            .iter()
            .any(|words| error.contains(words));
        assert!(heard, "{error}");
    }
}
