//! What each target does with the bytes it is given, and what must hold whatever they are. That nothing panics, hangs or
//! eats memory is the least; each also asserts the rule that its parser is there for.

mod agent_events;
mod archive;
mod attached;
mod evidence;
mod model_request;
mod receive_pack;
mod sse;

pub use agent_events::agent_events;
pub use archive::archive;
pub use attached::attached;
pub use evidence::evidence;
pub use model_request::model_request;
pub use receive_pack::receive_pack;
pub use sse::sse;

/// What reads the bytes of an input.
type Target = fn(&[u8]);

/// Every target by its name.
pub const ALL: &[(&str, Target)] = &[
    ("agent_events", agent_events),
    ("archive", archive),
    ("attached", attached),
    ("evidence", evidence),
    ("model_request", model_request),
    ("receive_pack", receive_pack),
    ("sse", sse),
];

/// The first byte, and what follows.
fn first(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((0, data), |(first, rest)| (*first, rest))
}

/// Runs what waits for nothing but its own bytes.
fn run<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without I/O can be built");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// Whether a terminal would only write `text`, on one line.
fn is_printable(text: &str) -> bool {
    !text.chars().any(gastown_api::text::is_harmful)
}
