//! Objects that git forbids, that are missing, or that are larger than they look.

use std::fmt::Write as _;

use super::*;

#[tokio::test]
async fn a_push_above_the_limit_is_refused_and_the_next_one_passes() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let mut noise = String::new();
    for n in 0..900_000_u64 {
        write!(noise, "{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
    }
    commit(&clone, "big", &noise).await;
    let (calls, refs) = (trial.remote.calls(), trial.refs().await);
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap_err();
    assert_eq!((trial.remote.calls(), trial.refs().await), (calls, refs));
    let why = trial.broker.evidence().refused.unwrap().why;
    assert!(why.contains("larger than"), "{why}");
    git(&clone, &["reset", "-q", "--hard", "HEAD~"]).await.unwrap();
    commit(&clone, "small", "x").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
}

#[tokio::test]
async fn a_tree_that_holds_itself_many_times_costs_nothing() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let script = "set -e; blob=$(echo x | git hash-object -w --stdin);
        tree=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '100644 blob %s\\tf%s\\n' $blob $i; done | git mktree);
        for level in 0 1 2 3 4 5 6 7 8 9; do
          tree=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\\td%s\\n' $tree $i; done | git mktree);
        done;
        root=$( (git ls-tree HEAD; printf '040000 tree %s\\tbomb\\n' $tree) | git mktree);
        git update-ref HEAD $(git commit-tree -p HEAD -m bomb $root)";
    git(&clone, &["-c", &format!("alias.x=!{script}"), "x"])
        .await
        .unwrap();
    let push = git(&clone, &["push", "-q", "origin", "HEAD"]);
    tokio::time::timeout(std::time::Duration::from_secs(20), push)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn objects_that_git_forbids_are_refused() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let script =
        "set -e; tree=$( (printf '040000 .git\\0'; git rev-parse HEAD^{tree} | xxd -r -p; ) | sed 's/^0//' |
          git hash-object -t tree -w --literally --stdin);
        git update-ref HEAD $(git commit-tree -p HEAD -m evil $tree)";
    if git(&clone, &["-c", &format!("alias.x=!{script}"), "x"])
        .await
        .is_err()
    {
        // No xxd here: the same bytes without it.
        let tree = tip(&clone, "HEAD^{tree}").await.unwrap();
        let mut bytes = b"40000 .git\0".to_vec();
        for pair in tree.as_str().as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        }
        std::fs::write(trial.path("tree"), bytes).unwrap();
        let file = trial.path("tree");
        let args = [
            "hash-object",
            "-t",
            "tree",
            "-w",
            "--literally",
            file.to_str().unwrap(),
        ];
        let tree = git(&clone, &args).await.unwrap();
        let evil = git(&clone, &["commit-tree", "-p", "HEAD", "-m", "evil", &tree])
            .await
            .unwrap();
        git(&clone, &["update-ref", "HEAD", &evil]).await.unwrap();
    }
    trial.refused(&clone, &["origin", "HEAD"], "hasDotgit").await;
}

#[tokio::test]
async fn a_commit_whose_objects_are_not_sent_is_refused() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let one = commit(&clone, "src/b.txt", "1").await;
    let empty = b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
    let calls = trial.remote.calls();
    for new in [one.as_str(), &"a".repeat(40)] {
        let mut body = line(&format!("{ZERO} {new} {WORK}\0report-status")).into_bytes();
        body.extend_from_slice(b"0000");
        body.extend_from_slice(empty);
        let (status, text) = trial.post(body, "identity").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("objects are missing"), "{text}");
    }
    // The commit alone, without its tree.
    let script = format!("echo {one} | git pack-objects --stdout > ../pack");
    git(&clone, &["-c", &format!("alias.x=!{script}"), "x"])
        .await
        .unwrap();
    let mut body = line(&format!("{ZERO} {one} {WORK}\0report-status")).into_bytes();
    body.extend_from_slice(b"0000");
    body.extend(std::fs::read(trial.path("pack")).unwrap());
    let (status, text) = trial.post(body, "identity").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("ng refs/heads/polecat"), "{text}");
    assert_eq!(trial.remote.calls(), calls);
}

/// A pack of two objects in 186 bytes: 64 KiB of zeros, and a delta that repeats them 14,000 times.
const DELTA_BOMB: &str = "\
    5041434b0000000200000002b0802078daedc101010000008090feafee080a0000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000006a00\
    0f0001f8eb06c97c12f9b0a24bfc19c74a2b265a97c92413777578daedc1310100200cc0b08309af297ea4cd0467929a\
    7af704000000000000000000000000001f2c9d775d12dc7acfdfa941e8cff0d5decff8c4adf863ed0fc0";

#[tokio::test]
async fn a_small_pack_that_makes_a_huge_object_is_refused() {
    let trial = Trial::new().await;
    let mut body = line(&format!("{ZERO} {} {WORK}\0report-status", "a".repeat(40))).into_bytes();
    body.extend_from_slice(b"0000");
    let digits = DELTA_BOMB.as_bytes().chunks(2);
    body.extend(digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()));
    let calls = trial.remote.calls();
    let (status, text) = trial.post(body, "identity").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("over limit"), "{text}");
    assert_eq!(trial.remote.calls(), calls);
}

#[tokio::test]
async fn a_large_blob_in_a_small_pack_is_streamed() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    let file = std::fs::File::create(clone.join("zeros")).unwrap();
    file.set_len(200 << 20).unwrap();
    git(&clone, &["-c", "core.bigFileThreshold=1m", "add", "zeros"])
        .await
        .unwrap();
    git(&clone, &["commit", "-q", "-m", "zeros"]).await.unwrap();
    // Its pack is a thousand times smaller; it must be streamed, since no more than 64 MiB may be allocated for one object.
    let push = git(
        &clone,
        &["-c", "core.bigFileThreshold=1m", "push", "-q", "origin", "HEAD"],
    );
    tokio::time::timeout(std::time::Duration::from_mins(5), push)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
}
