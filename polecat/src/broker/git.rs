//! The broker's git half: a mirror of the remote, served on loopback, through which nothing reaches the remote that
//! the push policy refuses.

mod cgi;
mod child;
mod classify;
mod gateway;
mod host;
mod inbound;
mod inspect;
pub(crate) mod parsers;
mod pkt;
mod policy;
mod quarantine;
mod receive;
mod repository;
mod secret;
mod ssh;
#[cfg(test)]
mod trial;
mod upstream;

use std::path::Path;

use gastown_api::work_order::GitOrder;

pub use child::Git;
pub use classify::Failure;
pub use host::Host;
pub use policy::Names;
pub use repository::Repository;
pub use upstream::{Places, Upstream};

/// What the mounted git secret lacks for `order`, in words; none: nothing.
#[must_use]
pub fn missing(secret_dir: &Path, order: &GitOrder) -> Option<String> {
    let files = secret::read_dir(secret_dir);
    let parsed = secret::parse(&files, &order.repository, &order.secret);
    parsed.err().map(|missing| missing.to_string())
}
