//! One chore per module.

pub mod apply;
pub mod bench;
pub mod cluster;
pub mod demo;
pub mod deploy;
pub mod fuzz;
pub mod generate;
pub mod image;
pub mod install;
pub mod krew;
pub mod lint;
pub mod picture;
pub mod release;
pub mod test;
