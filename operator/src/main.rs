//! `gastown-operator`: see the library.

use std::process::ExitCode;

/// One thread: the work is waiting for the API server, and every thread's allocator would hold memory of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    gastown_operator::start().await
}
