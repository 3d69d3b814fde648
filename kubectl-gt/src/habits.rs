//! What the fingers of a Gas Town user type: `gt`'s flags that mean one of ours, and its commands that are not here, answered
//! with what is.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// `gt`'s commands that are not here, with what does their work in a cluster.
const ELSEWHERE: [(&[&str], &str); 10] = [
    (
        &["convoy", "convoys"],
        "sling each bead, and list the polecats of the rig with `kubectl gt polecat list RIG`",
    ),
    (
        &["mail", "nudge", "broadcast", "escalate", "dnd"],
        "a pod takes no messages while it works: end it with `kubectl gt nuke RIG/NAME`, and sling the task in other words",
    ),
    (
        &[
            "mayor", "deacon", "boot", "dog", "daemon", "up", "down", "start", "shutdown",
        ],
        "the operator runs in the cluster and starts by itself; `kubectl gt doctor` says whether it does",
    ),
    (
        &["witness", "patrol"],
        "the operator watches every polecat; `kubectl gt status` shows what it found",
    ),
    (
        &["refinery", "mq", "merge", "synthesis"],
        "branches are merged where your git host merges them; `kubectl gt polecat list -o wide` shows the branches",
    ),
    (
        &[
            "done", "handoff", "hook", "unsling", "prime", "mol", "molecule", "commit",
        ],
        "an agent ends by itself, and its commits are pushed then; `kubectl gt polecat status RIG/NAME` shows where it stands",
    ),
    (
        &["crew", "session", "attach"],
        "`kubectl gt polecat attach RIG/NAME` opens a shell beside the agent",
    ),
    (
        &["bd", "bead", "beads", "ready", "show", "close"],
        "beads stay in the repository: use `bd` there, and commit .beads/issues.jsonl",
    ),
    (
        &["install", "init", "upgrade", "git-init"],
        "install or upgrade the chart with helm, see the README; `kubectl gt rig create` adds a repository",
    ),
    (
        &[
            "feed",
            "dashboard",
            "trail",
            "log",
            "audit",
            "activity",
            "stale",
            "agents",
        ],
        "`kubectl gt status --watch` shows the town, `kubectl gt logs RIG/NAME -f` what one agent does",
    ),
];

/// `--json` is `-o json`; what follows `--` is another program's.
pub fn translate(args: Vec<OsString>) -> Vec<OsString> {
    let mut ours = true;
    let translated = args.into_iter().map(|word| {
        ours &= word != "--";
        if ours && word == "--json" {
            "--output=json".into()
        } else {
            word
        }
    });
    translated.collect()
}

/// What to say of a command that is Gas Town's and not ours.
pub fn answer(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    match error.get(ContextKind::InvalidSubcommand)? {
        ContextValue::String(word) => elsewhere(word),
        _ => None,
    }
}

fn elsewhere(word: &str) -> Option<String> {
    let (_, instead) = ELSEWHERE.iter().find(|(words, _)| words.contains(&word))?;
    Some(format!("`gt {word}` has no counterpart in kubectl gt: {instead}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Cli;

    fn of(line: &str) -> Result<Cli, clap::Error> {
        let words = line.split(' ').map(OsString::from).collect();
        Cli::try_parse_from(translate(words))
    }

    #[test]
    fn what_gt_users_type_is_understood() {
        for line in [
            "kubectl-gt peek demo/furiosa",
            "kubectl-gt logs demo/furiosa -f",
            "kubectl-gt nuke demo/furiosa demo/nux",
            "kubectl-gt nuke demo --all",
            "kubectl-gt polecat idle demo/furiosa",
            "kubectl-gt polecat resume demo/furiosa",
            "kubectl-gt rig list --json",
            "kubectl-gt polecat list demo --json",
            "kubectl-gt status --json",
            "kubectl-gt rig add demo https://github.com/a/b",
            "kubectl-gt rig create demo --git-url https://github.com/a/b --prefix mp",
        ] {
            assert!(
                of(line).is_ok(),
                "{line}: {:?}",
                of(line).err().map(|error| error.to_string())
            );
        }
        let after = translate(["attach", "--", "jq", "--json"].map(OsString::from).to_vec());
        assert_eq!(after[3], "--json", "what another program is given stays");
    }

    #[test]
    fn what_is_not_here_says_what_is() {
        for (words, instead) in [
            ("mail", "nuke"),
            ("convoy", "polecat list"),
            ("mayor", "doctor"),
            ("mq", "git host"),
            ("crew", "attach"),
            ("feed", "status --watch"),
        ] {
            let error = of(&format!("kubectl-gt {words} x")).unwrap_err();
            let answer = answer(&error).unwrap();
            assert!(answer.contains(instead) && answer.contains(words), "{answer}");
        }
        for line in [
            "kubectl-gt polecat mail x",
            "kubectl-gt stat",
            "kubectl-gt rig list --all",
        ] {
            assert_eq!(
                answer(&of(line).unwrap_err()).is_some(),
                line.contains("mail"),
                "{line}"
            );
        }
    }

    #[test]
    fn every_command_that_is_named_instead_exists_and_none_of_those_that_do_not() {
        let command = crate::command_line();
        for (words, instead) in ELSEWHERE {
            for word in words {
                assert!(command.find_subcommand(word).is_none(), "{word} exists");
            }
            for line in instead.split('`').filter(|part| part.starts_with("kubectl gt ")) {
                let mut found = &command;
                for word in line
                    .split(' ')
                    .skip(2)
                    .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
                {
                    found = found.find_subcommand(word).unwrap_or_else(|| panic!("{line}"));
                }
            }
        }
    }
}
