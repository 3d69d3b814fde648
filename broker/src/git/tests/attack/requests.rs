//! Requests that no git would send.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

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
