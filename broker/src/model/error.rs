//! What the agent is told when a call is not made, in the form of the Messages API, of which the Responses API reads
//! the same fields.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gastown_api::work_order::ModelApi;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// A call that was not made, or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    kind: &'static str,
    /// What the agent is told.
    pub message: String,
}

impl Refusal {
    /// The request breaks a rule; the message names it.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            message: message.into(),
        }
    }

    /// No such call.
    pub(super) fn not_found(apis: &[ModelApi]) -> Self {
        let paths: Vec<_> = apis
            .iter()
            .map(|api| match api {
                ModelApi::Messages => "/v1/messages and /v1/messages/count_tokens",
                ModelApi::Responses => "/v1/responses",
            })
            .collect();
        let message = format!("only POST {} are served", paths.join(" and "));
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "not_found_error",
            message,
        }
    }

    /// The attempt is over.
    pub(super) fn over(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            kind: "permission_error",
            message: message.into(),
        }
    }

    /// The upstream could not be asked.
    pub(super) fn upstream(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            kind: "api_error",
            message: message.into(),
        }
    }

    /// The upstream did not answer.
    pub(super) fn timed_out(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            kind: "timeout_error",
            message: message.into(),
        }
    }

    /// The upstream's own error, in our words.
    pub(super) fn passed_on(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"type": "error", "error": {"type": self.kind, "message": self.message}});
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
