//! The way between one operator and the API server, with what may go wrong on it.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::scene::{NAME, PATIENCE};

/// A request of the operator that a test may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Finalizer and labels of a polecat.
    Claim,
    /// A pod.
    CreatePod,
    /// A status of a polecat.
    WriteStatus,
    /// An event.
    Tell,
    /// The finalizer of a pod.
    ReleasePod,
    /// Any other.
    Other,
}

/// What happens to such a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with a conflict, and does not arrive.
    Conflict,
    /// Somebody else changes the polecat just before it arrives.
    Overtaken,
    /// The connection breaks before it arrives.
    LostRequest,
    /// It arrives, and the connection breaks before the answer.
    LostAnswer,
    /// It never arrives, and nothing else does until the gate is opened.
    HeldRequest,
    /// It arrives and is never answered, and nothing else arrives until the gate is opened.
    HeldAnswer,
}

/// How the watches that are open end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// As a connection that is cut.
    Cut,
    /// With the word that their place in history is gone.
    Expired,
}

/// The request of that kind and number, counted from 1, meets the fault.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    pub what: What,
    pub number: usize,
    pub fault: Fault,
}

/// One operator's way.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

struct Shared {
    client: Client,
    trap: Mutex<Option<Trap>>,
    sprung: watch::Sender<bool>,
    /// Everything passes.
    gate: watch::Sender<bool>,
    /// Lists and watches pass.
    view: watch::Sender<bool>,
    closings: watch::Sender<(u64, Closing)>,
    /// The watches that were begun.
    watches: watch::Sender<usize>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Proxy {
    /// Opens a way on which nothing goes wrong, or one thing.
    pub async fn open(client: Client, trap: Option<Trap>) -> Self {
        let shared = Arc::new(Shared {
            client,
            trap: Mutex::new(trap),
            sprung: watch::Sender::new(false),
            gate: watch::Sender::new(true),
            view: watch::Sender::new(true),
            closings: watch::Sender::new((0, Closing::Cut)),
            watches: watch::Sender::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        let taking = shared.clone();
        serving.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, taking.clone()));
            }
        });
        Self {
            shared,
            address,
            _serving: serving,
        }
    }

    /// A client that goes this way.
    pub fn client(&self) -> Client {
        let uri = format!("http://{}", self.address).parse().unwrap();
        Client::try_from(kube::Config::new(uri)).unwrap()
    }

    /// Waits until the trap has sprung.
    pub async fn sprung(&self) {
        let mut sprung = self.shared.sprung.subscribe();
        let sprung = sprung.wait_for(|sprung| *sprung);
        let Ok(sprung) = tokio::time::timeout(PATIENCE, sprung).await else {
            panic!("the operator never came to what it was to fail at");
        };
        sprung.unwrap();
    }

    /// Waits until the operator watches polecats and pods.
    pub async fn watched(&self) {
        let mut watches = self.shared.watches.subscribe();
        watches.wait_for(|count| *count >= 2).await.unwrap();
    }

    /// Lets everything pass that was held, and what comes.
    pub fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    /// Ends every watch, and lets no list and no watch pass until [`Self::show`].
    pub fn blind(&self, closing: Closing) {
        self.shared.view.send_replace(false);
        self.shared
            .closings
            .send_modify(|(count, how)| (*count, *how) = (*count + 1, closing));
    }

    /// Lets lists and watches pass again.
    pub fn show(&self) {
        self.shared.view.send_replace(true);
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Each on its own: the operator may hang up meanwhile, and what is under way arrives all the same.
    let service = service_fn(|request| {
        let handled = tokio::spawn(handle(request, shared.clone()));
        async { handled.await.map_err(io::Error::other)? }
    });
    // Connections are broken on purpose.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An error breaks the connection.
async fn handle(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let is_view = is_view(&request);
    let is_watch = is_view && request.uri().query().is_some_and(|query| query.contains("watch"));
    let what = what(request.method(), &path);
    passes(&shared.gate).await;
    if is_view {
        passes(&shared.view).await;
    }
    let fault = shared.step_on(what);
    match fault {
        Some(Fault::Conflict) => {
            shared.sprung.send_replace(true);
            return Ok(conflict());
        }
        Some(Fault::Overtaken) => shared.overtake(&path).await,
        Some(Fault::LostRequest) => {
            shared.sprung.send_replace(true);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::HeldRequest | Fault::HeldAnswer) => drop(shared.gate.send_replace(false)),
        Some(Fault::LostAnswer) | None => {}
    }
    if fault == Some(Fault::HeldRequest) {
        let (client, mut gate) = (shared.client.clone(), shared.gate.subscribe());
        let whole = whole(request).await?;
        shared.sprung.send_replace(true);
        // It arrives, too, when there is no gate any more.
        drop(shared);
        let _ = gate.wait_for(|open| *open).await;
        let answer = client.send(whole).await.map_err(io::Error::other)?;
        return Ok(answer.map(plain));
    }
    let sent = shared.client.send(whole(request).await?).await;
    let answer = sent.map_err(io::Error::other)?;
    if let Some(fault) = fault {
        shared.sprung.send_replace(true);
        match fault {
            Fault::LostAnswer => return Err(io::ErrorKind::ConnectionReset.into()),
            Fault::HeldAnswer => passes(&shared.gate).await,
            _ => {}
        }
    }
    if is_watch {
        shared.watches.send_modify(|count| *count += 1);
    }
    Ok(if is_view {
        answer.map(|body| until_closed(body, &shared))
    } else {
        answer.map(plain)
    })
}

async fn passes(gate: &watch::Sender<bool>) {
    // The sender is at hand, so there is always an answer.
    let _ = gate.subscribe().wait_for(|open| *open).await;
}

/// Of polecats or pods, and of all of them.
fn is_view(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    request.method() == Method::GET && (path.ends_with("/polecats") || path.ends_with("/pods"))
}

fn what(method: &Method, path: &str) -> What {
    let parts: Vec<_> = path.split('/').skip_while(|part| *part != "namespaces").collect();
    match (method.as_str(), parts.get(2..)) {
        ("POST", Some(["pods"])) => What::CreatePod,
        ("POST", Some(["events"])) => What::Tell,
        ("PATCH", Some(["pods", _])) => What::ReleasePod,
        ("PATCH", Some(["polecats", _])) => What::Claim,
        ("PATCH", Some(["polecats", _, "status"])) => What::WriteStatus,
        _ => What::Other,
    }
}

impl Shared {
    /// The fault that this request meets.
    fn step_on(&self, what: What) -> Option<Fault> {
        let mut trap = self.trap.lock().unwrap();
        let set = trap.as_mut().filter(|trap| trap.what == what)?;
        set.number -= 1;
        if set.number > 0 {
            return None;
        }
        trap.take().map(|trap| trap.fault)
    }

    /// Changes the polecat of the namespace that a request is about.
    async fn overtake(&self, path: &str) {
        let mut parts = path.split('/').skip_while(|part| *part != "namespaces");
        let namespace = parts.nth(1).unwrap();
        let change = json!({"metadata": {"annotations": {"somebody": "was faster"}}});
        let request = Request::patch(format!(
            "/apis/gastown.gastown.io/v1alpha1/namespaces/{namespace}/polecats/{NAME}"
        ))
        .header("content-type", "application/merge-patch+json")
        .body(serde_json::to_vec(&change).unwrap())
        .unwrap();
        let _: serde_json::Value = self.client.request(request).await.unwrap();
    }
}

async fn whole(request: Request<Incoming>) -> io::Result<Request<kube::client::Body>> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut whole = Request::builder().method(parts.method).uri(path);
    for name in ["accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            whole = whole.header(name, value);
        }
    }
    whole
        .body(kube::client::Body::from(bytes))
        .map_err(io::Error::other)
}

fn plain(body: kube::client::Body) -> Body {
    body.map_err(io::Error::other).boxed_unsync()
}

/// The answer to a watch until watches are closed, and then their last word. A list ends before.
fn until_closed(body: kube::client::Body, shared: &Shared) -> Body {
    let frames = Box::pin(BodyStream::new(body.map_err(io::Error::other)));
    let closings = shared.closings.subscribe();
    let frames = stream::unfold(Some((frames, closings)), async |state| {
        let (mut frames, mut closings) = state?;
        tokio::select! {
            frame = frames.next() => Some((frame?, Some((frames, closings)))),
            _ = closings.changed() => {
                let how = closings.borrow().1;
                Some((last_word(how), None))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

fn last_word(closing: Closing) -> io::Result<Frame<Bytes>> {
    match closing {
        Closing::Expired => Ok(Frame::data(Bytes::from(expired()))),
        Closing::Cut => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

fn status(code: StatusCode, reason: &str, message: &str) -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message})
}

/// As the API server says it since Kubernetes 1.13.
fn expired() -> String {
    let object = status(StatusCode::GONE, "Expired", "too old resource version: 1 (2)");
    format!("{}\n", json!({"type": "ERROR", "object": object}))
}

fn conflict() -> Response<Body> {
    let body = status(
        StatusCode::CONFLICT,
        "Conflict",
        "the object has been modified; please apply your changes to the latest version and try again",
    );
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never: Infallible| match never {});
    Response::builder()
        .status(StatusCode::CONFLICT)
        .header("content-type", "application/json")
        .body(body.boxed_unsync())
        .unwrap()
}
