//! A running git: in a process group of its own, killed as a whole when its time is over.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

/// The most bytes of standard error that are kept.
const MAX_WORDS: usize = 4096;

/// The most bytes of one record: longer than any path that git stores, with its modes and ids.
const MAX_RECORD: usize = 64 * 1024;

/// How long the last words are waited for once git has ended: an orphan may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why git did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum RunGit {
    /// The program cannot be started.
    #[error("failed to start `{command}`; git must be in the image")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// No thread can be made for one of its pipes, or to end it in time: the agent may have used up what the pod may have.
    #[error("failed to attend to `{command}`; the pod may have no more processes and threads")]
    Attend {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with another code than 0.
    #[error("failed to run `{command}`: it ended with {status}: {words}")]
    Fail {
        /// The command line.
        command: String,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// How it ended, in words.
        status: String,
        /// Its standard error, cut.
        words: String,
    },
    /// It took too long.
    #[error("failed to run `{command}`: it did not end within {} s and was killed: {words}", .limit.as_secs())]
    TimeOut {
        /// The command line.
        command: String,
        /// How long it might have taken.
        limit: Duration,
        /// Its standard error, cut.
        words: String,
    },
    /// One of its pipes broke.
    #[error("failed to talk to `{command}`: {words}")]
    Talk {
        /// The command line.
        command: String,
        /// Its standard error, cut.
        words: String,
        /// What the system said.
        source: io::Error,
    },
    /// It wrote more than can be kept.
    #[error("failed to read the output of `{command}`: it is longer than {limit} bytes")]
    LongOutput {
        /// The command line.
        command: String,
        /// The most bytes.
        limit: usize,
    },
    /// One of its records is longer than any can be.
    #[error("failed to read the output of `{command}`: a record is longer than {limit} bytes")]
    LongRecord {
        /// The command line.
        command: String,
        /// The most bytes.
        limit: usize,
    },
}

impl RunGit {
    /// What git itself said, where it said anything: a termination message has little room.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Fail { words, .. } if !words.is_empty() => words.clone(),
            error => error.to_string(),
        }
    }
}

/// A git that runs; dropped, it is killed.
#[derive(Debug)]
pub struct Child {
    process: Arc<Mutex<Process>>,
    command: String,
    limit: Duration,
    deadline: Instant,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    words: Arc<Mutex<Vec<u8>>>,
    words_end: mpsc::Receiver<()>,
    /// Dropping it lets the watchdog go.
    _watchdog: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Process {
    child: std::process::Child,
    ended: Option<ExitStatus>,
    killed: bool,
}

impl Process {
    /// The lock that guards `self` makes sure that a process id is not signalled after it was reaped.
    fn kill(&mut self) {
        if self.ended.is_none() {
            self.killed = true;
            if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
                let _gone_already = kill_process_group(group, Signal::KILL);
            }
        }
    }

    fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }
}

impl Child {
    pub(super) fn start(
        mut command: Command,
        stdin: Stdio,
        stdout: Stdio,
        limit: Duration,
    ) -> Result<Self, RunGit> {
        let line = show(&command);
        command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|source| RunGit::Start {
            command: line.clone(),
            source,
        })?;
        let words = Arc::new(Mutex::new(Vec::new()));
        let (words_sender, words_end) = mpsc::channel();
        let stderr = child.stderr.take();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let process = Arc::new(Mutex::new(Process {
            child,
            ended: None,
            killed: false,
        }));
        let (watchdog, stopped) = mpsc::channel::<()>();
        // From here on, whatever fails, the child is killed when this is dropped.
        let child = Self {
            process: Arc::clone(&process),
            command: line,
            limit,
            deadline: Instant::now() + limit,
            stdin,
            stdout,
            words: Arc::clone(&words),
            words_end,
            _watchdog: watchdog,
        };
        if let Some(stderr) = stderr {
            child.attend(move || {
                listen(stderr, &words);
                drop(words_sender);
            })?;
        }
        child.attend(move || {
            if stopped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                process.lock().kill();
            }
        })?;
        Ok(child)
    }

    /// Does `work` on a thread of its own.
    fn attend(&self, work: impl FnOnce() + Send + 'static) -> Result<(), RunGit> {
        let thread = thread::Builder::new().spawn(work);
        thread.map(drop).map_err(|source| RunGit::Attend {
            command: self.command.clone(),
            source,
        })
    }

    /// The pipe to its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// The pipe from its standard output, once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Turns a broken pipe into an error that says what git said before it ended.
    pub fn blame<T>(&mut self, result: io::Result<T>) -> Result<T, RunGit> {
        match result {
            Ok(value) => Ok(value),
            Err(source) => match self.wait() {
                Err(error) => Err(error),
                Ok(()) => Err(RunGit::Talk {
                    command: self.command.clone(),
                    words: self.last_words(),
                    source,
                }),
            },
        }
    }

    /// Reads on a thread of its own: a process that left the group may hold the pipe when git is long gone.
    pub(super) fn collect(&mut self, limit: usize) -> Result<Vec<u8>, RunGit> {
        let Some(stdout) = self.stdout.take() else {
            return Ok(Vec::new());
        };
        let (sender, receiver) = mpsc::channel();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        self.attend(move || {
            let mut output = Vec::new();
            let read = stdout.take(most).read_to_end(&mut output).map(|_| output);
            let _nobody_waits_any_more = sender.send(read);
        })?;
        let patience = self.deadline.saturating_duration_since(Instant::now()) + LAST_WORDS;
        let read = receiver.recv_timeout(patience).map_err(|_| RunGit::TimeOut {
            command: self.command.clone(),
            limit: self.limit,
            words: self.last_words(),
        })?;
        let output = self.blame(read)?;
        if output.len() > limit {
            self.process.lock().kill();
            return Err(RunGit::LongOutput {
                command: self.command.clone(),
                limit,
            });
        }
        Ok(output)
    }

    pub(super) fn records(&mut self, separator: u8, each: &mut dyn FnMut(&[u8])) -> Result<(), RunGit> {
        let Some(stdout) = self.stdout.take() else {
            return Ok(());
        };
        let mut reader = BufReader::new(stdout);
        let mut record = Vec::new();
        loop {
            record.clear();
            let most = u64::try_from(MAX_RECORD).unwrap_or(u64::MAX);
            let read = (&mut reader).take(most).read_until(separator, &mut record);
            if self.blame(read)? == 0 {
                return Ok(());
            }
            if record.last() == Some(&separator) {
                record.pop();
            } else if record.len() >= MAX_RECORD {
                self.process.lock().kill();
                return Err(RunGit::LongRecord {
                    command: self.command.clone(),
                    limit: MAX_RECORD,
                });
            }
            each(&record);
        }
    }

    /// Waits for its end; any exit code but 0 is an error.
    pub fn finish(mut self) -> Result<(), RunGit> {
        self.stdin = None;
        self.wait()
    }

    fn wait(&mut self) -> Result<(), RunGit> {
        let mut pause = Duration::from_micros(200);
        let (status, killed) = loop {
            let mut process = self.process.lock();
            let polled = process.poll().map_err(|source| RunGit::Talk {
                command: self.command.clone(),
                words: String::new(),
                source,
            })?;
            if let Some(status) = polled {
                break (status, process.killed);
            }
            drop(process);
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        if status.success() {
            return Ok(());
        }
        let (command, words) = (self.command.clone(), self.last_words());
        if killed {
            return Err(RunGit::TimeOut {
                command,
                limit: self.limit,
                words,
            });
        }
        Err(RunGit::Fail {
            command,
            code: status.code(),
            status: status.to_string(),
            words,
        })
    }

    fn last_words(&self) -> String {
        let _disconnected_or_late = self.words_end.recv_timeout(LAST_WORDS);
        let words = self.words.lock();
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut process = self.process.lock();
        let ended = process.poll();
        if !matches!(ended, Ok(Some(_))) {
            process.kill();
            drop(process);
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && !matches!(self.process.lock().poll(), Ok(Some(_)) | Err(_)) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Keeps the first bytes and reads on, so that a talkative git is not stopped by a full pipe.
fn listen(mut stderr: impl Read, words: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        let mut words = words.lock();
        let room = MAX_WORDS.saturating_sub(words.len()).min(count);
        words.extend_from_slice(&buffer[..room]);
    }
}

/// The command line without its `-c` settings: what went wrong has to fit a termination message.
fn show(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    let mut arguments = command.get_args();
    while let Some(argument) = arguments.next() {
        if argument == "-c" {
            arguments.next();
        } else {
            line.push(' ');
            line.push_str(&argument.to_string_lossy());
        }
    }
    line
}
