//! The broker's git half: a mirror of the remote, served on loopback, through which nothing reaches the remote that
//! the push policy refuses.

mod cgi;
mod child;
mod classify;
mod forward;
mod gateway;
mod host;
mod in_the_way;
mod inbound;
mod inspect;
mod on_demand;
pub(crate) mod parsers;
mod pkt;
mod policy;
mod quarantine;
mod receive;
mod repair;
mod repository;
mod reread;
mod secret;
mod ssh;
#[cfg(test)]
mod tests;
mod upstream;

use std::path::Path;

use gastown_api::work_order::RemoteOrder;

pub use child::Git;
pub use classify::Failure;
pub use host::Host;
pub use policy::Names;
pub use repository::Repository;
pub use upstream::{Paths, Upstream};

/// Why the mounted git secret is of no use for `remote` yet; none: it is.
#[must_use]
pub fn missing(secret_dir: &Path, remote: &RemoteOrder) -> Option<Failure> {
    let files = secret::read_dir(secret_dir);
    let parsed = secret::parse(&files, &remote.repository, &remote.secret);
    parsed
        .err()
        .map(|error| Failure::new(error.reason(), error.to_string()))
}
