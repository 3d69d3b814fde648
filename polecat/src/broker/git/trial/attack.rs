//! What should not work: each refusal is decided before the remote hears of it.

use std::fmt::Write as _;
use std::io::Write as _;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;

const ZERO: &str = "0000000000000000000000000000000000000000";

impl Trial {
    /// Everything the remote has.
    async fn refs(&self) -> String {
        git(&self.remote.repo, &["for-each-ref"]).await.unwrap()
    }

    /// Pushes, and asserts that it is refused by `rule` and that the remote heard nothing.
    async fn refused(&self, clone: &Path, args: &[&str], rule: &str) {
        let (calls, refs) = (self.remote.calls(), self.refs().await);
        let mut all = vec!["push"];
        all.extend(args);
        let outcome = git(clone, &all).await;
        let error = outcome.expect_err(&format!("{args:?} was taken"));
        assert!(error.contains(rule), "{args:?}: {error}");
        assert_eq!(self.remote.calls(), calls, "{args:?} reached the remote");
        assert_eq!(self.refs().await, refs, "{args:?}");
    }

    async fn post(&self, body: Vec<u8>, encoding: &str) -> (StatusCode, String) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let request = http::Request::post(format!("{}/git-receive-pack", self.broker.url))
            .header("content-type", "application/x-git-receive-pack-request")
            .header("content-encoding", encoding);
        let answer = client
            .request(request.body(Body::from(body)).unwrap())
            .await
            .unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

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

/// Each makes commits on a fresh clone that must not be delivered, by a shell script.
const DENIED: [(&str, &str); 13] = [
    ("changed", "echo x >> .github/workflows/ci.yml; save"),
    ("added", "echo x > .github/workflows/new.yml; save"),
    ("deep", "mkdir -p .github/workflows/a/b; echo x > .github/workflows/a/b/c.yml; save"),
    ("removed", "git rm -q .github/workflows/ci.yml; save"),
    ("mode", "chmod +x .github/workflows/ci.yml; save"),
    ("renamed", "git mv .github/workflows/ci.yml .github/ci.yml; save"),
    ("other case", "mkdir -p .GitHub/Workflows; echo x > .GitHub/Workflows/x.yml; save"),
    ("whole path", "echo x > .gitlab-ci.yml; save"),
    ("whole path as folder", "mkdir .gitlab-ci.yml; echo x > .gitlab-ci.yml/x; save"),
    ("folder as link", "rm -r .github/workflows; ln -s ../src .github/workflows; save"),
    ("put back", "echo x >> .github/workflows/ci.yml; save; git checkout -q HEAD~ -- .github; save"),
    (
        "in the merge itself",
        "git checkout -q -b side; echo s > s; save; git checkout -q -; echo t > t; save;
         git merge -q --no-commit side; echo x >> .github/workflows/ci.yml; save",
    ),
    (
        "on the side of a merge",
        "git checkout -q -b side; echo x >> .github/workflows/ci.yml; save; git checkout -q -; echo t > t; save;
         git merge -q --no-edit side; git checkout -q HEAD~1 -- .github; save",
    ),
];

#[tokio::test]
async fn denied_paths_cannot_be_touched_in_any_commit_on_either_ref() {
    let trial = Trial::new().await;
    let base = trial.clone("base").await;
    for (index, (name, script)) in DENIED.iter().enumerate() {
        let clone = trial.clone(&format!("c{index}")).await;
        let script = format!("set -e; save() {{ git add -A; git commit -q -m x; }}; {script}");
        git(&clone, &["-c", &format!("alias.x=!{script}"), "x"])
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_ne!(tip(&clone, "HEAD").await, tip(&base, "HEAD").await, "{name}");
        for target in [WORK, WIP] {
            trial
                .refused(
                    &clone,
                    &["origin", &format!("HEAD:{target}")],
                    "may not be changed",
                )
                .await;
        }
    }
}

#[tokio::test]
async fn a_link_in_the_place_of_a_denied_paths_folder_is_refused() {
    let trial = Trial::of(Remote::http().await, |order| {
        order.git.denied_paths = vec![".ci/jobs/".to_owned()];
    })
    .await;
    let clone = trial.clone("a").await;
    std::fs::create_dir(clone.join("mine")).unwrap();
    std::os::unix::fs::symlink("mine", clone.join(".ci")).unwrap();
    commit(&clone, "mine/jobs/x", "x").await;
    trial
        .refused(&clone, &["origin", "HEAD"], "\".ci\" may not")
        .await;
}

#[tokio::test]
async fn held_paths_and_lookalikes_are_delivered() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    for path in [
        "gastown-held/.github/workflows/ci.yml",
        ".github/CODEOWNERS",
        ".gitlab-ci.yml.md",
        "x/.gitlab-ci.yml",
    ] {
        commit(&clone, path, "x").await;
        git(&clone, &["push", "-q", "origin", "HEAD"])
            .await
            .unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

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

#[tokio::test]
async fn garbage_is_answered_and_never_forwarded() {
    let trial = Trial::new().await;
    let calls = trial.remote.calls();
    let a = "a".repeat(40);
    let good = line(&format!("{ZERO} {a} {WORK}\0report-status"));
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(good.as_bytes()).unwrap();
    bomb.write_all(b"0000PACK").unwrap();
    bomb.write_all(&vec![0; 50_000_000]).unwrap();
    let cases = [
        (Vec::new(), "identity", StatusCode::BAD_REQUEST),
        (b"zzzz".to_vec(), "identity", StatusCode::BAD_REQUEST),
        (good.clone().into_bytes(), "identity", StatusCode::BAD_REQUEST),
        (
            good.repeat(2000).into_bytes(),
            "identity",
            StatusCode::BAD_REQUEST,
        ),
        (
            format!("{}0000", line(&format!("shallow {a}"))).into_bytes(),
            "identity",
            StatusCode::BAD_REQUEST,
        ),
        (
            format!("{}0000", line("push-cert\0push-cert=x")).into_bytes(),
            "identity",
            StatusCode::BAD_REQUEST,
        ),
        (b"\x1f\x8bnothing".to_vec(), "gzip", StatusCode::BAD_REQUEST),
        (
            good.clone().into_bytes(),
            "br",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (bomb.finish().unwrap(), "gzip", StatusCode::PAYLOAD_TOO_LARGE),
        (b"0000".to_vec(), "identity", StatusCode::OK),
        (format!("{good}0000").into_bytes(), "identity", StatusCode::OK),
        (
            format!("{good}0000PACK garbage").into_bytes(),
            "identity",
            StatusCode::OK,
        ),
    ];
    for (index, (body, encoding, wanted)) in cases.into_iter().enumerate() {
        let (status, text) = trial.post(body, encoding).await;
        assert_eq!(status, wanted, "case {index}: {text}");
        assert!(!text.contains("ok refs"), "case {index}: {text}");
    }
    assert_eq!(trial.remote.calls(), calls);
    let clone = trial.clone("a").await;
    commit(&clone, "src/b.txt", "1").await;
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
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
async fn nothing_else_of_the_brokers_folder_is_served() {
    let trial = Trial::new().await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    for path in [
        "/HEAD",
        "/config",
        "/objects/info/packs",
        "/objects/info/alternates",
        "/objects/info/http-alternates",
        "/hooks/pre-receive",
        "/../ledger.jsonl",
        "/info/refs",
        "/info/refs?service=git-upload-archive",
    ] {
        let uri: http::Uri = format!("{}{path}", trial.broker.url).parse().unwrap();
        let status = client.get(uri).await.unwrap().status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_file_of_modules_with_options_is_refused_and_a_submodule_is_never_fetched() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    for url in ["-u./payload", "--upload-pack=touch"] {
        git(&clone, &["reset", "-q", "--hard", "origin/main"])
            .await
            .unwrap();
        let text = format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n");
        commit(&clone, ".gitmodules", &text).await;
        for target in [WORK, WIP] {
            trial
                .refused(&clone, &["origin", &format!("HEAD:{target}")], "not accepted")
                .await;
        }
    }
    git(&clone, &["reset", "-q", "--hard", "origin/main"])
        .await
        .unwrap();
    let nowhere = format!("160000,{},module", "a".repeat(40));
    git(&clone, &["update-index", "--add", "--cacheinfo", &nowhere])
        .await
        .unwrap();
    git(&clone, &["commit", "-q", "-m", "module"]).await.unwrap();
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
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

#[tokio::test]
async fn clients_that_say_nothing_do_not_keep_a_push_from_being_taken() {
    use tokio::io::AsyncWriteExt as _;
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    commit(&clone, "src/b.txt", "1").await;
    let address = trial
        .broker
        .url
        .strip_prefix("http://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let mut silent = Vec::new();
    for number in 0..40 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /repo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n00";
        let part = if number % 2 == 0 { head } else { "POST /repo" };
        stream.write_all(part.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let push = git(&clone, &["push", "-q", "origin", "HEAD"]);
    tokio::time::timeout(std::time::Duration::from_mins(1), push)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
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
