//! A registry for tests: what it holds is in memory, what it was asked is noted. It speaks plain HTTP on this machine.
//! `tests/` compiles this file too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A registry.
pub struct Fake {
    /// `127.0.0.1:PORT`
    pub host: String,
    /// What it holds, and how it answers.
    pub held: Arc<Mutex<Held>>,
}

/// What a registry holds, and how it answers.
#[derive(Default)]
pub struct Held {
    /// By tag and by digest.
    pub manifests: BTreeMap<String, Vec<u8>>,
    /// By digest.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Whether it has the referrers API.
    pub lists_referrers: bool,
    /// The type of everything that the API lists, in place of its own.
    pub lists_as: Option<&'static str>,
    /// A status that answers everything.
    pub fails: Option<u16>,
    /// `Authorization` that it wants to see, and the challenge that it answers without it.
    pub wants: Option<(String, String)>,
    /// Where blobs are, instead of here.
    pub blobs_at: Option<String>,
    /// The token service's answer, to this `Authorization` (empty: to none).
    pub token: Option<(String, String)>,
    /// Path and `Authorization` of each request.
    pub asked: Vec<(String, String)>,
}

impl Fake {
    /// One that holds nothing.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let held = Arc::new(Mutex::new(Held::default()));
        let shared = held.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { host, held }
    }

    /// One that holds what cosign signed (`signatures/vectors`), and the digests of its images.
    pub fn with_vectors() -> (Self, BTreeMap<String, String>) {
        let fake = Self::start();
        let vectors: Value =
            serde_json::from_str(include_str!("../../signatures/vectors/cosign-3.1.3.json")).unwrap();
        let texts = |part: &str| {
            let texts: BTreeMap<String, String> = serde_json::from_value(vectors[part].clone()).unwrap();
            texts
        };
        let bytes = |part: &str| {
            texts(part)
                .into_iter()
                .map(|(name, text)| (name, text.into_bytes()))
                .collect()
        };
        {
            let mut held = fake.held.lock().unwrap();
            held.manifests = bytes("manifests");
            held.blobs = bytes("blobs");
        }
        (fake, texts("images"))
    }

    /// Paths that it was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.held.lock().unwrap().asked);
        asked.into_iter().map(|(path, _)| path).collect()
    }
}

fn serve(stream: &TcpStream, held: &Mutex<Held>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut authorization) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim() {
                "" => break,
                line if first.is_empty() => line.clone_into(&mut first),
                line => {
                    let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                    if name.eq_ignore_ascii_case("authorization") {
                        value.clone_into(&mut authorization);
                    }
                }
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, header, body) = {
            let mut held = held.lock().unwrap();
            held.asked.push((path.clone(), authorization.clone()));
            held.answer(&path, &authorization)
        };
        let mut answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        if !header.is_empty() {
            write!(answer, "{header}\r\n").unwrap();
        }
        let mut stream = stream;
        if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() || stream.write_all(&body).is_err() {
            return;
        }
    }
}

impl Held {
    fn answer(&self, path: &str, authorization: &str) -> (u16, String, Vec<u8>) {
        let nothing = |status| (status, String::new(), Vec::new());
        if let Some(status) = self.fails {
            return nothing(status);
        }
        if let (true, Some((wanted, token))) = (path.starts_with("/token"), &self.token) {
            return if wanted == authorization {
                (200, String::new(), token.clone().into_bytes())
            } else {
                nothing(401)
            };
        }
        if let Some((wanted, challenge)) = &self.wants
            && wanted != authorization
        {
            return (401, format!("WWW-Authenticate: {challenge}"), Vec::new());
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        let found = match path {
            path if path.contains("/manifests/") => self.manifests.get(last).cloned(),
            path if path.contains("/blobs/") => match &self.blobs_at {
                Some(elsewhere) => return (307, format!("Location: {elsewhere}{path}"), Vec::new()),
                None => self.blobs.get(last).cloned(),
            },
            path if path.contains("/referrers/") && self.lists_referrers => Some(self.referrers(last)),
            _ => None,
        };
        found.map_or_else(|| nothing(404), |body| (200, String::new(), body))
    }

    fn referrers(&self, subject: &str) -> Vec<u8> {
        let refers = |(name, bytes): (&String, &Vec<u8>)| {
            let manifest: Value = serde_json::from_slice(bytes).ok()?;
            (name.starts_with("sha256:") && manifest["subject"]["digest"] == subject).then(|| {
                json!({
                    "mediaType": manifest["mediaType"], "digest": name, "size": bytes.len(),
                    "artifactType": self.lists_as.map_or_else(|| manifest["artifactType"].clone(), Value::from),
                    "annotations": manifest["annotations"],
                })
            })
        };
        let manifests: Vec<_> = self.manifests.iter().filter_map(refers).collect();
        json!({"schemaVersion": 2, "manifests": manifests})
            .to_string()
            .into_bytes()
    }
}
