//! What should not.
