//! A registry for tests: manifests and blobs in memory, over plain HTTP, with or without the referrers API.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::layout::{INDEX, MANIFEST, digest};

/// What it holds.
#[derive(Default)]
pub struct Stored {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// By tag and by digest.
    pub manifests: BTreeMap<String, Vec<u8>>,
    lists_referrers: bool,
}

/// Starts one, and returns its host and what it holds.
pub fn start(lists_referrers: bool) -> (String, Arc<Mutex<Stored>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let stored = Arc::new(Mutex::new(Stored {
        lists_referrers,
        ..Stored::default()
    }));
    let shared = Arc::clone(&stored);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(stream.unwrap(), &shared));
        }
    });
    (host, stored)
}

fn serve(mut stream: TcpStream, stored: &Mutex<Stored>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let length = head
            .iter()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let mut words = head[0].split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (status, headers, answer) = answer(method, path, &body, &mut stored.lock().unwrap());
        let sent = if method == "HEAD" { &[][..] } else { &answer };
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n",
            answer.len()
        )
        .unwrap();
        stream.write_all(sent).unwrap();
    }
}

/// Status, headers and body.
fn answer(method: &str, path: &str, body: &[u8], stored: &mut Stored) -> (u16, String, Vec<u8>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let last = path.rsplit('/').next().unwrap_or_default();
    let location = |to: &str| format!("Location: {to}\r\n");
    match method {
        "GET" if path == "/v2/" => (200, String::new(), Vec::new()),
        "GET" | "HEAD" if path.contains("/blobs/") => {
            found(stored.blobs.get(last), "application/octet-stream")
        }
        "POST" => (202, location("/v2/x/blobs/uploads/1"), Vec::new()),
        "PATCH" => {
            stored.blobs.entry("upload".to_owned()).or_default().extend(body);
            (
                202,
                format!("{}Range: 0-1\r\n", location("/v2/x/blobs/uploads/1")),
                Vec::new(),
            )
        }
        "PUT" if path.contains("/blobs/") => {
            let mut bytes = stored.blobs.remove("upload").unwrap_or_default();
            bytes.extend(body);
            let wanted = query
                .rsplit("digest=")
                .next()
                .unwrap_or_default()
                .replace("%3A", ":");
            assert_eq!(digest(&bytes), wanted);
            stored.blobs.insert(wanted.clone(), bytes);
            // As go-containerregistry's does, which does not say where the blob is.
            (201, String::new(), Vec::new())
        }
        "PUT" => {
            stored.manifests.insert(last.to_owned(), body.to_vec());
            stored.manifests.insert(digest(body), body.to_vec());
            (201, String::new(), Vec::new())
        }
        "GET" if path.contains("/referrers/") && stored.lists_referrers => {
            let listed = referrers(stored, last).to_string().into_bytes();
            found(Some(&listed), INDEX)
        }
        "GET" if path.contains("/manifests/") => {
            let manifest = stored.manifests.get(last);
            let value: Option<Value> = manifest.and_then(|bytes| serde_json::from_slice(bytes).ok());
            let kind = value.and_then(|value| value["mediaType"].as_str().map(str::to_owned));
            found(manifest, kind.as_deref().unwrap_or(MANIFEST))
        }
        _ => (404, String::new(), b"{}".to_vec()),
    }
}

fn found(content: Option<&Vec<u8>>, kind: &str) -> (u16, String, Vec<u8>) {
    match content {
        Some(content) => (200, format!("Content-Type: {kind}\r\n"), content.clone()),
        None => (404, String::new(), b"{}".to_vec()),
    }
}

fn referrers(stored: &Stored, subject: &str) -> Value {
    let refers = |(name, bytes): (&String, &Vec<u8>)| {
        let manifest: Value = serde_json::from_slice(bytes).ok()?;
        (name.starts_with("sha256:") && manifest["subject"]["digest"] == subject).then(|| {
            json!({
                "mediaType": MANIFEST, "digest": name, "size": bytes.len(),
                "artifactType": manifest["artifactType"], "annotations": manifest["annotations"],
            })
        })
    };
    let manifests: Vec<_> = stored.manifests.iter().filter_map(refers).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}
