//! Lists of many pages, from a server that holds the next one back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::transcript::Transcript;

/// Reads one request, and gives its first line.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

fn answer(stream: &mut TcpStream, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
}

fn page(name: &str, next: &str) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"continue": next},
        "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Phase", "priority": 0}],
        "rows": [{"cells": [name, "Done"]}],
    })
}

#[test]
fn the_first_row_is_printed_before_the_last_page_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let t = Transcript::new("unused");
    let mut child = t.start(
        &format!("polecat list -n town --server http://{address}"),
        Stdio::piped(),
    );
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines() {
            tell.send(line.unwrap()).unwrap();
        }
    });
    let row = || told.recv_timeout(Duration::from_mins(1)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert!(request(&mut stream).contains("limit=500"));
    answer(&mut stream, &page("furiosa", "next"));
    assert!(row().starts_with("NAME"));
    assert!(row().starts_with("furiosa"));
    assert!(request(&mut stream).contains("continue=next"));
    answer(&mut stream, &page("nux", ""));
    assert!(row().starts_with("nux"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
