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
            match serve::ask(&socket, Duration::from_secs(20)) {
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
    use axum::routing::get;
    let pod = pod();
    let turns = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let said = Arc::clone(&turns);
    let count = move || async move { said.load(std::sync::atomic::Ordering::Relaxed).to_string() };
    let router = axum::Router::new().route(crate::loopback::TURNS, get(count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let keeper = Arc::new(pod.keeper(port));
    let mut watch = serve::Watch::starting(&keeper.order.limits);
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
