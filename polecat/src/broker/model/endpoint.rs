//! The calls an agent may make: the upstream's URI is built from this enum, never from the request.

use http::{Method, Uri};

use super::error::Refusal;

/// A call of the Messages API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Makes the model answer; costs.
    Messages,
    /// Counts the tokens of a request; is free.
    CountTokens,
}

impl Endpoint {
    /// Reads method and URI of a request. Only the two exact paths and the query `beta=true` are known, so that no
    /// spelling of a path can mean another one upstream.
    pub(super) fn read(method: &Method, uri: &Uri) -> Result<Self, Refusal> {
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(Refusal::bad_request(
                "the request names a host; send only the path",
            ));
        }
        let endpoint = match uri.path() {
            "/v1/messages" => Self::Messages,
            "/v1/messages/count_tokens" => Self::CountTokens,
            _ => return Err(Refusal::not_found()),
        };
        if method != Method::POST {
            return Err(Refusal::not_found());
        }
        match uri.query() {
            None | Some("" | "beta=true") => Ok(endpoint),
            Some(_) => Err(Refusal::bad_request("the query may only be beta=true")),
        }
    }

    /// The path and query that the upstream is asked for, below its base URL.
    pub(super) fn path(self, beta: bool) -> &'static str {
        match (self, beta) {
            (Self::Messages, false) => "/v1/messages",
            (Self::Messages, true) => "/v1/messages?beta=true",
            (Self::CountTokens, false) => "/v1/messages/count_tokens",
            (Self::CountTokens, true) => "/v1/messages/count_tokens?beta=true",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_calls_are_known() {
        let read = |method: &str, uri: &str| {
            Endpoint::read(&method.parse().unwrap(), &uri.parse::<Uri>().unwrap())
                .map_err(|refusal| refusal.status)
        };
        assert_eq!(read("POST", "/v1/messages?beta=true"), Ok(Endpoint::Messages));
        assert_eq!(
            read("POST", "/v1/messages/count_tokens"),
            Ok(Endpoint::CountTokens)
        );
        for (method, uri, status) in [
            ("GET", "/v1/messages", 404),
            ("CONNECT", "api.example:443", 400),
            ("POST", "http://other/v1/messages", 400),
            ("POST", "//v1/messages", 404),
            ("POST", "/v1/messages/", 404),
            ("POST", "/v1/../v1/messages", 404),
            ("POST", "/v1/%6dessages", 404),
            ("POST", "/v1/messages;x", 404),
            ("POST", "/v1/files", 404),
            ("POST", "/v1/messages/batches", 404),
            ("POST", "/v1/messages?beta=true&api_key=x", 400),
        ] {
            assert_eq!(
                read(method, uri).map_err(|status| status.as_u16()),
                Err(status),
                "{method} {uri}"
            );
        }
    }
}
