//! Requests that the proxy and the upstream could understand differently.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn what_could_mean_two_requests_does_not_reach_the_upstream() {
    let trial = Trial::start(
        |_| {},
        |number, _| async move { panic!("call {number} came through") },
    )
    .await;
    let json = body(false).to_string();
    let chunked = format!("{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
    let post =
        |headers: &str, body: &str| format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}");
    let cases = [
        post("content-length: 5\r\ntransfer-encoding: chunked\r\n", &chunked),
        post("transfer-encoding: chunked\r\ncontent-length: 5\r\n", &chunked),
        post("content-length: 5\r\ncontent-length: 6\r\n", &json),
        post(
            "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n",
            "",
        ),
        post("content-length: 99999999999\r\n", ""),
        "CONNECT api.example:443 HTTP/1.1\r\nhost: api.example\r\n\r\n".to_owned(),
        "POST http://evil/v1/messages HTTP/1.1\r\nhost: evil\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    for case in cases {
        let mut stream = TcpStream::connect(trial.address).await.unwrap();
        stream.write_all(case.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer.as_slice(), b"HTTP/1.1 400", "{case:?}");
    }
}

#[tokio::test]
async fn no_trick_with_a_path_a_header_or_a_body_reaches_the_upstream() {
    let trial = Trial::start(
        |_| {},
        |number, request: Request| async move { panic!("call {number} came through: {request:?}") },
    )
    .await;
    let json = body(false).to_string();
    let send = async |head: &str, body: &[u8]| {
        let mut stream = TcpStream::connect(trial.address).await.unwrap();
        let length = body.len();
        let head = format!("{head}\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it has read everything.
        drop(stream.write_all(body).await);
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer[9..].to_vec()).unwrap()
    };
    for path in [
        "/v1/messages/../files",
        "/v1/messages/..%2ffiles",
        "/v1/messages/%2e%2e/files",
        "//v1/messages",
        "/v1//messages",
        "/v1/messages/",
        "/v1/messages%00",
        "/V1/messages",
        "/v1/messages\\..",
        "/v1/messages?beta=true&beta=true",
        "/v1/organizations/api_keys",
        "*",
    ] {
        let status = send(&format!("POST {path} HTTP/1.1"), json.as_bytes()).await;
        assert!(["400", "404"].contains(&status.as_str()), "{path}: {status}");
    }
    for header in [
        "transfer-encoding: chunked",
        "transfer-encoding : chunked",
        "content-encoding: gzip",
        "content-length: 7",
        " folded: x",
        "x\0: y",
    ] {
        let status = send(
            &format!("POST /v1/messages HTTP/1.1\r\n{header}"),
            json.as_bytes(),
        )
        .await;
        assert_eq!(status, "400", "{header:?}");
    }
    let body_with = |more: &str| format!("{{{more},{}", &json[1..]).into_bytes();
    let deep = format!("\"metadata\":{}0{}", "[".repeat(5000), "]".repeat(5000));
    for bytes in [
        body_with(r#""api_base":"http://evil""#),
        body_with(r#""mcp_servers":[{"type":"url","url":"http://evil"}]"#),
        body_with(r#""model":"gpt-5""#),
        body_with(r#""m\u006fdel":"claude-y""#),
        body_with(&deep),
        [json.as_bytes(), json.as_bytes()].concat(),
        [&[0xef, 0xbb, 0xbf], json.as_bytes()].concat(),
    ] {
        let status = send("POST /v1/messages HTTP/1.1", &bytes).await;
        assert_eq!(status, "400", "{:?}", String::from_utf8_lossy(&bytes[..40]));
    }
}
