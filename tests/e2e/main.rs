//! Polecats on a real cluster: the real agent in real pods, with real git hosts; only the model's answers are scripted.
//! `cargo xtask test e2e` makes the cluster, builds and loads the images, and installs the chart.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::many_single_char_names,
    reason = "the whole program is tests: one that cannot go on fails, and what was measured is shown"
)]

mod agents;
mod attacked;
mod broken;
mod confined;
mod delivered;
mod done;
mod ends;
mod heavy;
mod images;
mod money;
mod operated;
mod parked;
mod plugin;
mod queued;
mod random_trees;
mod reasons;
mod refused;
mod saved;
mod stuck;
mod task;
mod trees;
mod without_grace;
// These run alone, on a second cluster in a whole run (`SECOND` in xtask/src/task/test/plan.rs).
mod town_from_nothing;
mod undisturbed;
mod upheaval;
