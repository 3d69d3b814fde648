//! `gastown-operator`: see the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// glibc's keeps what the pages of the first lists took: a third of the memory of a cold start among many polecats. How
/// soon this one gives it back is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One thread: the work is waiting for the API server, and every thread's allocator would hold memory of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    gastown_operator::start().await
}
