//! Runs the agent in a process group of its own, shows its output, passes SIGTERM on, and leaves nothing alive.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait, waitpid};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::agent::{Agent as Prepared, Stay};
use super::lines::{Line, Lines};
use super::show::{Transcript, event, raw};
use polecat_common::console::say;

/// How long the agent may take to end on SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How long output is read after everything was killed.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// How often the agent's processes are counted, and the most that it may have: no build has so many, and a pod's share of
/// its node's is some thousands. `RLIMIT_NPROC` cannot do it: it counts all processes of a user on the node, so that one
/// agent at its limit would keep the agents of other pods from starting anything.
const COUNT_EVERY: Duration = Duration::from_secs(1);
const MOST_PROCESSES: usize = 1000;

/// The most bytes of an event: images that tools return come in one line.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// The most bytes of a line of standard error.
const MAX_COMPLAINT: usize = 8 * 1024;

/// Why the agent could not be supervised.
#[derive(Debug, thiserror::Error)]
pub enum Supervise {
    /// It could not be started.
    #[error("failed to start {program:?}; spec.kubernetes.image must be built from the polecat-agent image")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Its end cannot be waited for.
    #[error("failed to wait for the agent")]
    Wait {
        /// What the system said.
        #[from]
        source: io::Error,
    },
}

/// How the agent ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, or 128 plus the signal.
    pub exit: i32,
    /// Whether it was told to stop.
    pub stopped: bool,
    /// What it said went wrong.
    pub complaint: Option<String>,
}

impl Ended {
    /// The end of an attempt whose work was done before it began.
    pub fn not_needed() -> Self {
        Self {
            exit: 0,
            stopped: false,
            complaint: None,
        }
    }

    /// Whether it ended by itself, with 0, and did not say that it failed. Its word can only withhold this.
    #[must_use]
    pub fn well(&self) -> bool {
        self.exit == 0 && !self.stopped && self.complaint.is_none()
    }
}

/// The signals by which the kubelet ends a container.
#[derive(Debug)]
pub struct Stop {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Stop {
    /// Hears them from now on.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ready when one came.
    pub async fn told(&mut self) {
        tokio::select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
        }
    }
}

/// Why the agent's processes are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The pod is to stop.
    Asked,
    /// The agent has written its result and stays.
    AfterResult,
}

struct Agent {
    pid: Pid,
    stdout: Option<Lines<ChildStdout>>,
    stderr: Option<Lines<ChildStderr>>,
    transcript: Box<dyn Transcript>,
    stay: Stay,
    /// Since when nothing has come after the result.
    quiet_since: Option<Instant>,
    /// What was not let go on, in words.
    stopped_for: Option<String>,
    exit: Option<i32>,
}

/// Runs the agent to its end; `wrote` hears of every line, and `calls_the_model` says whether it waits for an answer.
pub async fn supervise(
    prepared: Prepared,
    stop: &mut Stop,
    wrote: impl Fn(),
    calls_the_model: impl AsyncFn() -> bool,
) -> Result<Ended, Supervise> {
    // Before the agent starts, so that its end is not missed.
    let mut ends = signal(SignalKind::child())?;
    let mut agent = Agent::start(prepared)?;
    let mut count = interval(COUNT_EVERY);
    count.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = None;
    let mut kill_at = None;
    while agent.exit.is_none() {
        let stays_until = agent.stays_until().filter(|_| ending.is_none());
        tokio::select! {
            Some(()) = ends.recv() => agent.reap()?,
            () = stop.told(), if ending != Some(Ending::Asked) => {
                ending = Some(Ending::Asked);
                kill_at = Some(agent.stop());
            }
            () = sleep_until(stays_until.unwrap_or_else(Instant::now)), if stays_until.is_some() => {
                if calls_the_model().await {
                    agent.quiet_since = Some(Instant::now());
                } else {
                    say("polecat run: the agent has written its result and stays; ending it");
                    ending = Some(Ending::AfterResult);
                    kill_at = Some(agent.stop());
                }
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                agent.kill_all();
                kill_at = Some(Instant::now() + STOP_WITHIN);
            }
            // Without a process namespace of its own, others' processes would count.
            _ = count.tick(), if is_init() => agent.kill_excess(processes(Path::new("/proc"))),
            () = agent.show_next() => wrote(),
        }
    }
    agent.kill_all();
    let _cut_off = timeout(DRAIN_WITHIN, agent.drain()).await;
    agent.reap()?;
    Ok(Ended {
        exit: match ending {
            // How it took our signal says nothing: its result does, by the complaint.
            Some(Ending::AfterResult) if agent.stopped_for.is_none() => 0,
            _ => agent.exit.unwrap_or(-1),
        },
        stopped: ending == Some(Ending::Asked),
        complaint: agent.stopped_for.take().or_else(|| agent.transcript.complaint()),
    })
}

/// How many processes there are, by the folders that `/proc` has of them.
fn processes(proc: &Path) -> usize {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .count()
}

impl Agent {
    fn start(prepared: Prepared) -> Result<Self, Supervise> {
        let Prepared {
            mut command,
            transcript,
            stay,
        } = prepared;
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|source| Supervise::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("its process id is no process id"))?;
        let stdout = child.stdout.take().map(ChildStdout::from_std).transpose()?;
        let stderr = child.stderr.take().map(ChildStderr::from_std).transpose()?;
        Ok(Self {
            pid,
            stdout: stdout.map(|pipe| Lines::new(pipe, MAX_EVENT)),
            stderr: stderr.map(|pipe| Lines::new(pipe, MAX_COMPLAINT)),
            transcript,
            stay,
            quiet_since: None,
            stopped_for: None,
            exit: None,
        })
    }

    fn stop(&self) -> Instant {
        let _gone_already = kill_process_group(self.pid, Signal::TERM);
        Instant::now() + STOP_WITHIN
    }

    /// Kills an agent that has too many processes: its node, and the sidecars that save its work, need some too.
    fn kill_excess(&mut self, count: usize) {
        if count > MOST_PROCESSES {
            let words =
                format!("the agent had {count} processes; more than {MOST_PROCESSES} are not allowed");
            say(&format!("polecat run: {words}"));
            self.stopped_for = Some(words);
            self.kill_all();
        }
    }

    /// As PID 1 every process that is left is a descendant of the agent, whatever group or session it chose.
    fn kill_all(&self) {
        let _gone_already = kill_process_group(self.pid, Signal::KILL);
        if is_init() {
            // `kill(-1)`: all but this process itself.
            let _none_left = kill_process_group(Pid::INIT, Signal::KILL);
        }
    }

    /// Takes the status of everything that ended: PID 1 inherits the agent's orphans.
    fn reap(&mut self) -> io::Result<()> {
        loop {
            let ended = if is_init() {
                wait(WaitOptions::NOHANG)
            } else if self.exit.is_some() {
                return Ok(());
            } else {
                waitpid(Some(self.pid), WaitOptions::NOHANG)
            };
            match ended {
                Ok(Some((pid, status))) if pid == self.pid => self.exit = Some(exit_of(status)),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// When a process that stays after its result is ended.
    fn stays_until(&self) -> Option<Instant> {
        let since = self.quiet_since?;
        self.transcript.has_result().then(|| since + self.stay.quiet)
    }

    /// Shows the next line of either pipe; once both are closed, it is never ready.
    async fn show_next(&mut self) {
        let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
        tokio::select! {
            line = next_of(stdout) => match line {
                Some(line) => self.show(&line),
                None => self.stdout = None,
            },
            line = next_of(stderr) => match line {
                Some(line) => {
                    say(&raw("stderr", &line));
                    self.heard(self.stay.any_output);
                }
                None => self.stderr = None,
            },
        }
    }

    fn show(&mut self, line: &Line) {
        match event(line) {
            Ok(event) => {
                self.transcript.event(&event).iter().for_each(|line| say(line));
                self.heard(true);
            }
            Err(shown) => {
                say(&shown);
                self.heard(self.stay.any_output);
            }
        }
    }

    /// Whoever goes on talking after a result is not at its end.
    fn heard(&mut self, counts: bool) {
        if counts && self.transcript.has_result() {
            self.quiet_since = Some(Instant::now());
        }
    }

    async fn drain(&mut self) {
        while self.stdout.is_some() || self.stderr.is_some() {
            self.show_next().await;
        }
    }
}

async fn next_of<R: tokio::io::AsyncRead + Unpin>(lines: &mut Option<Lines<R>>) -> Option<Line> {
    match lines {
        // A pipe that cannot be read any more has ended.
        Some(lines) => lines.next().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

fn is_init() -> bool {
    std::process::id() == 1
}

fn exit_of(status: WaitStatus) -> i32 {
    let signalled = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signalled).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::run::agent::ClaudeSession;

    const STAY: Stay = Stay {
        quiet: Duration::from_millis(700),
        any_output: false,
    };

    fn prepared(command: Command, stay: Stay) -> Prepared {
        Prepared {
            command,
            transcript: Box::new(ClaudeSession::default()),
            stay,
        }
    }

    async fn supervise(command: Command, wrote: impl Fn()) -> Result<Ended, Supervise> {
        supervise_for(command, STAY, wrote, async || false).await
    }

    async fn supervise_for(
        command: Command,
        stay: Stay,
        wrote: impl Fn(),
        calls_the_model: impl AsyncFn() -> bool,
    ) -> Result<Ended, Supervise> {
        let mut stop = Stop::listen().unwrap();
        super::supervise(prepared(command, stay), &mut stop, wrote, calls_the_model).await
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn the_exit_code_is_the_agents() {
        for (script, exit) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
            let ended = supervise(shell(script), || ()).await.unwrap();
            assert_eq!((ended.exit, ended.stopped), (exit, false), "{script}");
        }
    }

    #[tokio::test]
    async fn a_child_that_keeps_the_pipes_open_is_killed_when_the_agent_ended() {
        let started = Instant::now();
        let ended = supervise(shell("sleep 60 & exit 3"), || ()).await.unwrap();
        assert_eq!(ended.exit, 3);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn what_the_agent_says_went_wrong_is_kept() {
        let script = r#"echo '{"type":"result","subtype":"success","is_error":true,"result":"API Error: 400"}'; exit 1"#;
        let ended = supervise(shell(script), || ()).await.unwrap();
        assert_eq!(ended.complaint.as_deref(), Some("API Error: 400"));
    }

    fn result(error: bool) -> String {
        format!(r#"echo '{{"type":"result","subtype":"success","is_error":{error},"result":"the words"}}'"#)
    }

    #[tokio::test]
    async fn an_agent_that_stays_after_its_result_is_ended_and_the_result_counts() {
        for (error, complaint) in [(false, None), (true, Some("the words"))] {
            let started = Instant::now();
            // It takes no notice of the signal that it would otherwise die of.
            let script = format!("sleep 60 & {}; trap 'exit 9' TERM; wait", result(error));
            let ended = supervise(shell(&script), || ()).await.unwrap();
            assert_eq!((ended.exit, ended.stopped), (0, false));
            assert_eq!(ended.complaint.as_deref(), complaint);
            assert_eq!(ended.well(), !error);
            assert!(started.elapsed() < Duration::from_secs(30));
        }
    }

    #[tokio::test]
    async fn an_error_result_withholds_a_good_end_and_the_exit_code_is_the_agents_own() {
        let ended = supervise(shell(&format!("{}; exit 0", result(true))), || ())
            .await
            .unwrap();
        assert_eq!(ended.exit, 0);
        assert!(!ended.well());
        let ended = supervise(shell(&format!("{}; exit 3", result(false))), || ())
            .await
            .unwrap();
        assert_eq!(ended.exit, 3, "a result grants nothing");
    }

    #[tokio::test]
    async fn who_goes_on_after_a_result_is_let_go_on() {
        // The pauses are so much shorter than the quiet that ends an agent that a busy machine does not make them as long.
        let patient = Stay {
            quiet: Duration::from_secs(4),
            ..STAY
        };
        let says = |words: &str| {
            format!(
                "{}; for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; {words}; done; exit 5",
                result(false)
            )
        };
        let events = says(r#"echo '{"type":"system","subtype":"task_notification"}'"#);
        let noisy = says("echo $n");
        let quiet = format!("{}; sleep 1.6; exit 5", result(false));
        let command = Stay {
            any_output: true,
            ..patient
        };
        let (events, calls, output) = tokio::try_join!(
            supervise_for(shell(&events), patient, || (), async || false),
            supervise_for(shell(&quiet), STAY, || (), async || true),
            supervise_for(shell(&noisy), command, || (), async || false),
        )
        .unwrap();
        assert_eq!(events.exit, 5, "events");
        assert_eq!(calls.exit, 5, "calls of the model");
        assert_eq!(output.exit, 5, "output of a command");
        let ended = supervise(shell(&noisy), || ()).await.unwrap();
        assert_eq!(ended.exit, 0, "a server's log is no word of the agent");
    }

    #[tokio::test]
    async fn an_agent_with_too_many_processes_is_killed_and_told_why() {
        let mut agent = Agent::start(prepared(shell("sleep 60"), STAY)).unwrap();
        agent.kill_excess(MOST_PROCESSES);
        assert_eq!(agent.stopped_for, None);
        agent.kill_excess(MOST_PROCESSES + 1);
        let words = agent.stopped_for.clone().unwrap();
        assert!(
            words.contains("1001 processes") && words.contains("1000"),
            "{words}"
        );
        let mut ends = signal(SignalKind::child()).unwrap();
        while agent.exit.is_none() {
            agent.reap().unwrap();
            let _looked_again = timeout(Duration::from_millis(10), ends.recv()).await;
        }
        assert_eq!(agent.exit, Some(137));
    }

    #[test]
    fn processes_are_the_folders_with_a_number() {
        let proc = tempfile::tempdir().unwrap();
        for name in ["1", "4711", "self", "9x", "meminfo"] {
            std::fs::create_dir(proc.path().join(name)).unwrap();
        }
        assert_eq!(processes(proc.path()), 2);
        assert_eq!(processes(&proc.path().join("away")), 0);
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_is_named() {
        let error = supervise(Command::new("no-such-agent"), || ()).await.unwrap_err();
        assert!(error.to_string().contains("no-such-agent"), "{error}");
    }
}
