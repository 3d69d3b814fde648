//! How the remote is reached.
