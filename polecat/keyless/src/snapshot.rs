//! The format of a snapshot, which the keeper writes and the clone of a later attempt reads: a commit whose tree has held
//! files in a folder of their own, and whose message says what the tree does not.

pub mod denied_paths;
pub mod message;
pub mod name;
pub mod quoted;

use std::collections::BTreeMap;

use gastown_api::git::Sha;

/// Where held files stand.
pub const HELD_FOLDER: &str = "gastown-held";

/// The name of the bundle in the folder of held files.
pub const BUNDLE: &str = "unpushed.bundle";

/// In a bundle, the stash entries before the newest one.
pub const OLDER_STASHES: &str = "refs/stashes/";
/// In a bundle, commits that are checked out without a branch.
pub const DETACHED: &str = "refs/detached/";

/// In a bundle, the refs of repositories besides the clone's.
pub const COPIES: &str = "refs/copies/";

/// Refs by their names in the bundle. Names are bytes, as those of files are.
pub type Refs = BTreeMap<Vec<u8>, Sha>;
