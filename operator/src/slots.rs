//! Who may start next, where only so many may be at work at once.
//!
//! Members belong to groups. A group has a limit and a weight; all groups together have a limit. A slot that is free goes to
//! the group whose turn it is, and there to the member of the highest rank. Turns are those of stride scheduling
//! (Waldspurger and Weihl, 1995): a group's pass grows by a stride with each slot that it gets, the stride is the smaller the
//! larger its weight, and the lowest pass is next. A group that had nothing to start, or no room for it, has saved nothing up.
//!
//! Nothing is looked through: a decision costs a step in two ordered sets.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::types::Key;

/// What a group of weight 1 pays for a slot. Weights go to 1,000, and each divides it nearly evenly.
const STRIDE: u128 = 1 << 40;

/// What a group may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many of its members may be at work at once; none: as many as there is room for.
    pub most: Option<u32>,
    /// Its share beside that of others; at least 1.
    pub weight: u32,
    /// Whether it may start any.
    pub open: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            most: None,
            weight: 1,
            open: true,
        }
    }
}

/// Where a member stands among those of its group that wait: the larger merit first, then the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    merit: Reverse<i64>,
    since: Timestamp,
}

impl Rank {
    /// The rank of `priority` for a member that exists since `created`. A minute of waiting is worth a point; since that
    /// holds for all who wait, their order never changes.
    #[must_use]
    pub fn new(priority: i64, created: Timestamp) -> Self {
        Self {
            merit: Reverse(priority * 60 - created.as_second()),
            since: created,
        }
    }
}

/// Why a member waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Its group may start none.
    Closed,
    /// Its group has as many at work as it may have, or others of the group are first.
    Group,
    /// All groups together have as many at work as they may have.
    Total,
}

/// What may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a slot.
    Holds,
    /// It waits.
    Waits(Bound),
}

/// What was seen of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is at work.
    AtWork {
        /// When its slot is lent to others, if it goes on as it is.
        lent_from: Option<Timestamp>,
    },
    /// It waits for a slot, and says so.
    Waiting(Rank),
    /// It may be about to ask for a slot, or about to use the one that it was given.
    Undecided,
    /// It neither works nor waits.
    Resting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Rank),
    /// It was given a slot, and does not show yet that it uses it.
    Given(Rank),
    AtWork,
    /// It is at work, but waits for something, and others use its slot.
    Lent,
}

impl State {
    fn holds(self) -> bool {
        matches!(self, Self::Given(_) | Self::AtWork)
    }
}

#[derive(Debug)]
struct Member {
    group: Arc<str>,
    state: State,
    lent_from: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Group {
    limits: Limits,
    holding: u32,
    members: u32,
    waiting: BTreeSet<(Rank, Key)>,
    pass: u128,
    /// The pass under which it is among those that may start one.
    listed: Option<u128>,
}

impl Group {
    fn has_room(&self) -> bool {
        self.limits.open && self.limits.most.is_none_or(|most| self.holding < most)
    }
}

/// The slots, and who holds or awaits one.
#[derive(Debug, Default)]
pub struct Slots {
    /// How many may be at work at once; none: as many as ask.
    total: Option<u32>,
    holding: u32,
    groups: HashMap<Arc<str>, Group>,
    members: HashMap<Key, Member>,
    /// Groups that have both room and members that wait.
    ready: BTreeSet<(u128, Arc<str>)>,
    /// The pass of the group that was given the last slot.
    pass: u128,
    lent_from: BTreeSet<(Timestamp, Key)>,
    has_begun: bool,
    given: Vec<Key>,
}

impl Slots {
    /// No slot is given until [`Slots::begin`].
    #[must_use]
    pub fn new(total: Option<u32>) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// All that is at work was seen, and whoever gave slots before gives none any more: what was given and not used counts
    /// for nothing.
    pub fn begin(&mut self) {
        let given = self
            .members
            .iter()
            .filter_map(|(key, member)| match member.state {
                State::Given(rank) => Some((key.clone(), member.group.clone(), rank)),
                _ => None,
            });
        for (key, group, rank) in given.collect::<Vec<_>>() {
            self.put(&key, &group, State::Waiting(rank), None);
        }
        self.given.clear();
        self.has_begun = true;
        self.give();
    }

    /// Whoever has a slot that it does not use, or waits for one, does not want it any more.
    pub fn withdraw(&mut self, key: &Key) {
        let state = self.members.get(key).map(|member| member.state);
        if matches!(state, Some(State::Given(_) | State::Waiting(_))) {
            self.leave(key);
            self.give();
        }
    }

    /// When the slot of a member is lent, if it goes on as it is.
    #[must_use]
    pub fn lent_from(&self, key: &Key) -> Option<Timestamp> {
        self.members.get(key)?.lent_from
    }

    /// Sets what a group may have.
    pub fn limit(&mut self, group: &str, limits: Limits) {
        let group: Arc<str> = group.into();
        self.groups.entry(group.clone()).or_default().limits = limits;
        self.relist(&group);
        self.give();
    }

    /// Asks for a slot.
    pub fn ask(&mut self, key: &Key, group: &str, rank: Rank) -> Standing {
        let state = self.members.get(key).map(|member| member.state);
        if matches!(state, None | Some(State::Waiting(_))) && state != Some(State::Waiting(rank)) {
            self.put(key, group, State::Waiting(rank), None);
        }
        self.give();
        self.given.retain(|given| given != key);
        self.standing(key).unwrap_or(Standing::Waits(Bound::Total))
    }

    /// What is known of a member; none: it neither holds nor awaits a slot.
    #[must_use]
    pub fn standing(&self, key: &Key) -> Option<Standing> {
        let member = self.members.get(key)?;
        if !matches!(member.state, State::Waiting(_)) {
            return Some(Standing::Holds);
        }
        let group = self.groups.get(&member.group)?;
        Some(Standing::Waits(match group.limits.open {
            false => Bound::Closed,
            true if group.has_room() => Bound::Total,
            true => Bound::Group,
        }))
    }

    /// Takes note of what was seen of a member.
    pub fn see(&mut self, key: &Key, group: &str, seen: Seen) {
        let before = self.members.get(key).map(|member| member.state);
        match (seen, before) {
            (Seen::AtWork { lent_from }, Some(State::Lent)) if lent_from.is_some() => {}
            (Seen::AtWork { lent_from }, _) => self.put(key, group, State::AtWork, lent_from),
            // The slot was given after it had said that it waits, or is about to.
            (Seen::Waiting(_) | Seen::Undecided, Some(State::Given(_)))
            | (Seen::Undecided, Some(State::Waiting(_))) => {}
            (Seen::Waiting(rank), _) => self.put(key, group, State::Waiting(rank), None),
            (Seen::Undecided | Seen::Resting, _) => self.leave(key),
        }
        self.give();
    }

    /// A member is gone.
    pub fn forget(&mut self, key: &Key) {
        self.leave(key);
        self.give();
    }

    /// Lends the slots whose time has come, and answers when the next one's comes.
    pub fn lend(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((at, key)) = self.lent_from.first().cloned() {
            if at > now {
                break;
            }
            self.lent_from.pop_first();
            if let Some(group) = self.members.get(&key).map(|member| member.group.clone()) {
                self.put(&key, &group, State::Lent, None);
            }
        }
        self.give();
        self.lent_from.first().map(|(at, _)| *at)
    }

    /// The members that were given a slot since this was last asked, without having asked for it in the moment.
    pub fn take_given(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.given)
    }

    /// Gives what is free.
    fn give(&mut self) {
        while self.has_begun && self.total.is_none_or(|total| self.holding < total) {
            let Some((pass, name)) = self.ready.pop_first() else {
                return;
            };
            let Some(group) = self.groups.get_mut(&name) else {
                return;
            };
            group.listed = None;
            let Some((rank, key)) = group.waiting.first().cloned() else {
                return;
            };
            group.pass = pass + STRIDE / u128::from(group.limits.weight.max(1));
            self.pass = pass;
            self.put(&key, &name, State::Given(rank), None);
            self.given.push(key);
        }
    }

    fn leave(&mut self, key: &Key) {
        let Some(member) = self.members.remove(key) else {
            return;
        };
        self.uncount(key, &member);
        self.given.retain(|given| given != key);
        self.relist(&member.group);
    }

    fn put(&mut self, key: &Key, group: &str, state: State, lent_from: Option<Timestamp>) {
        if let Some(before) = self.members.remove(key) {
            self.uncount(key, &before);
            if *before.group != *group {
                self.relist(&before.group);
            }
        }
        let name: Arc<str> = group.into();
        let group = self.groups.entry(name.clone()).or_default();
        group.members += 1;
        if let State::Waiting(rank) = state {
            group.waiting.insert((rank, key.clone()));
        }
        if state.holds() {
            group.holding += 1;
            self.holding += 1;
        }
        if let Some(at) = lent_from {
            self.lent_from.insert((at, key.clone()));
        }
        let member = Member {
            group: name.clone(),
            state,
            lent_from,
        };
        self.members.insert(key.clone(), member);
        self.relist(&name);
    }

    fn uncount(&mut self, key: &Key, member: &Member) {
        if let Some(at) = member.lent_from {
            self.lent_from.remove(&(at, key.clone()));
        }
        let Some(group) = self.groups.get_mut(&member.group) else {
            return;
        };
        group.members -= 1;
        if let State::Waiting(rank) = member.state {
            group.waiting.remove(&(rank, key.clone()));
        }
        if member.state.holds() {
            group.holding -= 1;
            self.holding -= 1;
        }
    }

    /// Lists a group among those that may start one, or not; forgets one of which nothing is to be known.
    fn relist(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let may_start = group.has_room() && !group.waiting.is_empty();
        match (group.listed, may_start) {
            (None, true) => {
                group.pass = group.pass.max(self.pass);
                group.listed = Some(group.pass);
                self.ready.insert((group.pass, name.clone()));
            }
            (Some(pass), false) => {
                group.listed = None;
                self.ready.remove(&(pass, name.clone()));
            }
            (None, false) | (Some(_), true) => {}
        }
        if group.members == 0 && group.limits == Limits::default() {
            self.groups.remove(name);
        }
    }
}
