//! Every command and every error path against a real API server, as a person sees them: exit code, standard output,
//! standard error. `KUBECONFIG` names the server; `cargo xtask test plugin` starts one. `UPDATE_TRANSCRIPTS=1` writes the
//! snapshots anew.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the whole program is tests: one that cannot go on fails"
)]

mod auth;
mod errors;
mod offline;
mod pages;
mod polecats;
mod rigs;
mod sling;
mod transcript;
mod validate;
mod verify;
mod world;
