//! The objects of a polecat.

pub mod order;
pub mod pod;
