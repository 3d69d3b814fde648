//! More, and larger, than one push may have.

use gastown_api::evidence::SnapshotReport;

use super::resume::resumed;
use super::*;

/// Large files; what is random does not compress.
fn shards(pod: &Pod, count: u8) {
    for number in 0..count {
        let mut file = fs::File::create(pod.tree().join(format!("shard{number}"))).unwrap();
        let mut random = fs::File::open("/dev/urandom").unwrap();
        std::io::copy(&mut std::io::Read::take(&mut random, (1 << 20) + 4096), &mut file).unwrap();
    }
}

/// The remote runs `script` before it takes a push of the commit `$new`.
fn hook(pod: &Pod, script: &str) {
    let hook = Path::new(&pod.url).join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\nread old new name\n{script}\n")).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn large_files_follow_after_all_others_and_are_all_saved() {
    let mut pod = pod();
    pod.order.role.git.max_push_bytes = 3 << 20;
    shards(&pod, 5);
    pod.write("src/precious.py", "the work of hours\n");
    assert!(!lacks_something(pod.take()));
    let saved = pod.saved();
    assert_eq!(saved.keys().filter(|name| name.starts_with(b"shard")).count(), 5);
    let history = pod
        .upstream()
        .text(&["rev-list", "--reverse", &format!("main..{WIP}")])
        .unwrap();
    let first = history.lines().next().unwrap();
    let names = pod
        .upstream()
        .text(&["ls-tree", "-r", "--name-only", first])
        .unwrap();
    assert!(
        names.contains("src/precious.py") && !names.contains("shard"),
        "{names}"
    );
    assert_eq!(nothing(pod.take()), "the last snapshot holds it all");
    pod.write("src/precious.py", "more\n");
    pod.save();
    let each = pod
        .upstream()
        .text(&["log", "--format=", "--name-only", "--diff-filter=D", WIP])
        .unwrap();
    assert_eq!(each, "", "what is saved stays while it is read again");
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(
        pod.on_disk().keys().count(),
        fs::read_dir(&again).unwrap().count() - 1
    );
}

#[test]
fn many_small_files_are_split_as_well() {
    let mut pod = pod();
    pod.order.role.git.max_push_bytes = 1 << 20;
    let mut random = fs::File::open("/dev/urandom").unwrap();
    for number in 0..20 {
        let mut content = vec![0; 100 << 10];
        std::io::Read::read_exact(&mut random, &mut content).unwrap();
        pod.write(&format!("{number}"), content);
    }
    pod.save();
    assert_eq!(pod.saved().len(), 22);
    let pushes = pod
        .upstream()
        .text(&["rev-list", "--count", &format!("main..{WIP}")])
        .unwrap();
    assert_eq!(pushes, "3");
}

#[test]
fn large_files_that_cannot_be_pushed_cost_no_others_and_are_named() {
    let pod = pod();
    hook(&pod, "! git ls-tree -r --name-only $new | grep -q shard");
    for number in 0..2 {
        let file = fs::File::create(pod.tree().join(format!("shard{number}"))).unwrap();
        file.set_len(20 << 20).unwrap();
    }
    pod.write("precious", "x");
    let Outcome::Saved { left_out, .. } = pod.take().unwrap() else {
        panic!("it holds what is precious")
    };
    assert_eq!(left_out.paths, 2);
    assert!(
        left_out.named[0].contains("shard0") && left_out.named[0].contains("pre-receive"),
        "{left_out:?}"
    );
    assert_eq!(pod.saved()[&b"precious"[..]].1, b"x");
}

/// A pod with large files, each a push of its own, that have not changed for so long that their times tell.
fn pod_of_shards(count: u8) -> (Pod, Arc<Keeper>) {
    let pod = pod();
    shards(&pod, count);
    pod.write("precious", "x");
    std::thread::sleep(Duration::from_millis(3100));
    let mut keeper = pod.keeper(1);
    keeper.push_bytes = AtomicU64::new(2 << 20);
    (pod, Arc::new(keeper))
}

/// What the keeper's termination message says at the moment.
fn said(pod: &Pod) -> Option<SnapshotReport> {
    let message = fs::read(pod.folder.path().join("termination-log")).ok()?;
    serde_json::from_slice(&message).ok()
}

#[tokio::test]
async fn an_end_in_the_middle_of_large_files_names_what_is_not_saved_before_the_grace_is_over() {
    let (pod, keeper) = pod_of_shards(4);
    hook(
        &pod,
        "git ls-tree --name-only $new | grep -q shard2 && sleep 60; true",
    );
    let at = Instant::now();
    let asked = at.checked_sub(Duration::from_secs(105));
    let stopping = tokio::spawn({
        let keeper = Arc::clone(&keeper);
        async move { keeper.stop("told to stop", asked, at).await }
    });
    // Should the keeper be killed in this push, the report is there.
    let early = loop {
        match said(&pod).filter(|report| report.left_out == 2) {
            Some(early) => break early,
            None => assert!(!stopping.is_finished(), "it said nothing before its end"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(!stopping.is_finished());
    let ending = stopping.await.unwrap();
    assert!(
        at.elapsed() < Duration::from_secs(14),
        "its time ran since it was asked"
    );
    let serve::Ending::InPart(lacking) = ending else {
        panic!("{ending:?}")
    };
    assert_eq!(Some(&lacking), said(&pod).as_ref());
    for report in [early, lacking] {
        assert_eq!(report.left_out, 2, "{report:?}");
        assert!(
            report.named[0].contains("shard2") && report.named[1].contains("shard3"),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn what_the_first_snapshot_of_an_end_saved_is_not_read_again_and_counts_as_saved() {
    let (pod, keeper) = pod_of_shards(4);
    let soon = || Instant::now() + Duration::from_mins(1);
    hook(&pod, "! git ls-tree --name-only $new | grep -q shard2");
    let first = keeper.take("asked", Purpose::Asked, soon()).unwrap();
    assert!(matches!(first.ending(), serve::Ending::InPart(lacking) if lacking.left_out == 2));
    // A saved one that changed is read again, whatever its size.
    let changed = fs::File::options()
        .write(true)
        .open(pod.tree().join("shard1"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&changed, b"changed", 0).unwrap();
    hook(&pod, "true");
    let last = keeper.take("told to stop", Purpose::Last, soon()).unwrap();
    // Three of 1052672 bytes, and the small ones: shard0 is not read again.
    assert!(last.words.contains(" 3158054 bytes"), "{}", last.words);
    assert_eq!(last.ending(), serve::Ending::Whole);
    assert_eq!(pod.saved(), pod.on_disk());
    let at = Instant::now();
    assert_eq!(
        keeper.stop("told to stop", Some(at), at).await,
        serve::Ending::Whole
    );
    let message = fs::read(pod.folder.path().join("termination-log")).unwrap();
    assert!(message.is_empty(), "{message:?}");
}
