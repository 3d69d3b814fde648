//! The steps of a push that come before git, and the words of a git host.

use axum::extract::Request;
use gastown_api::git::Sha;
use gastown_api::reason::Reason;

pub use super::policy::{Names, Tips};

use super::classify::{Act, classify};
use super::inbound::Inbound;
use super::pkt::{self, MAX_HEAD};
use super::policy::decide;
use super::receive::read_head;

/// A push whose commands were read.
#[derive(Debug)]
pub struct Pushed {
    /// The refs it names, in its order.
    pub refs: Vec<String>,
    /// The ref that may move, from where, and to where; or the rule that refuses it.
    pub judged: Result<(String, Option<Sha>, Sha), String>,
    /// What the client is answered where it is refused.
    pub report: String,
}

/// Reads the commands of a push and judges them, as [`super::Repository::receive`] does.
pub async fn push(request: Request, names: &Names, tips: &Tips) -> Result<Pushed, String> {
    let limit = u64::try_from(MAX_HEAD).unwrap_or(u64::MAX);
    let mut inbound = Inbound::new(request, limit).map_err(|error| error.to_string())?;
    let (request, _pack) = read_head(&mut inbound).await.map_err(|error| error.to_string())?;
    let judged = decide(&request, &names.pushable(tips), None, 40);
    let judged = judged.map(|step| (names.of(step.target).to_owned(), step.old, step.new));
    let judged = judged.map_err(|refusal| refusal.to_string());
    let refs: Vec<String> = request.commands.into_iter().map(|command| command.name).collect();
    let why = judged.as_ref().err().map_or("", String::as_str);
    let outcomes: Vec<(&str, Result<(), &str>)> = refs.iter().map(|name| (name.as_str(), Err(why))).collect();
    Ok(Pushed {
        report: pkt::report(Ok(()), &outcomes),
        refs,
        judged,
    })
}

/// What a git host's words mean for a push, and what of them is shown.
#[must_use]
pub fn remote_failure(words: &str) -> (Reason, String) {
    let failure = classify(Act::Write, words, None, "host");
    (failure.reason, failure.message)
}
