//! What trouble does to a polecat, one fault at a time: the operator runs in this program, a proxy with the fault stands
//! between it and a real API server, and the tests write what kubelets would say. `cargo xtask test faults` starts the
//! API server and the controllers of Kubernetes, without nodes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole program is tests: one that cannot go on fails"
)]

mod images;
mod leaders;
mod nodes;
mod others;
mod proxy;
mod scene;
mod slots;
mod stops;
mod watches;
mod writes;
