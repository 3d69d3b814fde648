//! A remote of plain git: `http-backend` behind HTTP or HTTPS, with or without a password.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::super::cgi;
use super::super::inbound::Inbound;
use super::git;
use crate::serve::serve;

pub struct Remote {
    _dir: tempfile::TempDir,
    /// The bare repository.
    pub repo: PathBuf,
    /// For the manifest.
    pub url: String,
    /// What a client must trust, as PEM.
    pub ca: String,
    calls: Arc<AtomicUsize>,
    authorized: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Server {
    root: PathBuf,
    /// The value of `Authorization` that is wanted.
    password: Option<&'static str>,
    calls: Arc<AtomicUsize>,
    authorized: Arc<AtomicUsize>,
}

impl Remote {
    pub async fn http() -> Self {
        Self::new(false, None).await
    }

    /// `Basic dTpw` is user `u` with password `p`.
    pub async fn https() -> Self {
        Self::new(true, Some("Basic dTpw")).await
    }

    /// With that certificate, issued by itself.
    pub async fn https_as(certificate: rcgen::CertificateParams) -> Self {
        Self::with(Some(certificate), Some("Basic dTpw")).await
    }

    async fn new(tls: bool, password: Option<&'static str>) -> Self {
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        Self::with(tls.then_some(certificate), password).await
    }

    async fn with(tls: Option<rcgen::CertificateParams>, password: Option<&'static str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("up.git");
        make(dir.path(), &repo).await;
        let (calls, authorized) = (Arc::default(), Arc::default());
        let server = Server {
            root: dir.path().to_owned(),
            password,
            calls: Arc::clone(&calls),
            authorized: Arc::clone(&authorized),
        };
        let router = Router::new().fallback(answer).with_state(server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (scheme, ca) = if let Some(certificate) = tls {
            ("https", serve_tls(listener, router, &certificate))
        } else {
            tokio::spawn(serve(listener, router, 64));
            ("http", String::new())
        };
        Self {
            _dir: dir,
            repo,
            url: format!("{scheme}://localhost:{}/up.git", address.port()),
            ca,
            calls,
            authorized,
        }
    }

    /// The clone that the first commits were made in.
    pub fn seed(&self) -> PathBuf {
        self.repo.with_file_name("seed")
    }

    /// Another hand pushes what the seed is at to this ref.
    pub async fn push_seed(&self, name: &str) {
        let (upstream, target) = (self.repo.to_str().unwrap(), format!("HEAD:{name}"));
        let push = ["push", "-q", upstream, &target];
        git(&self.seed(), &push).await.unwrap();
    }

    /// How many calls came so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many of them carried a credential.
    pub fn authorized(&self) -> usize {
        self.authorized.load(Ordering::SeqCst)
    }

    pub fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.repo.join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A bare repository with `main` (a workflow, a source file, two commits) and a branch nobody asked for.
pub async fn make(dir: &Path, repo: &Path) {
    let name = repo.to_str().unwrap();
    git(dir, &["init", "-q", "--bare", "-b", "main", name])
        .await
        .unwrap();
    git(repo, &["config", "http.receivepack", "true"]).await.unwrap();
    git(repo, &["config", "receive.advertisePushOptions", "true"])
        .await
        .unwrap();
    let seed = dir.join("seed");
    git(dir, &["init", "-q", "-b", "main", "seed"]).await.unwrap();
    super::commit(&seed, ".github/workflows/ci.yml", "on: push\n").await;
    super::commit(&seed, "src/a.txt", "a\n").await;
    git(&seed, &["push", "-q", name, "main", "main:other"])
        .await
        .unwrap();
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    server.calls.fetch_add(1, Ordering::SeqCst);
    let command = match classify(&server, &request) {
        Ok(command) => command,
        Err(response) => return response,
    };
    let inbound = Inbound::new(request, u64::MAX).unwrap();
    let answer = cgi::run(command, inbound).await.unwrap();
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let mut response = Response::new(Body::from_stream(cgi::stream(answer.body, permit)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// The program that answers, or the answer of a server that asks for a password.
#[expect(clippy::result_large_err, reason = "made once a call, in a test")]
fn classify(server: &Server, request: &Request) -> Result<tokio::process::Command, Response> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_some() {
        server.authorized.fetch_add(1, Ordering::SeqCst);
    }
    let path = request.uri().path();
    if path.starts_with("/moved.git") {
        let to = [(header::LOCATION, path.replace("moved", "up"))];
        return Err((StatusCode::MOVED_PERMANENTLY, to).into_response());
    }
    if server
        .password
        .is_some_and(|wanted| authorization.is_none_or(|shown| shown != wanted))
    {
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return Err((StatusCode::UNAUTHORIZED, ask).into_response());
    }
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    command.env("GIT_PROJECT_ROOT", &server.root).envs([
        ("GIT_HTTP_EXPORT_ALL", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("REQUEST_METHOD", request.method().as_str()),
        ("QUERY_STRING", request.uri().query().unwrap_or_default()),
        ("PATH_INFO", path),
    ]);
    let text = |name: &str| {
        request
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    };
    command.env("CONTENT_TYPE", text("content-type"));
    command.env("GIT_PROTOCOL", text("git-protocol"));
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

/// Serves over TLS with a certificate of its own, which it returns.
fn serve_tls(listener: TcpListener, router: Router, certificate: &rcgen::CertificateParams) -> String {
    // Another test may have been faster.
    drop(gastown_crypto::install());
    let signing = rcgen::KeyPair::generate().unwrap();
    let own = certificate.self_signed(&signing).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                // A client that does not trust the certificate breaks off here.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let http = hyper::server::conn::http1::Builder::new();
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                }
            });
        }
    });
    own.pem()
}
