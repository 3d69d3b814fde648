//! What decides about the bytes of a layer: the key of a cached layer covers every file of this folder.

pub mod deb;
pub mod layer;
pub mod npm;
pub mod packages;
pub mod system;
pub mod tree;
