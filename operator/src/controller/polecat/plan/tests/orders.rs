//! The plan in a small model of the world, under random orders of events: an API server that conflicts and fails, a
//! kubelet that ends containers in any order, nodes that go silent and are deleted, people who delete, force, idle and
//! retry, and an operator that dies between any two calls and sees things late.
//!
//! After each call and event the safety list of the design is checked; when the events stop, all must come to rest.

mod town;

use std::thread;

use fastrand::Rng;

use self::town::Town;

const ORDERS: u64 = 100_000;
const EVENTS: usize = 24;
/// The looks in which all must come to rest when nothing happens any more: each retry takes a few.
const LOOKS_TO_REST: usize = 80;

fn live_through(seed: u64) {
    let mut town = Town::new(Rng::with_seed(seed));
    for _ in 0..EVENTS {
        town.event();
    }
    town.calm_down();
    for _ in 0..LOOKS_TO_REST {
        if town.is_at_rest() {
            town.stays_at_rest();
            return;
        }
    }
    panic!("seed {seed} does not come to rest: {}", town.story());
}

#[test]
fn in_a_hundred_thousand_orders_of_events_nothing_unsafe_happens_and_all_comes_to_rest() {
    let threads = 4;
    thread::scope(|scope| {
        for part in 0..threads {
            scope.spawn(move || (part..ORDERS).step_by(4).for_each(live_through));
        }
    });
}
