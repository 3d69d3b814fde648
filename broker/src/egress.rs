//! Connections out of the pod: to the host itself, or through the cluster's proxy. The proxy sees names and sizes; TLS is
//! with the host behind it.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use gastown_api::work_order::ProxyOrder;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// The longest a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest a proxy may take to connect on.
const TUNNEL: Duration = Duration::from_secs(30);

type Connecting =
    Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, Box<dyn Error + Send + Sync>>> + Send>>;

/// The proxy cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum OpenProxy {
    /// Its URL.
    #[error("failed to read the proxy {url:?}; write http://HOST:PORT")]
    ReadUrl {
        /// What the work order says.
        url: String,
    },
    /// The credential cannot stand in a header.
    #[error("failed to make a header of the secret's key proxy; write USER:PASSWORD")]
    MakeHeader,
}

/// The proxy did not connect on.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy:?} did not connect to {host:?}")]
pub struct Tunnelled {
    proxy: String,
    host: String,
    source: Box<dyn Error + Send + Sync>,
}

/// Connects.
#[derive(Clone, Debug)]
pub struct Egress {
    direct: HttpConnector,
    proxy: Option<Arc<Proxy>>,
}

#[derive(Debug)]
struct Proxy {
    url: String,
    tunnel: Tunnel<HttpConnector>,
    except: Vec<String>,
}

impl Egress {
    /// Through `proxy`, if there is one, with `credential`, `USER:PASSWORD`, if it wants one.
    pub fn new(proxy: Option<&ProxyOrder>, credential: Option<&str>) -> Result<Self, OpenProxy> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(CONNECT));
        direct.set_nodelay(true);
        let proxy = proxy.map(|order| Proxy::new(order, credential, direct.clone()));
        let proxy = proxy.transpose()?.map(Arc::new);
        Ok(Self { direct, proxy })
    }
}

impl Proxy {
    fn new(order: &ProxyOrder, credential: Option<&str>, direct: HttpConnector) -> Result<Self, OpenProxy> {
        let url = order.url.clone();
        let uri: Option<Uri> = url.parse().ok();
        let uri = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.port().is_some());
        let mut tunnel = Tunnel::new(
            uri.ok_or_else(|| OpenProxy::ReadUrl { url: url.clone() })?,
            direct,
        );
        if let Some(credential) = credential {
            let pair = base64::engine::general_purpose::STANDARD.encode(credential);
            let value = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| OpenProxy::MakeHeader)?;
            tunnel = tunnel.with_auth(value);
        }
        let except = order
            .except
            .iter()
            .map(|host| host.trim_start_matches('.').to_ascii_lowercase());
        Ok(Self {
            url,
            tunnel,
            except: except.collect(),
        })
    }

    /// Plain HTTP would have to be asked for in another form; it is for hosts within the cluster.
    fn serves(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let spared = |name: &String| {
            let subdomain = host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.ends_with('.'));
            name == "*" || *name == host || subdomain
        };
        uri.scheme_str() == Some("https") && !self.except.iter().any(spared)
    }
}

impl Service<Uri> for Egress {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let proxy = self.proxy.clone().filter(|proxy| proxy.serves(&uri));
        let Some(proxy) = proxy else {
            let connecting = self.direct.call(uri);
            return Box::pin(async move { Ok(connecting.await?) });
        };
        let connecting = proxy.tunnel.clone().call(uri.clone());
        Box::pin(async move {
            let tunnel = tokio::time::timeout(TUNNEL, connecting).await;
            let tunnel = tunnel
                .map_err(Into::into)
                .and_then(|tunnel| tunnel.map_err(Into::into));
            tunnel.map_err(|source| {
                let (proxy, host) = (proxy.url.clone(), uri.host().unwrap_or_default().to_owned());
                Tunnelled { proxy, host, source }.into()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_through_the_proxy_but_to_the_hosts_that_are_excepted() {
        let order = ProxyOrder {
            url: "http://proxy.example:3128".to_owned(),
            except: vec![
                "cluster.local".to_owned(),
                ".Internal.example".to_owned(),
                "10.0.0.1".to_owned(),
            ],
        };
        let proxy = Proxy::new(&order, Some("u:p"), HttpConnector::new()).unwrap();
        let serves = |uri: &str| proxy.serves(&uri.parse().unwrap());
        for uri in [
            "https://git.example/r",
            "https://notcluster.local/",
            "https://10.0.0.11/",
        ] {
            assert!(serves(uri), "{uri}");
        }
        for uri in [
            "http://git.example/r",
            "https://cluster.local/",
            "https://GIT.cluster.local:8443/",
            "https://x.internal.example/",
            "https://10.0.0.1/",
        ] {
            assert!(!serves(uri), "{uri}");
        }
        let all = ProxyOrder {
            except: vec!["*".to_owned()],
            ..order
        };
        let proxy = Proxy::new(&all, None, HttpConnector::new()).unwrap();
        assert!(!proxy.serves(&"https://git.example/".parse().unwrap()));
    }

    #[test]
    fn a_proxy_or_credential_that_cannot_be_used_is_named() {
        for url in ["proxy", "https://p:1", "http://p", ""] {
            let order = ProxyOrder {
                url: url.to_owned(),
                except: Vec::new(),
            };
            let error = Egress::new(Some(&order), None).unwrap_err();
            assert!(matches!(error, OpenProxy::ReadUrl { .. }), "{url}");
        }
    }
}
