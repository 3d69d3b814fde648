use std::collections::BTreeMap;

use super::*;

fn key(name: &str) -> Key {
    Key::new("town", name)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn rank(created: i64) -> Rank {
    Rank::new(500, at(created))
}

fn limits(most: u32, weight: u32) -> Limits {
    Limits {
        most: Some(most),
        weight,
        open: true,
    }
}

fn begun(total: Option<u32>) -> Slots {
    let mut slots = Slots::new(total);
    slots.begin();
    slots
}

fn given(slots: &mut Slots) -> Vec<String> {
    slots.take_given().into_iter().map(|key| key.name).collect()
}

const AT_WORK: Seen = Seen::AtWork { lent_from: None };

#[test]
fn without_a_limit_everyone_starts_at_once() {
    let mut slots = begun(None);
    for name in ["a", "b", "c"] {
        assert_eq!(slots.ask(&key(name), "rig", rank(0)), Standing::Holds);
    }
    assert!(given(&mut slots).is_empty(), "who asked knows");
}

#[test]
fn a_group_at_its_limit_makes_others_wait_and_the_next_is_given_what_becomes_free() {
    let mut slots = begun(None);
    slots.limit("rig", limits(1, 1));
    assert_eq!(slots.ask(&key("a"), "rig", rank(1)), Standing::Holds);
    assert_eq!(
        slots.ask(&key("b"), "rig", rank(2)),
        Standing::Waits(Bound::Group)
    );
    assert_eq!(slots.ask(&key("c"), "other", rank(3)), Standing::Holds);
    slots.see(&key("a"), "rig", AT_WORK);
    assert!(given(&mut slots).is_empty());
    slots.see(&key("a"), "rig", Seen::Resting);
    assert_eq!(given(&mut slots), ["b"]);
    assert_eq!(slots.standing(&key("b")), Some(Standing::Holds));
    assert_eq!(slots.standing(&key("a")), None);
}

#[test]
fn the_highest_priority_is_next_then_the_oldest_and_a_minute_is_worth_a_point() {
    let mut slots = begun(None);
    slots.limit("rig", limits(1, 1));
    slots.ask(&key("first"), "rig", rank(0));
    for (name, priority, created) in [
        ("late", 500, 400),
        ("urgent", 900, 500),
        ("early", 500, 300),
        ("same", 500, 300),
        // 500 - 5 minutes of waiting less than `early` has.
        ("aged", 495, 0),
        ("older", 494, 0),
    ] {
        slots.ask(&key(name), "rig", Rank::new(priority, at(created)));
    }
    let mut order = Vec::new();
    let mut at_work = "first".to_owned();
    for _ in 0..6 {
        slots.forget(&key(&at_work));
        at_work = given(&mut slots).remove(0);
        order.push(at_work.clone());
    }
    assert_eq!(order, ["urgent", "aged", "early", "same", "older", "late"]);
}

#[test]
fn a_priority_that_changes_while_its_member_waits_counts() {
    let mut slots = begun(None);
    slots.limit("rig", limits(1, 1));
    slots.ask(&key("a"), "rig", rank(0));
    slots.ask(&key("b"), "rig", rank(1));
    slots.ask(&key("c"), "rig", rank(2));
    slots.see(&key("c"), "rig", Seen::Waiting(Rank::new(900, at(2))));
    slots.forget(&key("a"));
    assert_eq!(given(&mut slots), ["c"]);
}

#[test]
fn all_together_have_a_limit_too() {
    let mut slots = begun(Some(2));
    assert_eq!(slots.ask(&key("a"), "x", rank(0)), Standing::Holds);
    assert_eq!(slots.ask(&key("b"), "y", rank(0)), Standing::Holds);
    assert_eq!(slots.ask(&key("c"), "z", rank(0)), Standing::Waits(Bound::Total));
    slots.forget(&key("b"));
    assert_eq!(given(&mut slots), ["c"]);
}

#[test]
fn nothing_is_given_before_all_that_is_at_work_was_seen() {
    let mut slots = Slots::new(Some(1));
    slots.see(&key("b"), "rig", Seen::Waiting(rank(0)));
    assert_eq!(
        slots.ask(&key("c"), "rig", rank(1)),
        Standing::Waits(Bound::Total)
    );
    slots.see(&key("a"), "rig", AT_WORK);
    slots.begin();
    assert!(given(&mut slots).is_empty());
    slots.see(&key("a"), "rig", Seen::Resting);
    assert_eq!(given(&mut slots), ["b"]);
}

#[test]
fn a_closed_group_starts_nothing_until_it_is_opened() {
    let mut slots = begun(None);
    let closed = Limits {
        open: false,
        ..Limits::default()
    };
    slots.limit("rig", closed);
    assert_eq!(
        slots.ask(&key("a"), "rig", rank(0)),
        Standing::Waits(Bound::Closed)
    );
    slots.limit("rig", Limits::default());
    assert_eq!(given(&mut slots), ["a"]);
}

#[test]
fn a_limit_that_is_lowered_ends_nothing_and_starts_nothing_until_there_is_room() {
    let mut slots = begun(None);
    for name in ["a", "b", "c"] {
        slots.see(&key(name), "rig", AT_WORK);
    }
    slots.limit("rig", limits(2, 1));
    assert_eq!(
        slots.ask(&key("d"), "rig", rank(0)),
        Standing::Waits(Bound::Group)
    );
    slots.see(&key("a"), "rig", Seen::Resting);
    assert!(given(&mut slots).is_empty());
    slots.see(&key("b"), "rig", Seen::Resting);
    assert_eq!(given(&mut slots), ["d"]);
}

#[test]
fn a_slot_is_lent_once_its_holder_was_parked_long_enough_and_is_repaid_before_another_starts() {
    let mut slots = begun(None);
    slots.limit("rig", limits(1, 1));
    let parked = Seen::AtWork {
        lent_from: Some(at(600)),
    };
    slots.see(&key("parked"), "rig", parked);
    slots.ask(&key("next"), "rig", rank(1));
    assert_eq!(slots.lend(at(599)), Some(at(600)));
    assert!(given(&mut slots).is_empty());
    assert_eq!(slots.lend(at(600)), None);
    assert_eq!(given(&mut slots), ["next"]);
    slots.see(&key("next"), "rig", AT_WORK);
    // It is seen once more as it was, and then it goes on: the group has two at work, and starts none until one is left over.
    slots.see(&key("parked"), "rig", parked);
    slots.ask(&key("third"), "rig", rank(2));
    slots.see(&key("parked"), "rig", AT_WORK);
    slots.see(&key("next"), "rig", Seen::Resting);
    assert!(given(&mut slots).is_empty());
    slots.see(&key("parked"), "rig", Seen::Resting);
    assert_eq!(given(&mut slots), ["third"]);
}

#[test]
fn a_slot_that_its_holder_does_not_want_any_more_goes_to_the_next() {
    let mut slots = begun(Some(1));
    slots.ask(&key("a"), "rig", rank(0));
    slots.ask(&key("b"), "rig", rank(1));
    // An older state of it comes late, and changes nothing.
    slots.see(&key("a"), "rig", Seen::Undecided);
    slots.see(&key("a"), "rig", Seen::Waiting(rank(0)));
    assert!(given(&mut slots).is_empty());
    slots.see(&key("a"), "rig", Seen::Resting);
    assert_eq!(given(&mut slots), ["b"]);
}

#[test]
fn what_an_earlier_term_gave_and_nobody_used_is_given_anew() {
    let mut slots = begun(Some(1));
    slots.see(&key("a"), "rig", Seen::Waiting(rank(0)));
    assert_eq!(given(&mut slots), ["a"]);
    // Another replica led, and started another one.
    slots.see(&key("b"), "rig", AT_WORK);
    slots.begin();
    assert!(given(&mut slots).is_empty());
    slots.forget(&key("b"));
    assert_eq!(given(&mut slots), ["a"]);
}

#[test]
fn who_was_refused_leaves_its_slot_to_the_next() {
    let mut slots = begun(Some(1));
    slots.ask(&key("a"), "rig", rank(0));
    slots.ask(&key("b"), "rig", rank(1));
    slots.withdraw(&key("a"));
    assert_eq!(given(&mut slots), ["b"]);
    slots.see(&key("b"), "rig", AT_WORK);
    slots.withdraw(&key("b"));
    assert_eq!(slots.standing(&key("b")), Some(Standing::Holds), "it is at work");
}

/// Groups of these weights, all with more to start than there is room; how many slots of `count` each is given.
fn dispatched(weights: &[u32], total: u32, count: usize) -> BTreeMap<u32, usize> {
    let mut slots = Slots::new(Some(total));
    let mut random = fastrand::Rng::with_seed(7);
    for weight in weights {
        slots.limit(&weight.to_string(), limits(u32::MAX, *weight));
    }
    let mut next = 0;
    let mut enqueue = |slots: &mut Slots, group: &str| {
        next += 1;
        slots.see(&key(&format!("{group}-{next}")), group, Seen::Waiting(rank(next)));
    };
    for weight in weights {
        for _ in 0..2 * total {
            enqueue(&mut slots, &weight.to_string());
        }
    }
    slots.begin();
    let mut at_work: Vec<Key> = Vec::new();
    let mut counts = BTreeMap::new();
    let mut dispatches = 0;
    while dispatches < count {
        for key in slots.take_given() {
            let group = key.name.split('-').next().unwrap().to_owned();
            enqueue(&mut slots, &group);
            *counts.entry(group.parse().unwrap()).or_default() += 1;
            dispatches += 1;
            at_work.push(key);
        }
        let ended = at_work.swap_remove(random.usize(..at_work.len()));
        slots.forget(&ended);
    }
    counts
}

#[test]
fn slots_are_shared_by_weight_within_five_percent() {
    for total in [1, 3, 10, 64] {
        let counts = dispatched(&[1, 2, 5], total, 1000);
        for (weight, count) in &counts {
            let fair = f64::from(*weight) / 8.0 * 1000.0;
            let error = (f64::from(u32::try_from(*count).unwrap()) - fair).abs() / fair;
            assert!(error <= 0.05, "{total} slots: {counts:?}");
        }
    }
}

#[test]
fn a_group_that_had_nothing_to_start_has_saved_nothing_up() {
    let mut slots = begun(Some(1));
    slots.ask(&key("a0"), "a", rank(0));
    for number in 1..100 {
        slots.ask(&key(&format!("a{number}")), "a", rank(number));
        slots.forget(&key(&format!("a{}", number - 1)));
    }
    for number in 0..10 {
        slots.ask(&key(&format!("b{number}")), "b", rank(number));
        slots.ask(&key(&format!("a{}", 100 + number)), "a", rank(100 + number));
    }
    slots.take_given();
    let mut order = String::new();
    let mut at_work = key("a99");
    for _ in 0..10 {
        slots.forget(&at_work);
        at_work = slots.take_given().remove(0);
        order.push_str(&at_work.name[..1]);
    }
    assert_eq!(order.matches('a').count(), 5, "{order}");
}

/// What is true after any act, by a count of the members alone.
fn check(slots: &Slots, total: Option<u32>, before: &BTreeMap<String, u32>) {
    let mut holding = BTreeMap::<String, u32>::new();
    for member in slots.members.values().filter(|member| member.state.holds()) {
        *holding.entry(member.group.to_string()).or_default() += 1;
    }
    assert_eq!(holding.values().sum::<u32>(), slots.holding);
    for (name, group) in &slots.groups {
        let count = holding.get(&**name).copied().unwrap_or_default();
        assert_eq!(group.holding, count);
        let grew = count > before.get(&**name).copied().unwrap_or_default();
        let over = group.limits.most.is_some_and(|most| count > most);
        assert!(!(grew && over), "{name} was given more than it may have");
        assert_eq!(
            group.listed.is_some(),
            group.has_room() && !group.waiting.is_empty()
        );
    }
    let is_free = total.is_none_or(|total| slots.holding < total);
    assert!(
        !is_free || slots.ready.is_empty(),
        "a slot is free, and someone waits"
    );
}

#[test]
fn in_ten_thousand_random_acts_no_limit_is_passed_and_no_slot_stays_free() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let total = Some(random.u32(1..8));
        let mut slots = begun(total);
        for act in 0..10_000 {
            let name = format!("{}", random.u32(..40));
            let group = format!("g{}", name.len() + name.as_bytes()[0] as usize % 3);
            let before = slots
                .groups
                .iter()
                .map(|(name, group)| (name.to_string(), group.holding))
                .collect();
            match random.u32(..8) {
                0..=2 => {
                    slots.ask(&key(&name), &group, Rank::new(random.i64(0..=1000), at(act)));
                }
                // Only who holds a slot is seen at work.
                3 | 4 if slots.standing(&key(&name)) == Some(Standing::Holds) => {
                    let lent_from = random.bool().then(|| at(act + 5));
                    let is_lent = slots.members[&key(&name)].state == State::Lent;
                    if !is_lent || lent_from.is_some() {
                        slots.see(&key(&name), &group, Seen::AtWork { lent_from });
                    }
                }
                5 => slots.forget(&key(&name)),
                6 => {
                    slots.lend(at(act));
                }
                _ => slots.limit(&group, limits(random.u32(..4), random.u32(1..9))),
            }
            check(&slots, total, &before);
        }
    }
}
