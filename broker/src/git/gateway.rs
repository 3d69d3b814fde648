//! Between git and an HTTP(S) upstream: git speaks plain HTTP to this loopback listener, which speaks TLS to the one
//! host of the work order and adds the credential. So the credential never enters git, its configuration, a URL or an
//! argument, and the TLS is the edition's own.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use gastown_api::repository::{RepositoryUrl, Transport};
use gastown_api::text::chain;
use gastown_api::work_order::ProxyOrder;
use gastown_crypto::{Digest, sha256};
use http::header::{AUTHORIZATION, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::classify::GatewayFailure;
use super::secret::{Credential, GitSecret};
use crate::egress::{Egress, Tunnelled};
use crate::serve::serve;
use crate::tls;
use polecat_common::limits::HOST_ANSWER;

/// The header by which git proves to the gateway that the broker started it: the agent shares the network, and must
/// not borrow the credential.
const GATE: HeaderName = HeaderName::from_static("x-gastown-gate");

/// git needs two; strangers are answered 403, and must neither fill the memory nor take all places.
const CONNECTIONS: usize = 128;

/// What of git's request reaches the upstream; HTTP's own framing is made anew.
const REQUEST_HEADERS: [&str; 5] = [
    "accept",
    "content-encoding",
    "content-type",
    "git-protocol",
    "user-agent",
];

/// What of the upstream's answer reaches git.
const RESPONSE_HEADERS: [&str; 4] = ["cache-control", "content-encoding", "content-type", "retry-after"];

/// Why the gateway cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenGateway {
    /// No loopback port.
    #[error("failed to listen on loopback for git")]
    Listen(#[source] std::io::Error),
    /// No randomness for the gate.
    #[error("failed to read random bytes from \"/dev/urandom\"")]
    ReadRandom(#[source] std::io::Error),
    /// The certificates or the provider cannot be used.
    #[error("failed to prepare TLS with the git secret")]
    PrepareTls(#[from] tls::OpenClient),
    /// The user name or password cannot stand in a header.
    #[error("failed to make a header of the git secret's username and password")]
    MakeHeader,
}

/// A gateway to one repository. Nothing passes it but while it is [`Armed`].
pub struct Gateway {
    address: SocketAddr,
    gate: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// `https://host:port`, without a path.
    origin: String,
    /// The repository's path, with a leading and without a trailing slash.
    path: String,
    gate: Digest,
    operation: Mutex<Option<Arc<Operation>>>,
}

/// One operation of git: what it may use, and what went wrong. A request that outlives its operation finds its own, not
/// the next one's.
struct Operation {
    client: tls::Outbound<Body>,
    authorization: Option<HeaderValue>,
    failure: Mutex<Option<GatewayFailure>>,
}

/// Lets one operation pass the gateway until it is dropped, however the operation ends.
#[must_use]
pub struct Armed<'a> {
    gateway: &'a Gateway,
    operation: Arc<Operation>,
}

impl Gateway {
    /// Listens on a loopback port of the system's choice; nothing passes but by [`Self::arm`].
    pub async fn open(url: &RepositoryUrl) -> Result<Self, OpenGateway> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(OpenGateway::Listen)?;
        let address = listener.local_addr().map_err(OpenGateway::Listen)?;
        let gate = random_hex()?;
        let (origin, path) = split(url);
        let shared = Arc::new(Shared {
            origin,
            path,
            gate: sha256(gate.as_bytes()),
            operation: Mutex::new(None),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        tokio::spawn(serve(listener, router, CONNECTIONS));
        Ok(Self {
            address,
            gate,
            shared,
        })
    }

    /// Lets one operation pass with what `secret` holds, trusting the system's roots (`system`, PEM) too.
    pub fn arm(
        &mut self,
        secret: &GitSecret,
        system: &[u8],
        proxy: Option<&ProxyOrder>,
    ) -> Result<Armed<'_>, OpenGateway> {
        let egress = Egress::new(proxy, secret.proxy.as_deref()).map_err(tls::OpenClient::from)?;
        let operation = Arc::new(Operation {
            client: tls::client(tls::roots(system, secret.roots.as_deref())?, egress)?,
            authorization: authorization(&secret.credential)?,
            failure: Mutex::new(None),
        });
        *self.shared.operation.lock() = Some(Arc::clone(&operation));
        Ok(Armed {
            gateway: self,
            operation,
        })
    }

    /// Whether something may pass.
    #[cfg(test)]
    pub fn is_armed(&self) -> bool {
        self.shared.operation.lock().is_some()
    }
}

impl Armed<'_> {
    /// The URL that git is given.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.gateway.address, self.gateway.shared.path)
    }

    /// The header line that git must send.
    pub fn header(&self) -> String {
        format!("{GATE}: {}", self.gateway.gate)
    }

    /// Lets nothing pass any more, and tells what went wrong.
    pub fn disarm(self) -> Option<GatewayFailure> {
        self.operation.failure.lock().take()
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        *self.gateway.shared.operation.lock() = None;
    }
}

fn random_hex() -> Result<String, OpenGateway> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(OpenGateway::ReadRandom)?;
    Ok(sha256(&bytes).hex())
}

/// Origin and path of an HTTP(S) URL.
fn split(url: &RepositoryUrl) -> (String, String) {
    let scheme = if url.transport() == Transport::Http {
        "http"
    } else {
        "https"
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    (
        format!("{scheme}://{}{port}", url.host()),
        format!("/{}", path.trim_matches('/')),
    )
}

fn authorization(credential: &Credential) -> Result<Option<HeaderValue>, OpenGateway> {
    let Credential::Basic { username, password } = credential else {
        return Ok(None);
    };
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| OpenGateway::MakeHeader)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The four calls of git's smart protocol, and nothing else.
fn is_git(method: &Method, repository: &str, uri: &Uri) -> bool {
    let Some(rest) = uri.path().strip_prefix(repository) else {
        return false;
    };
    match *method {
        Method::GET => {
            let services = ["service=git-upload-pack", "service=git-receive-pack"];
            rest == "/info/refs" && uri.query().is_some_and(|query| services.contains(&query))
        }
        Method::POST => ["/git-upload-pack", "/git-receive-pack"].contains(&rest) && uri.query().is_none(),
        _ => false,
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    // Digests are compared, so that the time it takes tells nothing of the gate.
    let shown = request.headers().get(GATE).map(|value| sha256(value.as_bytes()));
    if shown != Some(shared.gate) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let operation = shared.operation.lock().clone();
    let Some(operation) = operation.filter(|_| is_git(request.method(), &shared.path, request.uri())) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match forward(&shared, &operation, request).await {
        Ok(response) => response,
        Err(failure) => {
            let answer = match failure {
                // git would ask for a password on 401.
                GatewayFailure::Status(401) => StatusCode::FORBIDDEN,
                GatewayFailure::Status(status) => {
                    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
                }
                GatewayFailure::Redirect(_)
                | GatewayFailure::Unreachable(_)
                | GatewayFailure::Certificate(_)
                | GatewayFailure::Proxy(_) => StatusCode::BAD_GATEWAY,
            };
            operation.failure.lock().get_or_insert(failure);
            answer.into_response()
        }
    }
}

async fn forward(
    shared: &Shared,
    operation: &Operation,
    request: Request,
) -> Result<Response, GatewayFailure> {
    let unreachable = |why: String| GatewayFailure::Unreachable(why);
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let mut upstream = http::Request::new(body);
    *upstream.method_mut() = head.method;
    *upstream.uri_mut() = format!("{}{path}", shared.origin)
        .parse()
        .map_err(|_| unreachable("its URL cannot be written".to_owned()))?;
    *upstream.headers_mut() = only(&head.headers, &REQUEST_HEADERS);
    upstream.headers_mut().remove(HOST);
    if let Some(authorization) = &operation.authorization {
        upstream
            .headers_mut()
            .insert(AUTHORIZATION, authorization.clone());
    }
    let answer = tokio::time::timeout(HOST_ANSWER, operation.client.request(upstream))
        .await
        .map_err(|_| unreachable(format!("it did not answer within {} s", HOST_ANSWER.as_secs())))?
        .map_err(|error| cause(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        let to = answer
            .headers()
            .get(LOCATION)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let mut to = to.escape_ascii().to_string();
        // What follows is the protocol's, not the user's.
        if let Some(end) = to.find("/info/refs") {
            to.truncate(end);
        }
        gastown_api::evidence::truncate(&mut to, 200);
        return Err(GatewayFailure::Redirect(to));
    }
    if status != StatusCode::OK {
        return Err(GatewayFailure::Status(status.as_u16()));
    }
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.headers_mut() = only(&head.headers, &RESPONSE_HEADERS);
    Ok(response)
}

/// By the types of the errors: their texts are for people.
fn cause(error: &(dyn Error + 'static)) -> GatewayFailure {
    let words = chain(error);
    if tls::find::<Tunnelled>(error).is_some() {
        GatewayFailure::Proxy(words)
    } else if let Some(flaw) = tls::certificate_flaw(error) {
        GatewayFailure::Certificate(flaw)
    } else {
        GatewayFailure::Unreachable(words)
    }
}

fn only(headers: &HeaderMap, names: &[&'static str]) -> HeaderMap {
    let pairs = names.iter().filter_map(|name| {
        let value = headers.get(*name)?;
        Some((HeaderName::from_static(name), value.clone()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;

    #[test]
    fn only_the_four_calls_of_the_protocol_pass() {
        let passes = |method: Method, uri: &str| is_git(&method, "/o/r.git", &uri.parse().unwrap());
        assert!(passes(Method::GET, "/o/r.git/info/refs?service=git-upload-pack"));
        assert!(passes(Method::POST, "/o/r.git/git-receive-pack"));
        for (method, uri) in [
            (Method::GET, "/o/r.git/info/refs"),
            (Method::GET, "/o/r.git/info/refs?service=git-upload-archive"),
            (Method::GET, "/o/r.git/info/refs?service=git-upload-pack&x=1"),
            (Method::GET, "/o/r.git/HEAD"),
            (Method::GET, "/o/other.git/info/refs?service=git-upload-pack"),
            (
                Method::GET,
                "/o/r.git/../other.git/info/refs?service=git-upload-pack",
            ),
            (Method::POST, "/o/r.git/git-receive-pack?x"),
            (Method::DELETE, "/o/r.git"),
            (Method::CONNECT, "/o/r.git/git-receive-pack"),
        ] {
            assert!(!passes(method.clone(), uri), "{method} {uri}");
        }
    }

    #[test]
    fn origin_and_path_are_the_work_orders() {
        let parts = |text: &str| split(&text.parse().unwrap());
        let expect = |origin: &str, path: &str| (origin.to_owned(), path.to_owned());
        assert_eq!(
            parts("https://H.example/o/r.git/"),
            expect("https://h.example", "/o/r.git")
        );
        assert_eq!(parts("http://h:3000/r"), expect("http://h:3000", "/r"));
    }

    #[tokio::test]
    async fn a_stranger_passes_neither_without_the_gate_nor_outside_of_an_operation() {
        drop(gastown_crypto::install());
        let url: RepositoryUrl = "http://127.0.0.1:1/r".parse().unwrap();
        let mut gateway = Gateway::open(&url).await.unwrap();
        let (address, gate) = (gateway.address, gateway.gate.clone());
        let ask = |gate: Option<String>| {
            let uri = format!("http://{address}/r/info/refs?service=git-upload-pack");
            let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
            let mut request = http::Request::get(uri);
            if let Some(gate) = gate {
                request = request.header(GATE, gate);
            }
            async move {
                client
                    .request(request.body(Body::empty()).unwrap())
                    .await
                    .unwrap()
                    .status()
            }
        };
        assert_eq!(ask(None).await, StatusCode::FORBIDDEN);
        assert_eq!(ask(Some("guess".to_owned())).await, StatusCode::FORBIDDEN);
        assert_eq!(ask(Some(gate.clone())).await, StatusCode::NOT_FOUND);
        let secret = GitSecret {
            credential: Credential::Nothing,
            known_hosts: None,
            roots: None,
            hosts: Vec::new(),
            proxy: None,
        };
        let armed = gateway.arm(&secret, b"", None).unwrap();
        assert_eq!(ask(None).await, StatusCode::FORBIDDEN);
        assert_eq!(
            ask(Some(gate.clone())).await,
            StatusCode::BAD_GATEWAY,
            "it is forwarded"
        );
        assert!(matches!(armed.disarm(), Some(GatewayFailure::Unreachable(_))));
        assert_eq!(ask(Some(gate.clone())).await, StatusCode::NOT_FOUND);
        let armed = gateway.arm(&secret, b"", None).unwrap();
        drop(armed);
        assert_eq!(ask(Some(gate)).await, StatusCode::NOT_FOUND, "nobody disarmed it");
    }
}
