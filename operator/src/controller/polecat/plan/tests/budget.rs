//! A budget is set aside by quarters, and what an attempt does not account for is charged.

use fastrand::Rng;
use gastown_api::budget::{Amount, Room, Share};

use super::*;

const BUDGET: u64 = 1000;

fn tokens(tokens: u64) -> Share {
    Share {
        tokens: Some(tokens),
        cost_micros: None,
    }
}

/// A polecat with [`BUDGET`] whose agent runs.
fn limited() -> World {
    let mut world = World::new();
    world.change(json!({"spec": {"budget": {"tokens": BUDGET}, "backoffLimit": 1000}}));
    world.settle();
    world.pod_reports(&running());
    world.settle();
    world.acts.clear();
    world
}

fn asks(share: u64, spent: u64) -> Value {
    let number = json!({"asks": {"tokens": share}, "usage": {"inputTokens": spent, "outputTokens": 0}});
    evidence(number)
}

impl World {
    fn attempt(&self) -> &gastown_api::polecat::Attempt {
        self.status().attempts.last().unwrap()
    }

    fn ends_hard(&mut self, evidence: &Value) {
        let mut status = ended(137, evidence);
        status["reason"] = json!("Evicted");
        status["phase"] = json!("Failed");
        self.pod_reports(&status);
        self.settle();
    }

    fn unaccounted(&self) -> u64 {
        self.status().unaccounted.unwrap_or_default().tokens
    }
}

#[test]
fn the_status_sets_a_part_aside_before_the_pod_is_told() {
    let mut world = limited();
    assert_eq!(
        world.attempt().granted,
        Some(tokens(250)),
        "what it may spend unasked"
    );
    world.log = asks(500, 240).to_string();
    ring(&mut world, false);
    assert_eq!(
        world.settle(),
        Some(at(1010)),
        "read again where it goes on asking"
    );
    assert_eq!(world.acts, ["ReadBroker", "WriteStatus", "Grant"]);
    assert_eq!(world.attempt().granted, Some(tokens(500)));
    assert_eq!(world.attempt().usage.unwrap().input_tokens, 240);
    assert_eq!(world.pod().granted(), tokens(500));
    assert_eq!(world.says(), (WORKING, "True", "AgentRunning"));
    world.settle();
    assert_eq!(world.acts.len(), 3, "no polling: {:?}", world.acts);
    world.now = 1010;
    world.log = asks(750, 490).to_string();
    world.settle();
    assert_eq!(world.acts[3..], ["ReadBroker", "WriteStatus", "Grant"]);
}

#[test]
fn an_operator_that_died_before_it_told_the_pod_tells_it() {
    let mut world = limited();
    world.log = asks(500, 240).to_string();
    ring(&mut world, false);
    world.settle();
    world.pod_changes(json!({"metadata": {"annotations": {"gastown.io/control": null}}}));
    world.observed.attempt.report = None;
    world.acts.clear();
    world.settle();
    assert_eq!(world.acts, ["ReadBroker", "Grant"]);
}

#[test]
fn a_hard_end_is_charged_what_was_set_aside_and_an_end_in_order_what_was_spent() {
    for (last, used, unaccounted) in [
        (json!("no evidence"), 240, 260),
        (
            evidence(json!({"settled": false, "usage": {"inputTokens": 300, "outputTokens": 0}})),
            300,
            200,
        ),
        (
            evidence(json!({"usage": {"inputTokens": 300, "outputTokens": 0}})),
            300,
            0,
        ),
        (
            evidence(
                json!({"usage": {"inputTokens": 300, "outputTokens": 0}, "unaccounted": {"tokens": 50}}),
            ),
            300,
            50,
        ),
        // An older broker, which never says how it ended.
        (
            evidence(json!({"settled": null, "usage": {"inputTokens": 300, "outputTokens": 0}})),
            300,
            0,
        ),
    ] {
        let mut world = limited();
        world.log = asks(500, 240).to_string();
        ring(&mut world, false);
        world.settle();
        world.ends_hard(&last);
        assert_eq!(world.status().usage.unwrap().tokens(), used, "{last}");
        assert_eq!(world.unaccounted(), unaccounted, "{last}");
        let message = &world.condition("Ready").unwrap().message;
        assert_eq!(message.contains("count as spent"), unaccounted > 0, "{message}");
    }
}

#[test]
fn an_attempt_that_asked_for_nothing_is_charged_the_first_quarter_and_one_that_never_ran_nothing() {
    let mut world = limited();
    world.ends_hard(&json!("no evidence"));
    assert_eq!(world.unaccounted(), 250);
    let mut world = World::new();
    world.change(json!({"spec": {"budget": {"tokens": BUDGET}}}));
    world.settle();
    world.pod_reports(&json!({"phase": "Failed", "reason": "OutOfcpu", "message": "full"}));
    world.settle();
    assert_eq!(world.unaccounted(), 0);
}

/// The broker's part: calls that are made as [`Share::room`] lets them.
struct Broker {
    left: Share,
    spent: u64,
    /// What each call under way was reserved for.
    calls: Vec<u64>,
}

/// Slots, and the most that a call costs.
const SLOTS: usize = 8;
const CALL: u64 = 90;

impl Broker {
    fn reserved(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// Begins a call, or says what has to be set aside before.
    fn begin(&mut self, granted: Share, call: u64) -> Room {
        let amount = |tokens| Amount {
            tokens,
            cost_micros: 0,
        };
        let granted = self.left.first_quarter().max(granted);
        let (spent, reserved) = (amount(self.spent), amount(self.reserved()));
        let room = self.left.room(Some(granted), spent, reserved, amount(call));
        if room == Room::Now && self.calls.len() < SLOTS {
            self.calls.push(call);
        }
        room
    }
}

/// One attempt, which ends hard at a random moment; gives what the provider billed.
fn hard_attempt(world: &mut World, rng: &mut Rng) -> u64 {
    let left = crate::controller::polecat::validate::model::left_of(&world.observed.polecat);
    let mut broker = Broker {
        left,
        spent: 0,
        calls: Vec::new(),
    };
    let mut known = json!("no evidence");
    for _ in 0..rng.usize(..60) {
        if !broker.calls.is_empty() && rng.bool() {
            let call = broker.calls.swap_remove(rng.usize(..broker.calls.len()));
            broker.spent += rng.u64(..=call);
            continue;
        }
        match broker.begin(world.pod().granted(), rng.u64(1..=CALL)) {
            Room::Now | Room::Later => {}
            Room::Spent => break,
            Room::Once(share) => {
                let mut log = asks(share.tokens.unwrap(), broker.spent);
                log["attempt"] = json!(world.attempt().number);
                world.log = log.to_string();
                ring(world, false);
                // The operator, or the pod, may end between any two of its calls.
                for _ in 0..rng.usize(..4) {
                    if let Step::Act(act) = next(&world.observed, &world.settings, at(world.now)).unwrap() {
                        world.carry_out(act);
                    }
                }
                ring(world, true);
            }
        }
        if rng.bool() {
            let usage = json!({"inputTokens": broker.spent, "outputTokens": 0});
            known = evidence(json!({"settled": false, "usage": usage}));
        }
    }
    let last = if rng.bool() { known } else { json!("no evidence") };
    let number = world.attempt().number;
    let mut last = last;
    if last.is_object() {
        last["attempt"] = json!(number);
    }
    world.ends_hard(&last);
    // Calls that were under way are billed, whoever hears of it.
    broker.spent + broker.reserved()
}

#[test]
fn fifty_attempts_that_end_hard_at_random_moments_overrun_the_budget_by_no_more_than_a_call_for_each_slot() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let mut world = limited();
        let (mut billed, mut attempts) = (0, 0);
        while attempts < 50 && world.has_pod() {
            billed += hard_attempt(&mut world, &mut rng);
            attempts += 1;
            world.now += 1000;
            world.settle();
            if world.has_pod() {
                world.pod_reports(&running());
                world.settle();
            }
        }
        let most = BUDGET + CALL * u64::try_from(SLOTS).unwrap();
        assert!(
            billed <= most,
            "seed {seed}: {billed} tokens after {attempts} attempts"
        );
        assert_eq!(world.says().2, "BudgetSpent", "seed {seed}");
    }
}
