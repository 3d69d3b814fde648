//! Logs: JSON lines on standard error.

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged when `RUST_LOG` is not set.
const DEFAULT_FILTER: &str = "info,kube_client=warn,kube_runtime=warn";

/// Starts logging; `RUST_LOG` chooses what, by target and level. Filters by span and field are not read: their regular
/// expressions would be a good part of the program.
pub fn start() -> Result<(), ParseError> {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    let filter: Targets = wanted.parse()?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}
