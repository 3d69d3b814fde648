//! The calls an agent may make: the upstream's URI is built from this enum, never from the request.

use gastown_api::work_order::ModelApi;
use http::{Method, Uri};

use super::error::Refusal;

/// A call of one of the APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Makes the model answer by the Messages API; costs.
    Messages,
    /// Counts the tokens of a request; is free.
    CountTokens,
    /// Makes the model answer by the Responses API; costs.
    Responses,
}

impl Endpoint {
    /// Reads method and URI of a request. Only these exact paths and the query `beta=true` are known, so that no
    /// spelling of a path can mean another one upstream.
    pub(super) fn read(method: &Method, uri: &Uri, apis: &[ModelApi]) -> Result<Self, Refusal> {
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(Refusal::bad_request(
                "the request names a host; send only the path",
            ));
        }
        let endpoint = match uri.path() {
            "/v1/messages" => Self::Messages,
            "/v1/messages/count_tokens" => Self::CountTokens,
            "/v1/responses" => Self::Responses,
            _ => return Err(Refusal::not_found(apis)),
        };
        if method != Method::POST || !apis.contains(&endpoint.api()) {
            return Err(Refusal::not_found(apis));
        }
        match (uri.query(), endpoint.api()) {
            (None | Some(""), _) | (Some("beta=true"), ModelApi::Messages) => Ok(endpoint),
            (Some(_), _) => Err(Refusal::bad_request(
                "no query is served, but beta=true of the Messages API",
            )),
        }
    }

    /// The API that the call is of.
    pub(super) fn api(self) -> ModelApi {
        match self {
            Self::Messages | Self::CountTokens => ModelApi::Messages,
            Self::Responses => ModelApi::Responses,
        }
    }

    /// The path and query that the upstream is asked for, below its base URL.
    pub(super) fn path(self, beta: bool) -> &'static str {
        match (self, beta) {
            (Self::Messages, false) => "/v1/messages",
            (Self::Messages, true) => "/v1/messages?beta=true",
            (Self::CountTokens, false) => "/v1/messages/count_tokens",
            (Self::CountTokens, true) => "/v1/messages/count_tokens?beta=true",
            (Self::Responses, _) => "/v1/responses",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calls_of_the_agents_api_are_known() {
        let of = |apis: &[ModelApi], method: &str, uri: &str| {
            Endpoint::read(&method.parse().unwrap(), &uri.parse::<Uri>().unwrap(), apis)
                .map_err(|refusal| refusal.status)
        };
        let read = |method: &str, uri: &str| of(&[ModelApi::Messages], method, uri);
        let responses = [ModelApi::Responses];
        assert_eq!(of(&responses, "POST", "/v1/responses"), Ok(Endpoint::Responses));
        for (method, uri) in [
            ("POST", "/v1/messages"),
            ("GET", "/v1/responses"),
            ("GET", "/v1/models"),
            ("POST", "/v1/responses/compact"),
            ("POST", "/v1/chat/completions"),
        ] {
            assert_eq!(
                of(&responses, method, uri),
                Err(http::StatusCode::NOT_FOUND),
                "{method} {uri}"
            );
        }
        assert!(of(&responses, "POST", "/v1/responses?beta=true").is_err());
        assert!(read("POST", "/v1/responses").is_err());
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
