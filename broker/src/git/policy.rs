//! Which pushes are taken: decided from the list of commands alone, before a byte of the pack is read and before
//! any connection to the remote.

use gastown_api::git::{BranchName, Sha};
use gastown_api::reason::Reason;

use super::pkt::Request;

/// The refs of this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `refs/heads/…` of the base branch.
    pub base: String,
    /// `refs/heads/…` of the work branch.
    pub work: String,
    /// This pod's WIP ref, as it is pushed to the broker and, where the remote takes it, to the remote.
    pub wip: String,
    /// Where the snapshot goes on a remote that refuses `refs/gastown/`.
    pub wip_as_branch: String,
}

/// What the remote is known to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tips {
    /// The work branch.
    pub work: Option<Sha>,
    /// This pod's snapshot.
    pub wip: Option<Sha>,
}

/// Which of the two refs a push moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The work branch.
    Work,
    /// This pod's WIP ref.
    Wip,
}

/// A ref that a push may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushable<'a> {
    /// Which.
    pub target: Target,
    /// Its exact name.
    pub name: &'a str,
    /// Who may move it.
    pub mover: Mover,
    /// Where it is: a push must say so.
    pub old: Option<&'a Sha>,
}

/// Who may move a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// Any container, while the attempt is at work.
    AtWork,
    /// Any container, also once the broker has stopped.
    Always,
}

/// A push whose command is allowed; what it brings is still to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The ref.
    pub target: Target,
    /// Where it is.
    pub old: Option<Sha>,
    /// Where it is to be.
    pub new: Sha,
}

/// The rule that refuses a push; its text is what the agent and the object's status show.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("a push moves exactly one ref, not {count}; push {work:?} alone")]
    SeveralCommands { count: usize, work: String },
    #[error("the option {option:?} is not taken; push without options")]
    Option { option: String },
    #[error("only {work:?} may be pushed")]
    OtherRef { work: String },
    #[error("nothing may be deleted")]
    Delete,
    #[error("object ids have {found} digits; this repository's have {want}")]
    ObjectFormat { found: usize, want: usize },
    #[error("the polecat is stopped ({reason}); only its snapshot is taken")]
    Stopped { reason: Reason },
    #[error("the ref is not where the push says: fetch, merge and push again")]
    Stale,
    #[error("not a fast-forward: fetch, merge and push again; history is never rewritten")]
    NotFastForward,
    #[error("it does not descend from the base {base}")]
    NotFromBase { base: Sha },
    #[error("{path:?} may not be changed by a polecat, not in any commit; drop the change and push again")]
    DeniedPath { path: String },
    #[error("it is no commit")]
    NotACommit,
    #[error("objects are missing; push from a full clone")]
    MissingObjects,
    #[error("the push is larger than {limit} bytes; leave out what is generated or downloaded")]
    TooLarge { limit: u64 },
    #[error("the objects are not accepted: {words}")]
    BadObjects { words: String },
    #[error("the remote moved: fetch, merge and push again")]
    RemoteMoved,
    #[error("the remote did not take it: {reason}: {words}")]
    Remote { reason: Reason, words: String },
}

impl Refusal {
    /// What kept the remote from taking the push, where that was no rule.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Remote { reason, .. } if *reason != Reason::PushRefused => Some(*reason),
            _ => None,
        }
    }
}

impl Names {
    /// The names for one pod of one polecat.
    pub fn new(base: &BranchName, work: &BranchName, polecat: &str, pod_uid: &str) -> Self {
        let uid: String = pod_uid
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(8)
            .collect();
        Self {
            base: base.full(),
            work: work.full(),
            wip: format!("refs/gastown/wip/{polecat}/{uid}"),
            wip_as_branch: format!("refs/heads/gastown-wip/{polecat}/{uid}"),
        }
    }

    /// Whether `name` can be the snapshot of an earlier pod of this polecat: no other ref of the remote is shown to the
    /// agent because a status names it.
    #[must_use]
    pub fn is_earlier_snapshot(&self, name: &str) -> bool {
        let own = [&self.wip, &self.wip_as_branch];
        let mut folders = own.into_iter().filter_map(|own| Some(own.rsplit_once('/')?.0));
        let Some((folder, uid)) = name.rsplit_once('/') else {
            return false;
        };
        let is_uid = (1..=8).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_uid && own.into_iter().all(|own| own != name) && folders.any(|known| known == folder)
    }

    /// The refs that a polecat's pod may push, the one that is named in refusals first.
    #[must_use]
    pub fn pushable<'a>(&'a self, tips: &'a Tips) -> [Pushable<'a>; 2] {
        let pushable = |target, mover| Pushable {
            target,
            name: self.of(target),
            mover,
            old: tips.of(target),
        };
        [
            pushable(Target::Work, Mover::AtWork),
            pushable(Target::Wip, Mover::Always),
        ]
    }

    /// The name under which the broker serves a target.
    #[must_use]
    pub fn of(&self, target: Target) -> &str {
        match target {
            Target::Work => &self.work,
            Target::Wip => &self.wip,
        }
    }
}

impl Tips {
    /// Where a target is.
    #[must_use]
    pub fn of(&self, target: Target) -> Option<&Sha> {
        match target {
            Target::Work => self.work.as_ref(),
            Target::Wip => self.wip.as_ref(),
        }
    }
}

/// Decides about the commands of a push: one of `refs` may be moved, from where the remote has it. `stopped` is why the broker
/// has stopped, if it has; `hex_length` the number of digits of the repository's object ids.
pub fn decide(
    request: &Request,
    refs: &[Pushable<'_>],
    stopped: Option<Reason>,
    hex_length: usize,
) -> Result<Move, Refusal> {
    let name = || {
        refs.first()
            .map_or_else(String::new, |first| first.name.to_owned())
    };
    let [command] = request.commands.as_slice() else {
        return Err(Refusal::SeveralCommands {
            count: request.commands.len(),
            work: name(),
        });
    };
    if let Some(option) = request.capabilities.iter().find(|option| !is_known(option)) {
        return Err(Refusal::Option {
            option: option.chars().take(100).collect(),
        });
    }
    // Byte for byte: a ref in other letters, with another prefix or a symbolic one such as `HEAD` is another ref.
    let pushed = refs.iter().find(|pushable| pushable.name == command.name);
    let pushed = pushed.ok_or_else(|| Refusal::OtherRef { work: name() })?;
    if let (Mover::AtWork, Some(reason)) = (pushed.mover, stopped) {
        return Err(Refusal::Stopped { reason });
    }
    let new = command.new.clone().ok_or(Refusal::Delete)?;
    for id in command.old.iter().chain([&new]) {
        if id.as_str().len() != hex_length {
            return Err(Refusal::ObjectFormat {
                found: id.as_str().len(),
                want: hex_length,
            });
        }
    }
    if command.old.as_ref() != pushed.old {
        return Err(Refusal::Stale);
    }
    Ok(Move {
        target: pushed.target,
        old: command.old.clone(),
        new,
    })
}

/// What the broker's advertisement offers, and what git adds unasked.
fn is_known(capability: &str) -> bool {
    let named = ["report-status", "delete-refs", "ofs-delta"];
    let valued = ["object-format=", "agent=", "session-id="];
    named.contains(&capability) || valued.iter().any(|prefix| capability.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::super::pkt::Command;
    use super::*;

    fn sha(digit: char) -> Sha {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn names() -> Names {
        let branch = |text: &str| text.parse().unwrap();
        Names::new(&branch("main"), &branch("polecat/x"), "furiosa", "01234567-89ab")
    }

    fn tips() -> Tips {
        Tips {
            work: Some(sha('a')),
            wip: None,
        }
    }

    fn command(old: Option<char>, new: Option<char>, name: &str) -> Command {
        Command {
            old: old.map(sha),
            new: new.map(sha),
            name: name.to_owned(),
        }
    }

    fn judged(
        commands: Vec<Command>,
        capabilities: &[&str],
        stopped: Option<Reason>,
    ) -> Result<Move, Refusal> {
        let request = Request {
            commands,
            capabilities: capabilities.iter().map(|c| (*c).to_owned()).collect(),
        };
        decide(&request, &names().pushable(&tips()), stopped, 40)
    }

    #[test]
    fn the_work_branch_and_this_pods_wip_ref_are_taken() {
        let work = judged(
            vec![command(Some('a'), Some('b'), "refs/heads/polecat/x")],
            &["report-status", "agent=git/2.39", "object-format=sha1"],
            None,
        );
        assert_eq!(work.unwrap().target, Target::Work);
        let wip = judged(
            vec![command(None, Some('b'), "refs/gastown/wip/furiosa/01234567")],
            &[],
            Some(Reason::BudgetSpent),
        );
        assert_eq!(wip.unwrap().target, Target::Wip);
    }

    #[test]
    fn every_other_ref_is_refused() {
        for name in [
            "refs/heads/main",
            "refs/heads/polecat",
            "refs/heads/polecat/x/y",
            "refs/heads/polecat/X",
            "refs/heads/polecat/x/",
            "refs/heads//polecat/x",
            "refs/heads/./polecat/x",
            "refs/heads/polecat/x.lock",
            "polecat/x",
            "heads/polecat/x",
            "HEAD",
            "refs/heads/HEAD",
            "refs/tags/polecat/x",
            "refs/tags/v1",
            "refs/replace/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "refs/for/main",
            "refs/merge-requests/1/head",
            "refs/pull/1/head",
            "refs/notes/commits",
            "refs/gastown/wip/furiosa",
            "refs/gastown/wip/furiosa/01234568",
            "refs/gastown/wip/furiosa/01234567/x",
            "refs/heads/gastown-wip/furiosa/01234567",
            "refs/heads/polécat/x",
        ] {
            let refused = judged(vec![command(None, Some('b'), name)], &[], None);
            assert!(
                matches!(refused, Err(Refusal::OtherRef { .. })),
                "{name}: {refused:?}"
            );
        }
    }

    #[test]
    fn only_an_earlier_pods_snapshot_is_one() {
        for name in [
            "refs/gastown/wip/furiosa/fedcba98",
            "refs/heads/gastown-wip/furiosa/1",
        ] {
            assert!(names().is_earlier_snapshot(name), "{name}");
        }
        for name in [
            "refs/gastown/wip/furiosa/01234567",
            "refs/heads/gastown-wip/furiosa/01234567",
            "refs/gastown/wip/nux/fedcba98",
            "refs/gastown/wip/furiosa/fedcba98x",
            "refs/gastown/wip/furiosa/",
            "refs/gastown/wip/furiosa/../..",
            "refs/gastown/wip/furiosa/a:b",
            "refs/gastown/wip/furiosa",
            "refs/heads/main",
            "main",
            "",
        ] {
            assert!(!names().is_earlier_snapshot(name), "{name}");
        }
    }

    #[test]
    fn several_commands_deletes_options_and_stale_tips_are_refused() {
        let work = "refs/heads/polecat/x";
        let good = || command(Some('a'), Some('b'), work);
        let cases: [(_, &[&str], _); 8] = [
            (vec![good(), good()], &[], "exactly one"),
            (vec![], &[], "exactly one"),
            (vec![command(Some('a'), None, work)], &[], "deleted"),
            (vec![good()], &["push-options"], "push-options"),
            (vec![good()], &["atomic"], "atomic"),
            (vec![good()], &["push-cert=x"], "push-cert"),
            (vec![command(Some('c'), Some('b'), work)], &[], "not where"),
            (vec![command(None, Some('b'), work)], &[], "not where"),
        ];
        for (commands, capabilities, rule) in cases {
            let refusal = judged(commands, capabilities, None).unwrap_err().to_string();
            assert!(refusal.contains(rule), "{refusal}");
        }
    }

    #[test]
    fn a_stopped_polecat_delivers_nothing_more() {
        let push = vec![command(Some('a'), Some('b'), "refs/heads/polecat/x")];
        let refused = judged(push, &[], Some(Reason::BudgetSpent));
        let reason = Reason::BudgetSpent;
        assert_eq!(refused, Err(Refusal::Stopped { reason }));
    }

    #[test]
    fn a_ref_that_is_not_on_the_list_is_another_one_and_each_has_its_own_mover() {
        let (names, tips) = (names(), tips());
        let [work, wip] = names.pushable(&tips);
        let push = |name: &str, refs: &[Pushable<'_>], stopped| {
            let old = if name == names.work { Some('a') } else { None };
            let request = Request {
                commands: vec![command(old, Some('b'), name)],
                capabilities: Vec::new(),
            };
            decide(&request, refs, stopped, 40)
        };
        let other = |refused| matches!(refused, Err(Refusal::OtherRef { .. }));
        assert!(other(push(&names.work, &[], None)));
        assert!(other(push(&names.work, &[wip], None)));
        assert!(other(push(&names.wip, &[work], None)));
        let stopped = Some(Reason::BudgetSpent);
        let late = Pushable {
            mover: Mover::Always,
            ..work
        };
        assert!(push(&names.work, &[late], stopped).is_ok());
        let early = Pushable {
            mover: Mover::AtWork,
            ..wip
        };
        assert!(push(&names.wip, &[early], None).is_ok());
        assert!(push(&names.wip, &[early], stopped).is_err());
        let moved = Pushable { old: None, ..work };
        assert_eq!(push(&names.work, &[moved], None), Err(Refusal::Stale));
    }

    #[test]
    fn ids_of_another_object_format_are_refused() {
        let request = Request {
            commands: vec![Command {
                old: None,
                new: Some("b".repeat(64).parse().unwrap()),
                name: "refs/heads/polecat/x".to_owned(),
            }],
            capabilities: Vec::new(),
        };
        let refused = decide(&request, &names().pushable(&Tips::default()), None, 40);
        assert_eq!(refused, Err(Refusal::ObjectFormat { found: 64, want: 40 }));
    }

    #[test]
    fn a_pod_uid_of_odd_characters_cannot_leave_its_folder() {
        let branch = |text: &str| text.parse().unwrap();
        let names = Names::new(&branch("main"), &branch("w"), "furiosa", "../../heads/main");
        assert_eq!(names.wip, "refs/gastown/wip/furiosa/headsmai");
    }
}
