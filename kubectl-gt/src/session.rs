//! One run of the plugin: where it writes, whom it talks to, and which cluster it works in.

use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cluster::Cluster;
use crate::connect::{Connect, connect};
use crate::error::Error;
use crate::exit::Exit;
use crate::flags::ClusterFlags;
use crate::output::Out;
use crate::reporter::Reporter;

/// One run.
pub struct Session {
    /// Standard output: data.
    pub out: Out,
    /// Standard error.
    pub reporter: Reporter,
    /// Which cluster, as whom.
    pub flags: ClusterFlags,
}

impl Session {
    /// A run on the process's own streams.
    pub fn new(mut flags: ClusterFlags) -> Self {
        // `validate --server` without an address means the configured one.
        flags.server = flags.server.filter(|server| !server.is_empty());
        Self {
            out: Out::stdout(),
            reporter: Reporter::stderr(),
            flags,
        }
    }

    /// The cluster that the flags name.
    pub async fn cluster(&self) -> Result<Cluster, Connect> {
        connect(&self.flags).await
    }

    /// ` -n NAMESPACE`, where the user gave one.
    pub fn namespace_flag(&self) -> String {
        self.flags.namespace_flag()
    }
}

/// Prints an error, unless it is that nobody reads; of several each on a line of its own.
pub fn report(error: &Error) {
    if let Error::Several(failures) = error {
        failures.iter().for_each(report);
    } else if error.exit() != Exit::BrokenPipe {
        Reporter::stderr().fail(&error.to_string());
    }
}

/// Shows kube's own log on standard error from `-v=6` on. Bodies are never part of it.
pub fn trace(verbosity: u8) {
    let filter = match verbosity {
        0..=5 => return,
        6 | 7 => Targets::from_iter([("kube", LevelFilter::DEBUG), ("kubectl_gt", LevelFilter::DEBUG)]),
        _ => Targets::from_iter([
            ("kube", LevelFilter::TRACE),
            ("hyper", LevelFilter::DEBUG),
            ("rustls", LevelFilter::DEBUG),
            ("kubectl_gt", LevelFilter::TRACE),
        ]),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    // A second subscriber in one process is refused, which only a test can see.
    let _already_set = tracing_subscriber::registry().with(lines).with(filter).try_init();
}
