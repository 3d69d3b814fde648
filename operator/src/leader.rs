//! Which replica leads: the rules of Kubernetes' own leader election, as a pure function of the Lease.
//!
//! No clocks of two machines are compared: a replica that waits takes the Lease when it has not changed for its
//! duration by the waiting replica's own clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long a Lease holds that is not renewed.
pub const DURATION: Duration = Duration::from_secs(4);
/// How often its holder renews it.
pub const RENEW_PERIOD: Duration = Duration::from_millis(1500);
/// How often a replica that waits looks at it: once a second is what an idle operator may read.
pub const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// After this time without a renewal a leader stops, before anyone else may start.
pub const DEADLINE: Duration = Duration::from_millis(3500);

/// What a replica remembers of the Lease.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    last: Option<(LeaseSpec, Instant)>,
}

/// What a replica does with the Lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Write this, with the resource version that was read as precondition.
    Write(LeaseSpec),
    /// Someone else holds it.
    Wait,
}

impl Memory {
    /// What `identity` does with the Lease it has read.
    pub fn decide(&mut self, identity: &str, lease: &Lease, now: Timestamp, clock: Instant) -> Decision {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder == identity || holder.is_empty() {
            return Decision::Write(held(identity, &spec, now));
        }
        let since = match &self.last {
            Some((last, since)) if *last == spec => *since,
            _ => clock,
        };
        let duration = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let duration = duration.map_or(DURATION, Duration::from_secs);
        let decision = if clock.duration_since(since) >= duration {
            Decision::Write(held(identity, &spec, now))
        } else {
            Decision::Wait
        };
        self.last = Some((spec, since));
        decision
    }
}

/// The Lease as its holder writes it.
#[must_use]
pub fn held(identity: &str, before: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    let renewal = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    let seconds = i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(seconds),
        acquire_time: before
            .acquire_time
            .clone()
            .filter(|_| renewal)
            .or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if renewal { transitions } else { transitions + 1 }),
        ..before.clone()
    }
}

/// The Lease as its holder leaves it: nobody has to wait.
#[must_use]
pub fn released(before: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(spec: LeaseSpec) -> Lease {
        Lease {
            spec: Some(spec),
            ..Lease::default()
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_free_lease_is_taken_and_counted_as_a_transition() {
        let decision = Memory::default().decide("a", &Lease::default(), at(5), Instant::now());
        let Decision::Write(spec) = decision else {
            panic!("{decision:?}")
        };
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(spec.lease_transitions, Some(1));
    }

    #[test]
    fn a_renewal_keeps_the_time_of_acquisition() {
        let first = held("a", &LeaseSpec::default(), at(5));
        let second = held("a", &first, at(9));
        assert_eq!(second.acquire_time, Some(MicroTime(at(5))));
        assert_eq!(second.renew_time, Some(MicroTime(at(9))));
        assert_eq!(second.lease_transitions, Some(1));
    }

    #[test]
    fn a_lease_that_does_not_change_is_taken_after_its_duration_by_our_own_clock() {
        // The holder's clock is years ahead: it must not matter.
        let theirs = lease(held("b", &LeaseSpec::default(), at(4_000_000_000)));
        let mut memory = Memory::default();
        let start = Instant::now();
        let decide = |memory: &mut Memory, lease: &Lease, seconds| {
            memory.decide("a", lease, at(5), start + Duration::from_secs(seconds))
        };
        assert_eq!(decide(&mut memory, &theirs, 0), Decision::Wait);
        assert_eq!(decide(&mut memory, &theirs, 3), Decision::Wait);
        let renewed = lease(held("b", theirs.spec.as_ref().unwrap(), at(4_000_000_001)));
        assert_eq!(decide(&mut memory, &renewed, 4), Decision::Wait);
        assert_eq!(decide(&mut memory, &renewed, 7), Decision::Wait);
        assert!(matches!(decide(&mut memory, &renewed, 8), Decision::Write(_)));
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let released = lease(released(&held("b", &LeaseSpec::default(), at(5)), at(6)));
        let decision = Memory::default().decide("a", &released, at(7), Instant::now());
        assert!(matches!(decision, Decision::Write(_)));
    }
}
