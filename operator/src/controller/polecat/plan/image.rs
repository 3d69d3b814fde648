//! Whether the image of the agent may run: asked before an attempt is claimed, and again before its pod is made.

use jiff::Timestamp;

use super::Plan;
use super::step::{Act, Step};
use crate::controller::polecat::status::Progress;
use crate::controller::polecat::validate::Work;
use crate::images::Answer;
use crate::types::{Refusal, Transition};

/// What is known of the image of some work.
pub(super) enum Admission {
    /// It may run, and the work names it by its digest.
    Allowed(Box<Work>),
    /// It has to be asked about.
    Unknown(Step),
    /// It may not run.
    Refused(Refusal),
    /// Nobody can tell until then.
    Unreachable(Refusal, Timestamp),
}

impl Plan<'_> {
    pub(super) fn admission(&self, mut work: Work) -> Admission {
        let Some(question) = work.image_question.take() else {
            return Admission::Allowed(Box::new(work));
        };
        let known = self
            .observed
            .image
            .as_ref()
            .filter(|(asked, _)| *asked == question);
        match known.map(|(_, answer)| answer.clone()) {
            None => Admission::Unknown(Step::Act(Act::AskForImage(Box::new(question)))),
            Some(Answer::Allowed { pinned }) => {
                work.image = pinned;
                Admission::Allowed(Box::new(work))
            }
            Some(Answer::Refused(refusal)) => Admission::Refused(refusal),
            Some(Answer::Unreachable { refusal, again }) => Admission::Unreachable(refusal, again),
        }
    }

    /// The work with its image by digest, where that is known.
    pub(super) fn named_as_it_runs(&self, work: Work) -> Work {
        match self.admission(work.clone()) {
            Admission::Allowed(pinned) => *pinned,
            _ => work,
        }
    }

    /// Parked without a pod: nothing was tried yet, and it goes on by itself.
    pub(super) fn wait_for_the_registry(&self, refusal: &Refusal, again: Timestamp) -> Step {
        let is_new = self.reason_before() != Some(refusal.reason.as_str());
        let transition = is_new.then(|| Transition::warning(refusal.reason, refusal.message.clone()));
        self.write_or_wait(self.builder.parked(refusal), transition, Some(again))
    }

    /// The same of an attempt that is claimed.
    pub(super) fn parked_for(refusal: &Refusal) -> Progress {
        Progress {
            pod_uid: None,
            active: false,
            reason: refusal.reason,
            message: refusal.message.clone(),
            parked: true,
            failing_checkpoints: None,
            stopped_for: None,
        }
    }
}
