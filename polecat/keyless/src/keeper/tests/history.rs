//! What a snapshot is a child of, and when there is nothing to add.

use super::*;

#[test]
fn what_is_delivered_is_not_saved_again_and_a_later_snapshot_is_a_child_of_the_last() {
    let pod = pod();
    let delivered = "the work tree equals the branch on the remote";
    assert_eq!(nothing(pod.take()), delivered);
    pod.write("a", "1");
    let first = pod.save();
    assert_eq!(nothing(pod.take()), "the last snapshot holds it all");
    pod.write("a", "2");
    let second = pod.save();
    let parent = pod
        .upstream()
        .text(&["rev-parse", &format!("{second}~1")])
        .unwrap();
    assert_eq!(parent, first.to_string());
    let base = pod.upstream().text(&["rev-parse", "main"]).unwrap();
    assert_eq!(
        pod.upstream()
            .text(&["rev-parse", &format!("{first}~1")])
            .unwrap(),
        base
    );
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    git.run(&["add", "a"]).unwrap();
    git.run(&["commit", "--quiet", "-m", "A"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    assert_eq!(nothing(pod.take()), delivered);
}

#[test]
fn a_keeper_that_forgot_goes_on_from_what_the_remote_has() {
    let pod = pod();
    pod.write("a", "1");
    let first = pod.save();
    fs::remove_file(pod.folder.path().join("keeper/last.json")).unwrap();
    pod.write("a", "2");
    let second = pod.save();
    assert_eq!(
        pod.upstream()
            .text(&["rev-parse", &format!("{second}~1")])
            .unwrap(),
        first.to_string()
    );
}

#[test]
fn without_a_clone_there_is_nothing_and_without_a_base_an_error() {
    let pod = pod();
    let nowhere = pod.folder.path().join("nowhere");
    let context = |tree: &Path| {
        let store = Store::open(
            &pod.folder.path().join("other"),
            "/no/such/upstream",
            &pod.order,
            "x",
        )
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        Context {
            order: &pod.order,
            store: &store,
            work_tree: tree,
            volumes: &pod.volumes(),
            deadline,
            purpose: Purpose::Last,
            end: None,
            push_bytes: push_bytes(&pod.order),
        }
        .take()
    };
    assert_eq!(context(&nowhere).unwrap(), Outcome::NoClone);
    let error = context(&pod.tree()).unwrap_err();
    assert!(error.to_string().contains("find the base"), "{error}");
}

#[test]
fn a_fetch_that_is_refused_does_not_stop_a_snapshot() {
    let pod = pod();
    pod.store
        .refresh(Instant::now() + Duration::from_secs(10))
        .unwrap();
    pod.upstream()
        .run(&["config", "uploadpack.hideRefs", "refs/heads"])
        .unwrap();
    pod.write("a", "1");
    pod.save();
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
}
