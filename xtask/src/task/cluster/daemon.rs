//! Processes that outlive this one, told apart from strangers that got the same process id later.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::process::Command;
use crate::progress;

/// A process that was started by one run and may be ended by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot: with the id, this names one process.
    start_time: u64,
}

/// Executes its arguments, in the same process, in a session of its own and without the descriptors that this program
/// was started with: a lock or pipe of its caller would be held for as long as the daemon lives.
const DETACH: &str = r#"for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
done
exec setsid "$@""#;

impl Daemon {
    /// Starts `command` in a session of its own, with both outputs in the file `log`.
    pub fn start(command: Command, log: &Path) -> Result<Self> {
        let shown = command.to_string();
        let command = command.into_inner();
        let mut detached = std::process::Command::new("bash");
        detached.args(["-c", DETACH, "bash"]);
        detached.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => detached.env(key, value),
                None => detached.env_remove(key),
            };
        }
        let output = File::create(log).with_context(|| format!("failed to create {log:?}"))?;
        let errors = output
            .try_clone()
            .with_context(|| format!("failed to share {log:?}"))?;
        detached.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = detached
            .spawn()
            .with_context(|| format!("failed to start `{shown}`"))?;
        let pid = i32::try_from(child.id()).context("the process id is out of range")?;
        let stat = Stat::read(pid).with_context(|| format!("`{shown}` ended at once; see {log:?}"))?;
        Ok(Self {
            pid,
            start_time: stat.start_time,
        })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start_time == self.start_time && stat.state != 'Z')
    }

    /// Ends it without asking.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(10))
    }

    /// Waits until it has ended.
    pub fn wait(self, limit: Duration) -> Result<()> {
        let what = format!("the end of process {}", self.pid);
        progress::wait_until(&what, limit, Duration::from_millis(20), || Ok(!self.is_alive()))
    }

    /// The processes that it started itself and that still run.
    pub fn children(self) -> Result<Vec<Self>> {
        let mut children = Vec::new();
        for entry in fs_err::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(stat) = Stat::read(pid).filter(|stat| stat.parent == self.pid) {
                children.push(Self {
                    pid,
                    start_time: stat.start_time,
                });
            }
        }
        Ok(children)
    }

    /// Sends `signal` unless the process has ended.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) {
            // It may end between the look and the signal, which is what the signal was for.
            kill_process(pid, signal).ok();
        }
    }
}

/// What `/proc/PID/stat` says of a process, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Fields are counted behind the last `)`, because a program's name may hold spaces and parentheses
    /// (`proc_pid_stat(5)`: state is field 3, ppid 4, starttime 22).
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        Some(Self {
            state,
            parent: fields.get(1)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                state: 'S',
                parent: 3,
                start_time: 4242
            })
        );
    }

    #[test]
    fn a_reused_process_id_is_not_the_daemon() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let daemon = Daemon::start(Command::new("sleep").arg("60"), log.path()).unwrap();
        assert!(daemon.is_alive());
        assert!(
            !Daemon {
                start_time: daemon.start_time + 1,
                ..daemon
            }
            .is_alive()
        );
        daemon.kill().unwrap();
        assert!(!daemon.is_alive());
    }

    #[test]
    fn a_daemon_holds_no_descriptor_of_its_caller() {
        let script = r#"exec 7>&1; exec bash -c "$0" bash ls /proc/self/fd"#;
        let listed = Command::new("bash").args(["-c", script, DETACH]).text().unwrap();
        // The fourth is the folder that is listed.
        assert_eq!(
            listed.split_whitespace().collect::<Vec<_>>(),
            ["0", "1", "2", "3"]
        );
    }
}
