//! The engine's container runtime on machines that lack `CAP_SYS_RESOURCE`: takes that capability out of what runc
//! is asked for, because runc cannot give a container what it does not have itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::machine;

/// What the engine passes to runc.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runc: Vec<OsString>,
}

const MISSING: &str = "CAP_SYS_RESOURCE";

/// Edits the file that describes the process, then becomes runc.
pub fn run(args: Args) -> Result<()> {
    if let Some(file) = described_in(&args.runc) {
        edit(&file)?;
    }
    let error = std::process::Command::new(machine::path("runc"))
        .args(args.runc)
        .exec();
    Err(error).context("failed to become runc")
}

/// The file that describes the process to start: `config.json` of `--bundle`, or the file of `exec --process`.
fn described_in(arguments: &[OsString]) -> Option<PathBuf> {
    let value_of = |names: &[&str]| {
        arguments.iter().enumerate().find_map(|(index, argument)| {
            let argument = argument.to_str()?;
            names.iter().find_map(|name| match argument.strip_prefix(name)? {
                "" => arguments.get(index + 1).map(PathBuf::from),
                value => value.strip_prefix('=').map(PathBuf::from),
            })
        })
    };
    let is = |command: &str| arguments.iter().any(|argument| argument == OsStr::new(command));
    if is("exec") {
        value_of(&["--process", "-p"])
    } else if is("create") || is("run") {
        value_of(&["--bundle", "-b"]).map(|bundle| bundle.join("config.json"))
    } else {
        None
    }
}

fn edit(file: &Path) -> Result<()> {
    let mut description = serde_json::from_slice(&fs_err::read(file)?)
        .with_context(|| format!("{file:?} describes no container"))?;
    remove_capability(&mut description);
    Ok(fs_err::write(file, serde_json::to_vec(&description)?)?)
}

/// Removes the capability from every set of the process that `description` is, or holds as `process`.
fn remove_capability(description: &mut Value) {
    let process = if description.get("process").is_some() {
        &mut description["process"]
    } else {
        description
    };
    let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) else {
        return;
    };
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.retain(|capability| capability != MISSING);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_capability_leaves_every_set_and_nothing_else_does() {
        let sets = json!({"bounding": ["CAP_CHOWN", MISSING], "effective": [MISSING]});
        let expected = json!({"bounding": ["CAP_CHOWN"], "effective": []});
        let mut config = json!({"ociVersion": "1.0.2", "process": {"args": ["sh"], "capabilities": sets}});
        remove_capability(&mut config);
        assert_eq!(
            config,
            json!({"ociVersion": "1.0.2", "process": {"args": ["sh"], "capabilities": expected}})
        );
        let mut process = json!({"args": ["sh"], "capabilities": sets});
        remove_capability(&mut process);
        assert_eq!(process["capabilities"], expected);
    }

    #[test]
    fn a_process_without_capabilities_stays_as_it_is() {
        let mut process = json!({"args": ["sh"]});
        remove_capability(&mut process);
        assert_eq!(process, json!({"args": ["sh"]}));
    }

    #[test]
    fn what_runc_is_asked_for_tells_the_file() {
        let create = words("--root /run/runc --log /l create --bundle /b --pid-file /p abc");
        assert_eq!(described_in(&create), Some("/b/config.json".into()));
        let exec = words("--root /run/runc exec --process /tmp/p --detach abc");
        assert_eq!(described_in(&exec), Some("/tmp/p".into()));
        assert_eq!(
            described_in(&words("create --bundle=/b abc")),
            Some("/b/config.json".into())
        );
        assert_eq!(described_in(&words("--root /run/runc kill abc 9")), None);
    }
}
