//! `gastown-operator`: see the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// glibc's allocator keeps the memory of the first lists: a third of the memory after a cold start with many polecats.
/// `.cargo/config.toml` sets how soon this allocator returns it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One thread: the operator mostly waits for the API server, and the allocator keeps memory per thread.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    gastown_operator::start().await
}
