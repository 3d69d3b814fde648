//! Whether images may run: registries are asked in the background, once for all who wait for the same, and the answers kept.

mod answers;
mod find_out;
mod question;

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use self::answers::{Answers, Asking, Known};
use self::find_out::{Found, find_out};
pub use self::question::{Answer, Question};
use crate::types::{Key, Settings};

/// Images that are looked up at once: it bounds connections and memory.
const AT_ONCE: usize = 4;

/// What is known of images.
pub struct Images {
    settings: Arc<Settings>,
    answers: Arc<Answers>,
    room: Arc<Semaphore>,
}

/// What comes of asking.
pub enum Asked {
    /// The answer is known.
    Known(Answer),
    /// This finds it out; it ends with those who asked meanwhile.
    Errand(BoxFuture<'static, Vec<Key>>),
    /// Somebody else's errand does.
    Joined,
}

impl Images {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            answers: Arc::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Asks for `who`.
    #[must_use]
    pub fn ask(&self, question: &Question, who: &Key, now: Timestamp) -> Asked {
        match self.answers.look_up(question, who, now) {
            Known::Answer(answer) => Asked::Known(answer),
            Known::IsAsked => Asked::Joined,
            Known::Nothing(asking) => Asked::Errand(self.errand(question.clone(), asking).boxed()),
        }
    }

    fn errand(&self, question: Question, asking: Asking) -> impl Future<Output = Vec<Key>> + 'static + use<> {
        let (settings, answers, room) = (self.settings.clone(), self.answers.clone(), self.room.clone());
        async move {
            let _room = room.acquire().await;
            let found = find_out(&settings, &question, |pinned| {
                answers.is_allowed(&question, pinned)
            })
            .await;
            if let Found::Allowed { pinned } = &found {
                tracing::info!(image = %question, pinned, "an image may run");
            }
            asking.answer(&question, found, Timestamp::now())
        }
    }
}

#[cfg(test)]
mod tests;
