//! What the tests share: the API server's client, a world for polecats to work in, and the scripted model.

#[cfg(test)]
mod bad_inputs;
pub mod bench;
pub mod chart;
pub mod client;
pub mod documents;
#[cfg(test)]
mod fuzz;
pub mod harness;
pub mod manifests;
#[cfg(test)]
mod messages;
pub mod model;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod threat_model;
