//! What the attempt machine has to know of a polecat.

use std::borrow::Cow;

use gastown_api::budget::Share;
use gastown_api::evidence::{BrokerState, Evidence};
use gastown_api::polecat::{Attempt, DesiredState, Polecat, PolecatPhase};
use gastown_api::reason::Reason;
use gastown_api::rig::Suspend;
use jiff::SignedDuration;
use kube::Resource as _;

use super::Plan;
use super::step::Act;
use crate::attempt::{self, Open, Owner, Wanted};
use crate::controller::polecat::build::pod::SHAPE;
use crate::controller::polecat::retry::reason_of;
use crate::controller::polecat::validate::timing::limits;
use crate::pod_view::{PodView, Shape};
use crate::types::Refusal;

impl Owner for Plan<'_> {
    type Act = Act;

    fn kind(&self) -> Cow<'_, str> {
        Polecat::kind(&())
    }

    fn uid(&self) -> Option<&str> {
        self.polecat().metadata.uid.as_deref()
    }

    fn shape(&self) -> Shape {
        SHAPE
    }

    fn grace_seconds(&self) -> i64 {
        i64::from(self.settings.config.grace_seconds)
    }

    fn longest_wait_for_a_node(&self) -> SignedDuration {
        let rig = self.observed.rig.as_deref();
        let longest = limits(self.polecat(), rig, &self.settings.config).parking_seconds;
        SignedDuration::from_secs(i64::try_from(longest).unwrap_or(i64::MAX))
    }

    fn has_own_image(&self) -> bool {
        let spec = &self.polecat().spec;
        let first = spec.kubernetes.as_ref().and_then(|k| k.image.as_deref());
        let second = spec.agent_config.as_ref().and_then(|a| a.image.as_deref());
        let mut images = first.into_iter().chain(second);
        images.any(|image| !image.trim().is_empty())
    }

    fn named_attempt(&self, pod_uid: &str) -> Option<i32> {
        let mut attempts = self.attempts().iter();
        let named = attempts.find(|a| a.pod_uid.as_deref() == Some(pod_uid));
        named.map(|a| a.number)
    }

    /// A deletion ends like `Terminated`, and what is that is so for good.
    fn wanted(&self) -> Wanted {
        if self.is_deleting() || self.phase() == Some(PolecatPhase::Terminated) {
            return Wanted::Stop(Reason::Terminated);
        }
        match self.polecat().spec.desired_state {
            DesiredState::Working if self.rig_rests() => Wanted::Stop(Reason::RigSuspended),
            DesiredState::Working => Wanted::Work,
            DesiredState::Idle => Wanted::Stop(Reason::Idle),
            DesiredState::Terminated => Wanted::Stop(Reason::Terminated),
        }
    }

    fn stopped_for(&self, open: &Open) -> Option<Refusal> {
        let attempt = self.attempt_numbered(open.number)?;
        let message = attempt.message.clone().unwrap_or_default();
        Some(Refusal::new(reason_of(attempt)?, message))
    }

    fn restore_marks(&self, number: i32, pod: &PodView) -> Option<Act> {
        let of_polecat = self.restore_polecat();
        of_polecat.or_else(|| self.restore_pod(number, pod).map(Act::Pod))
    }
}

impl Plan<'_> {
    pub(super) fn attempts(&self) -> &[Attempt] {
        self.status().map(|s| s.attempts.as_slice()).unwrap_or_default()
    }

    pub(super) fn attempt_numbered(&self, number: i32) -> Option<&Attempt> {
        self.attempts().iter().find(|a| a.number == number)
    }

    /// Whether no polecat of its rig may work.
    fn rig_rests(&self) -> bool {
        let rig = self.observed.rig.as_ref();
        rig.is_some_and(|rig| rig.spec.suspend == Suspend::All)
    }
}

impl attempt::Evidence for Evidence {
    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn state(&self) -> &BrokerState {
        &self.state
    }

    fn asks(&self) -> Option<Share> {
        self.asks
    }

    fn warns(&self) -> bool {
        self.checkpoints_failing.is_some()
    }
}
