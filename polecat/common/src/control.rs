//! The client of the control API ([`gastown_api::control_api`]).

use gastown_api::control_api::{Alive, ModelActivity, Refused, Request, RereadRemote};
use gastown_api::pod::GIT_PORT;
use http::{Method, StatusCode};

use crate::console::{escape, logged};
use crate::loopback::{self, Call};

/// Why the broker did not answer a request.
#[derive(Debug, thiserror::Error)]
pub enum AskBroker {
    /// The request cannot be written.
    #[error("failed to write a request to the broker")]
    Write(#[source] serde_json::Error),
    /// No answer came.
    #[error(transparent)]
    Call(#[from] Call),
    /// The broker refuses.
    #[error("the broker refused {path:?} with {status}: {message}")]
    Refuse {
        /// The path of the request.
        path: &'static str,
        /// The HTTP status.
        status: StatusCode,
        /// The broker's words.
        message: String,
    },
    /// It is an answer to something else.
    #[error("failed to read the broker's answer to {path:?}; all containers must be of one version")]
    Read {
        /// The path of the request.
        path: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Sends `request` to the broker on loopback `port`, [`GIT_PORT`] but in tests.
pub async fn ask<R: Request>(port: u16, request: &R) -> Result<R::Answer, AskBroker> {
    let path = R::PATH;
    let body = serde_json::to_vec(request).map_err(AskBroker::Write)?;
    let (status, body) = loopback::call(port, Method::POST, path, body).await?;
    if status.is_success() {
        return serde_json::from_str(&body).map_err(|source| AskBroker::Read { path, source });
    }
    let message = match serde_json::from_str(&body) {
        Ok(Refused { message }) => message,
        Err(_) => body,
    };
    let message = escape(message.trim());
    Err(AskBroker::Refuse {
        path,
        status,
        message,
    })
}

/// Tells the broker of a sign of life; one that is not heard is followed by another.
pub async fn alive(port: u16) {
    let logged_bytes = logged();
    let _the_next_one_may_be_heard = ask(port, &Alive { logged_bytes }).await;
}

/// Asks the broker to read the remote again and waits for it.
pub async fn reread(port: u16) -> Result<(), AskBroker> {
    ask(port, &RereadRemote {}).await.map(drop)
}

/// Whether the agent waits for an answer of the model; a broker that cannot be asked serves none.
pub async fn calls_the_model() -> bool {
    let calls = ask(GIT_PORT, &ModelActivity {}).await;
    calls.is_ok_and(|calls| calls.under_way > 0)
}
