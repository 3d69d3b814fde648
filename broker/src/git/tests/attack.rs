//! What should not work: each refusal is decided before the remote hears of it.

mod objects;
mod paths;
mod refs;
mod requests;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;

const ZERO: &str = "0000000000000000000000000000000000000000";

impl Trial {
    /// Everything the remote has.
    async fn refs(&self) -> String {
        git(&self.remote.repo, &["for-each-ref"]).await.unwrap()
    }

    /// Pushes, and asserts that it is refused by `rule` and that the remote heard nothing.
    async fn refused(&self, clone: &Path, args: &[&str], rule: &str) {
        let (calls, refs) = (self.remote.calls(), self.refs().await);
        let mut all = vec!["push"];
        all.extend(args);
        let outcome = git(clone, &all).await;
        let error = outcome.expect_err(&format!("{args:?} was taken"));
        assert!(error.contains(rule), "{args:?}: {error}");
        assert_eq!(self.remote.calls(), calls, "{args:?} reached the remote");
        assert_eq!(self.refs().await, refs, "{args:?}");
    }

    async fn post(&self, body: Vec<u8>, encoding: &str) -> (StatusCode, String) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let request = http::Request::post(format!("{}/git-receive-pack", self.broker.url))
            .header("content-type", "application/x-git-receive-pack-request")
            .header("content-encoding", encoding);
        let answer = client
            .request(request.body(Body::from(body)).unwrap())
            .await
            .unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}
