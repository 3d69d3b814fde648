//! HTTP to registries: authentication, redirects, bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use gastown_api::text::chain;
use gastown_crypto::Digest;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Collected, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use serde::Deserialize;

use crate::ask::Ask;
use crate::challenge::Challenge;
use crate::credentials::Credentials;
use crate::location::{Location, is_loopback};
use crate::{MANIFEST, MANIFESTS};

/// What is escaped in a query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':');

/// The longest that one request may take, its answer included.
const REQUEST: Duration = Duration::from_secs(15);
/// How often a request is led elsewhere: registries keep blobs at one other place.
const REDIRECTS: usize = 3;
/// The most bytes of a token service's answer.
const TOKEN: usize = 1 << 20;

/// What is asked for.
pub(crate) struct Get {
    path: String,
    accept: &'static str,
    limit: usize,
    /// Whether a registry may not know what it is asked.
    is_optional: bool,
}

impl Get {
    pub(crate) fn manifest(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            accept: MANIFESTS,
            limit: MANIFEST,
            is_optional: false,
        }
    }

    pub(crate) fn blob(path: String, limit: usize) -> Self {
        Self {
            path,
            accept: "*/*",
            limit,
            is_optional: false,
        }
    }

    pub(crate) fn referrers(digest: &Digest) -> Self {
        Self {
            path: format!("referrers/{digest}"),
            accept: "application/vnd.oci.image.index.v1+json",
            limit: MANIFEST,
            is_optional: true,
        }
    }
}

pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    credentials: Credentials,
    /// Values of `Authorization` by registry and repository.
    shown: Mutex<BTreeMap<(String, String), String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Transport {
    pub(crate) fn new(tls: ClientConfig, credentials: Credentials) -> Self {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(REQUEST));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(direct);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            credentials,
            shown: Mutex::default(),
        }
    }

    /// What is there; none where nothing is.
    pub(crate) async fn get(&self, at: &Location, get: &Get) -> Result<Option<Bytes>, Ask> {
        let asking = tokio::time::timeout(REQUEST, self.get_in_time(at, get));
        asking.await.unwrap_or_else(|_| {
            let seconds = REQUEST.as_secs();
            Err(unreachable(at, format!("no answer within {seconds} s")))
        })
    }

    async fn get_in_time(&self, at: &Location, get: &Get) -> Result<Option<Bytes>, Ask> {
        let key = (at.host().to_owned(), at.path().to_owned());
        let known = self.shown.lock().get(&key).cloned();
        let mut answer = self.send(at, get, &at.url(&get.path), known.as_deref()).await?;
        let mut how = "no credential";
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(authorization) = self.authorization(at, answer.headers()).await?
        {
            answer = self
                .send(at, get, &at.url(&get.path), Some(&authorization))
                .await?;
            self.shown.lock().insert(key, authorization);
        }
        if self.credentials.basic(at.host(), at.path()).is_some() {
            how = "the credential for it";
        }
        for _ in 0..REDIRECTS {
            let Some(to) = redirect(at, &answer)? else { break };
            // Where this leads was not on the list, and gets no credential.
            answer = self.send(at, get, &to, None).await?;
        }
        match answer.status() {
            StatusCode::OK => read(at, get, answer).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(Ask::Refused {
                host: at.host().to_owned(),
                status: status.as_u16(),
                how,
            }),
            // How registries without the API answer.
            status
                if get.is_optional && status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS =>
            {
                Ok(None)
            }
            status => Err(unreachable(at, format!("it answers {status}"))),
        }
    }

    async fn send(
        &self,
        at: &Location,
        get: &Get,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, Ask> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(url)
            .header(header::ACCEPT, get.accept)
            .header(header::USER_AGENT, concat!("gastown/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| unreachable(at, error.to_string()))?;
        let answer = self.client.request(request).await;
        answer.map_err(|error| unreachable(at, chain(&error)))
    }

    /// The value of `Authorization` that the registry wants to see; none where there is nothing to show.
    async fn authorization(&self, at: &Location, headers: &HeaderMap) -> Result<Option<String>, Ask> {
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| value.to_str().ok())
            .find_map(Challenge::read);
        let basic = self
            .credentials
            .basic(at.host(), at.path())
            .map(|pair| format!("Basic {pair}"));
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(basic),
            Some(Challenge::Bearer { realm, service }) => {
                let url = token_url(at, &realm, service.as_deref())?;
                let get = Get::blob(String::new(), TOKEN);
                let answer = self.send(at, &get, &url, basic.as_deref()).await?;
                if answer.status() != StatusCode::OK {
                    return Err(Ask::Refused {
                        host: at.host().to_owned(),
                        status: answer.status().as_u16(),
                        how: if basic.is_some() {
                            "the credential for it"
                        } else {
                            "no credential"
                        },
                    });
                }
                let body = read(at, &get, answer).await?;
                let token: Option<Token> = serde_json::from_slice(&body).ok();
                let token = token.and_then(|token| token.token.or(token.access_token));
                let token = token.ok_or_else(|| unreachable(at, format!("{realm:?} gives no token")))?;
                Ok(Some(format!("Bearer {token}")))
            }
        }
    }
}

/// The token service may be elsewhere; it is the registry that names it. Over plain HTTP only on this machine.
fn token_url(at: &Location, realm: &str, service: Option<&str>) -> Result<String, Ask> {
    let uri: Option<Uri> = realm.parse().ok();
    if !uri.is_some_and(|uri| may_be_asked(at, &uri)) {
        return Err(unreachable(
            at,
            format!("its token service {realm:?} is no https URL"),
        ));
    }
    let and = if realm.contains('?') { '&' } else { '?' };
    let scope = utf8_percent_encode(&format!("repository:{}:pull", at.path()), IN_QUERY).to_string();
    let service = service.map_or_else(String::new, |service| {
        format!("&service={}", utf8_percent_encode(service, IN_QUERY))
    });
    Ok(format!("{realm}{and}scope={scope}{service}"))
}

/// Where a redirect leads; none where the answer is none.
fn redirect(at: &Location, answer: &Response<Incoming>) -> Result<Option<String>, Ask> {
    let is_redirect = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    if !is_redirect {
        return Ok(None);
    }
    let to = answer
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let to = to.unwrap_or_default();
    if to.starts_with('/') && !to.starts_with("//") {
        let url = at.url("");
        let (origin, _) = url.split_once("/v2/").unwrap_or((&url, ""));
        return Ok(Some(format!("{origin}{to}")));
    }
    let uri: Option<Uri> = to.parse().ok();
    if uri.is_some_and(|uri| may_be_asked(at, &uri)) {
        Ok(Some(to.to_owned()))
    } else {
        Err(unreachable(at, "it leads to what is no https URL".to_owned()))
    }
}

/// Over TLS, without a user; a registry on this machine may name another service there.
fn may_be_asked(at: &Location, uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else {
        return false;
    };
    let plain = uri.scheme_str() == Some("http") && is_loopback(at.host()) && is_loopback(authority.as_str());
    !authority.as_str().contains('@') && (plain || uri.scheme_str() == Some("https"))
}

async fn read(at: &Location, get: &Get, answer: Response<Incoming>) -> Result<Bytes, Ask> {
    let body = Limited::new(answer.into_body(), get.limit).collect().await;
    body.map(Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            Ask::TooLarge {
                host: at.host().to_owned(),
                what: get.path.clone(),
                limit: get.limit,
            }
        } else {
            unreachable(at, error.to_string())
        }
    })
}

fn unreachable(at: &Location, why: String) -> Ask {
    Ask::Unreachable {
        host: at.host().to_owned(),
        why,
    }
}
