//! When a snapshot is taken: after turns, and when asked.

use super::*;

#[tokio::test]
async fn a_snapshot_is_taken_when_asked() {
    let pod = pod();
    pod.write("a", "1");
    let socket = pod.folder.path().join("keeper.sock");
    fs::write(&socket, "left by a killed keeper").unwrap();
    let keeper = pod.keeper(1);
    let asking = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match requests::ask(&socket, Duration::from_secs(20)) {
                Ok(answer) => return answer,
                Err(error) if Instant::now() > deadline => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    });
    let answer = tokio::select! {
        served = Arc::new(keeper).serve(Disk::none()) => panic!("{served:?}"),
        answer = asking => answer.unwrap(),
    };
    assert!(answer.starts_with("saved ") && answer.contains(WIP), "{answer}");
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
}

#[tokio::test]
async fn a_checkpoint_is_taken_after_turns_and_none_when_nothing_changed() {
    use axum::routing::post;
    use gastown_api::control_api::{ModelActivity, ModelCalls, Request as _};
    let pod = pod();
    let turns = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let said = Arc::clone(&turns);
    let count = move || async move {
        axum::Json(ModelCalls {
            turns: said.load(std::sync::atomic::Ordering::Relaxed),
            under_way: 0,
        })
    };
    let router = axum::Router::new().route(ModelActivity::PATH, post(count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let keeper = Arc::new(pod.keeper(port));
    let mut watch = checkpoint::Watch::starting(&keeper.order.role.pace);
    let tip = || {
        pod.upstream()
            .text(&["rev-parse", "--quiet", "--verify", WIP])
            .ok()
    };
    pod.write("a", "1");
    keeper.look(&mut watch).await;
    assert_eq!(tip(), None, "nothing is due");
    turns.store(20, std::sync::atomic::Ordering::Relaxed);
    keeper.look(&mut watch).await;
    let first = tip().unwrap();
    turns.store(40, std::sync::atomic::Ordering::Relaxed);
    keeper.look(&mut watch).await;
    assert_eq!(tip().unwrap(), first, "nothing changed");
    pod.write("a", "2");
    keeper.look(&mut watch).await;
    assert_eq!(tip().unwrap(), first, "nothing is due");
    turns.store(60, std::sync::atomic::Ordering::Relaxed);
    keeper.look(&mut watch).await;
    let parent = pod.upstream().text(&["rev-parse", &format!("{WIP}~1")]).unwrap();
    assert_eq!(parent, first, "a checkpoint is a child of the one before");
}

#[tokio::test]
async fn the_base_is_learnt_without_holding_anything_else_up() {
    let mut pod = pod();
    pod.order.limits.grace_seconds = 1;
    let fetched = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = Arc::clone(&fetched);
    // Served by the thread that would be held up.
    let refs = move || async move {
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        axum::http::StatusCode::OK
    };
    let router = axum::Router::new().route("/repo.git/info/refs", axum::routing::get(refs));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    pod.url = format!("http://127.0.0.1:{port}/repo.git");
    let keeper = Arc::new(pod.keeper(port));
    assert!(keeper.learn().await.is_none(), "there is no repository");
    let fetched = fetched.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        fetched > 1,
        "one of the keeper itself, and one of its git: {fetched}"
    );
}

#[tokio::test]
async fn a_request_is_heard_in_the_middle_of_a_checkpoint() {
    let pod = pod();
    pod.write("a", "1");
    // The push waits in the upstream until somebody reads the pipe.
    let gate = pod.folder.path().join("gate");
    assert!(Program::new("mkfifo").arg(&gate).status().unwrap().success());
    let hook = Path::new(&pod.url).join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\necho > '{}'\n", gate.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let keeper = Arc::new(pod.keeper(1));
    let (sender, mut calls) = tokio::sync::mpsc::channel(1);
    let listener = requests::RequestListener::open(&keeper.socket).unwrap();
    tokio::spawn(listener.receive(sender));
    let checkpoint = keeper.snapshot("checkpoint", Purpose::Checkpoint, Instant::now());
    let meanwhile = async {
        let _asker = tokio::net::UnixStream::connect(&keeper.socket).await.unwrap();
        let heard = calls.recv().await;
        let opened = tokio::task::spawn_blocking(move || fs::read(gate)).await;
        assert_eq!(opened.unwrap().unwrap(), b"\n");
        heard
    };
    let (saved, heard) = tokio::join!(checkpoint, meanwhile);
    assert!(heard.is_some());
    let saved = saved.unwrap();
    assert!(saved.words.starts_with("saved "));
    assert_eq!(saved.ending(), serve::Ending::Whole);
}

#[tokio::test]
async fn a_last_snapshot_that_lacks_commits_of_the_agent_does_not_end_well() {
    let pod = pod();
    pod.write("a", "1");
    fs::write(pod.tree().join(".git/refs/heads/broken"), "1".repeat(40)).unwrap();
    let keeper = Arc::new(pod.keeper(1));
    let last = keeper
        .snapshot("told to stop", Purpose::Last, Instant::now())
        .await;
    let serve::Ending::InPart(lacking) = last.unwrap().ending() else {
        panic!("it lacks a branch")
    };
    assert!(lacking.words().unwrap().contains("broken"), "{lacking:?}");
}

#[test]
fn a_last_snapshot_has_its_time_from_when_it_was_asked_for() {
    let pod = pod();
    let keeper = pod.keeper(1);
    let asked = Instant::now();
    let checkpoint = keeper.deadline(Purpose::Checkpoint, asked) - asked;
    let first = keeper.deadline(Purpose::Asked, asked) - asked;
    let last = keeper.deadline(Purpose::Last, asked) - asked;
    let seconds = [checkpoint, first, last].map(|time| time.as_secs());
    assert_eq!(seconds, [55, 82, 110]);
    let long_ago = asked.checked_sub(Duration::from_mins(3)).unwrap();
    assert!(
        keeper.deadline(Purpose::Last, long_ago) > asked,
        "it is tried all the same"
    );
}
