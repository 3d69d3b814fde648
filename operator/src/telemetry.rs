//! Logs: JSON lines on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What is logged when `RUST_LOG` is not set.
const DEFAULT_FILTER: &str = "info,kube_client=warn,kube_runtime=warn";

/// Starts logging; `RUST_LOG` chooses what.
pub fn start() -> Result<(), ParseError> {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    let filter = EnvFilter::try_new(wanted)?;
    tracing_subscriber::fmt()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
