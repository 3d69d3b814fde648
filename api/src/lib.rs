//! The custom resources of gastown-operator, the vocabulary of their status, and what the parts of a polecat pod
//! say to each other and to the operator.
//!
//! Nothing here talks to anything: no client, no runtime, no input or output.

pub mod agent_environment;
pub mod budget;
pub mod condition;
pub mod control_api;
pub mod evidence;
pub mod exposed;
pub mod git;
pub mod git_secret;
pub mod image;
pub mod image_policy;
pub mod key_like;
pub mod kinds;
pub mod known_hosts;
pub mod labels;
pub mod model_secret;
pub mod money;
pub mod person;
pub mod placement;
pub mod pod;
pub mod pod_metadata;
pub mod pod_overrides;
pub mod polecat;
pub mod quantity;
pub mod reason;
pub mod reference;
pub mod repository;
pub mod resources;
pub mod rig;
mod rules;
pub mod text;
pub mod timing;
pub mod usage;
pub mod work_order;
pub mod yaml;

/// The API group of the six kinds.
pub const GROUP: &str = "gastown.gastown.io";

/// The one served version.
pub const VERSION: &str = "v1alpha1";
