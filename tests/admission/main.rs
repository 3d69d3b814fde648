//! What the API server admits and refuses, asked of a real one: `KUBECONFIG` names it, and
//! `cargo xtask cluster up --tier api` starts one in seconds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole program is tests: one that cannot go on fails"
)]

mod ask;
mod pods;
mod random;
mod refused;
mod samples;
mod status;
mod updates;
