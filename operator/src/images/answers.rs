//! Answers, how long they hold, and who waits for one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gastown_crypto::Digest;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::find_out::Found;
use super::question::{Answer, Question};
use crate::types::{Key, later};

/// How long a tag counts as leading where it led. What it led to was allowed, so a tag that has moved since does no harm.
const TAG: SignedDuration = SignedDuration::from_secs(60);
/// How long a refusal holds: for all who asked at once, and not for who signed the image and asks again.
const REFUSAL: SignedDuration = SignedDuration::from_secs(5);
/// The pauses after a registry that could not be asked: the first, and the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(360);
/// The most that is kept; more is forgotten and asked anew.
const MOST: usize = 4096;

/// An image's name, and the policies.
type Id = (String, Digest);

/// What is known.
#[derive(Default)]
pub(super) struct Answers(Mutex<Held>);

#[derive(Default)]
struct Held {
    answers: HashMap<Id, Kept>,
    /// Images by digest, which are allowed for good.
    allowed: HashSet<Id>,
    /// Who waits for an answer.
    asking: HashMap<Id, HashSet<Key>>,
}

struct Kept {
    answer: Answer,
    until: Timestamp,
    /// How often in a row nobody could be asked.
    failures: u32,
}

/// What is known of a question.
pub(super) enum Known {
    Answer(Answer),
    IsAsked,
    Nothing(Asking),
}

/// Somebody finds it out. Dropped, nobody does any more, and the next who asks begins anew.
pub(super) struct Asking {
    answers: Arc<Answers>,
    id: Id,
}

impl Answers {
    pub(super) fn look_up(self: &Arc<Self>, question: &Question, who: &Key, now: Timestamp) -> Known {
        let id = question.id();
        let mut held = self.0.lock();
        if let Some(kept) = held.answers.get(&id).filter(|kept| now < kept.until) {
            return Known::Answer(kept.answer.clone());
        }
        if let Some(waiting) = held.asking.get_mut(&id) {
            waiting.insert(who.clone());
            return Known::IsAsked;
        }
        held.asking.insert(id.clone(), HashSet::from([who.clone()]));
        let answers = self.clone();
        Known::Nothing(Asking { answers, id })
    }

    /// Whether the image of this name was found to be allowed before.
    pub(super) fn is_allowed(&self, question: &Question, pinned: &str) -> bool {
        self.0.lock().allowed.contains(&question.id_of(pinned))
    }
}

impl Asking {
    /// Keeps what was found, and says who waited for it.
    pub(super) fn answer(self, question: &Question, found: Found, now: Timestamp) -> Vec<Key> {
        let mut held = self.answers.0.lock();
        held.forget(now);
        let failures = held.answers.get(&self.id).map_or(0, |kept| kept.failures);
        let kept = match found {
            Found::Allowed { pinned } => {
                held.allowed.insert(question.id_of(&pinned));
                Kept {
                    answer: Answer::Allowed { pinned },
                    until: later(now, TAG),
                    failures: 0,
                }
            }
            Found::Refused(refusal) => Kept {
                answer: Answer::Refused(refusal),
                until: later(now, REFUSAL),
                failures: 0,
            },
            Found::Unreachable(refusal) => {
                let again = later(now, pause(failures));
                Kept {
                    answer: Answer::Unreachable { refusal, again },
                    until: again,
                    failures: failures.saturating_add(1),
                }
            }
        };
        held.answers.insert(self.id.clone(), kept);
        let waited = held.asking.remove(&self.id).unwrap_or_default();
        waited.into_iter().collect()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.answers.0.lock().asking.remove(&self.id);
    }
}

impl Held {
    /// What has run out goes when there is much, but for failures, which make the next pause longer.
    fn forget(&mut self, now: Timestamp) {
        if self.answers.len() >= MOST {
            self.answers.retain(|_, kept| now < kept.until);
        }
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        if self.allowed.len() >= MOST {
            self.allowed.clear();
        }
    }
}

fn pause(failures: u32) -> SignedDuration {
    let doubled = FIRST_PAUSE.checked_mul(1 << failures.min(10));
    doubled.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_six_minutes() {
        let pauses: Vec<_> = [0, 1, 2, 5, 6, 99]
            .map(|failures| pause(failures).as_secs())
            .into();
        assert_eq!(pauses, [10, 20, 40, 320, 360, 360]);
    }
}
