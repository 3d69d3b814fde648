//! Jobs that run side by side, each as soon as those before it have ended: what waits leaves its time to the others.
//!
//! A job prints into a log of its own; on the screen are the lines that it says, with its name, and at least every ten
//! seconds what runs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::progress::{self, Context, Log};

/// How many of its last lines are shown of a job that failed.
const SHOWN: usize = 60;

/// A piece of work.
pub struct Job<'a> {
    /// Its name, on the screen and of its log.
    pub name: &'static str,
    /// Jobs that must have succeeded before it starts; when one did not, it is not run.
    needs: Vec<&'static str>,
    /// Jobs that must have ended before it starts, however they did.
    after: Vec<&'static str>,
    /// Whether it gets only the processor time that the other jobs leave.
    is_patient: bool,
    work: Box<dyn FnOnce() -> Result<()> + Send + 'a>,
}

/// How a job ended.
#[derive(Debug)]
pub struct Ended {
    /// The job's name.
    pub name: &'static str,
    /// How long it took, or why it failed or was not run.
    pub result: Result<Duration>,
}

impl<'a> Job<'a> {
    /// A job that may start at once.
    pub fn new(name: &'static str, work: impl FnOnce() -> Result<()> + Send + 'a) -> Self {
        Self {
            name,
            needs: Vec::new(),
            after: Vec::new(),
            is_patient: false,
            work: Box::new(work),
        }
    }

    /// Starts only when these have succeeded.
    pub fn needs(mut self, names: &[&'static str]) -> Self {
        self.needs.extend(names);
        self
    }

    /// Starts only when those of these that are part of the plan have ended.
    pub fn after(mut self, names: &[&'static str]) -> Self {
        self.after.extend(names);
        self
    }

    /// Gets only the processor time that the other jobs leave.
    pub fn patient(mut self) -> Self {
        self.is_patient = true;
        self
    }

    /// Its name and those of the jobs of the plan, `names`, that it waits for.
    fn describe(&self, names: &[&str]) -> String {
        let before = self.needs.iter().chain(&self.after).copied();
        let before: Vec<_> = before.filter(|name| names.contains(name)).collect();
        if before.is_empty() {
            self.name.to_owned()
        } else {
            format!("{} (after {})", self.name, before.join(", "))
        }
    }
}

/// The jobs in one line, each with those that it waits for.
pub fn describe(jobs: &[Job<'_>]) -> String {
    let names: Vec<_> = jobs.iter().map(|job| job.name).collect();
    let lines: Vec<_> = jobs.iter().map(|job| job.describe(&names)).collect();
    lines.join("; ")
}

/// What the jobs know of each other.
struct Board {
    state: Mutex<Vec<State>>,
    changed: Condvar,
}

/// Where a job is.
enum State {
    Waiting,
    Running { since: Instant, log: Arc<Log> },
    Succeeded,
    Failed,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        // A job that panics holds no lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, place: usize, state: State) {
        self.lock()[place] = state;
        self.changed.notify_all();
    }

    /// Waits until the jobs at these places have ended.
    fn wait_for(&self, places: &[usize]) {
        let is_open = |state: &State| matches!(state, State::Waiting | State::Running { .. });
        let mut state = self.lock();
        while places.iter().any(|place| is_open(&state[*place])) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn has_failed(&self, place: usize) -> bool {
        matches!(self.lock()[place], State::Failed)
    }
}

/// Runs all jobs, their logs in `folder`, and says of each how it ended. A failure keeps only those from running that
/// need the job.
pub fn run(folder: &Path, jobs: Vec<Job<'_>>) -> Result<Vec<Ended>> {
    fs_err::create_dir_all(folder)?;
    let names: Vec<_> = jobs.iter().map(|job| job.name).collect();
    for (place, job) in jobs.iter().enumerate() {
        check_order(&names[..place], &names, job)?;
    }
    let board = Board {
        state: Mutex::new(jobs.iter().map(|_| State::Waiting).collect()),
        changed: Condvar::new(),
    };
    let (board, names) = (&board, names.as_slice());
    Ok(thread::scope(|scope| {
        scope.spawn(|| heartbeat(board, names));
        let running: Vec<_> = jobs
            .into_iter()
            .enumerate()
            .map(|(place, job)| scope.spawn(move || one(board, names, place, job, folder)))
            .collect();
        let ended = running.into_iter().zip(names).map(|(thread, name)| Ended {
            name,
            result: thread
                .join()
                .unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
        });
        ended.collect()
    }))
}

/// A job names only jobs before it, so that no two wait for each other.
fn check_order(before: &[&str], all: &[&str], job: &Job<'_>) -> Result<()> {
    for name in &job.needs {
        ensure!(
            before.contains(name),
            "job {:?} needs {name:?}, which is not before it",
            job.name
        );
    }
    for name in &job.after {
        ensure!(
            before.contains(name) || !all.contains(name),
            "job {:?} comes after {name:?}, which is not before it",
            job.name
        );
    }
    Ok(())
}

fn one(board: &Board, names: &[&'static str], place: usize, job: Job<'_>, folder: &Path) -> Result<Duration> {
    let places = |of: &[&str]| -> Vec<usize> {
        of.iter()
            .filter_map(|name| names.iter().position(|other| other == name))
            .collect()
    };
    let needs = places(&job.needs);
    board.wait_for(&needs);
    board.wait_for(&places(&job.after));
    if let Some(failed) = needs.iter().find(|place| board.has_failed(**place)) {
        board.set(place, State::Failed);
        bail!("{} was not run: {} failed", job.name, names[*failed]);
    }
    let name = job.name;
    let started = Log::create(name, folder.join(format!("{name}.log")));
    let log = match started {
        Ok(log) => log,
        Err(error) => {
            board.set(place, State::Failed);
            return Err(error);
        }
    };
    let since = Instant::now();
    board.set(
        place,
        State::Running {
            since,
            log: Arc::clone(&log),
        },
    );
    let result = Context::of(&log).enter(|| carry_out(job));
    if let Err(error) = &result {
        show_failure(name, &log, error);
    }
    let state = if result.is_ok() {
        State::Succeeded
    } else {
        State::Failed
    };
    board.set(place, state);
    result
        .map(|()| since.elapsed())
        .with_context(|| format!("{name} failed; its log is {}", log.path().display()))
}

fn carry_out(job: Job<'_>) -> Result<()> {
    if job.is_patient {
        // Of this thread alone, and of the programs that it starts.
        rustix::process::nice(10).context("failed to lower the priority of a thread")?;
    }
    catch_unwind(AssertUnwindSafe(job.work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

fn panicked(panic: &(dyn Any + Send)) -> anyhow::Error {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("panicked: {}", words.unwrap_or("without a message"))
}

fn show_failure(name: &str, log: &Log, error: &anyhow::Error) {
    let mut lines = vec![format!(
        "---- {name} failed; the end of {}:",
        log.path().display()
    )];
    lines.extend(log.tail(SHOWN));
    lines.push(format!("---- {name}: {error:#}"));
    // At once: lines of other jobs must not come between.
    eprintln!("{}", lines.join("\n"));
}

/// Says what runs whenever nothing else was said for a while, until all jobs have ended.
fn heartbeat(board: &Board, names: &[&str]) {
    let mut state = board.lock();
    loop {
        let is_open = |state: &State| matches!(state, State::Waiting | State::Running { .. });
        if !state.iter().any(is_open) {
            return;
        }
        let pause = progress::HEARTBEAT
            .saturating_sub(progress::silence())
            .max(Duration::from_millis(100));
        (state, _) = board
            .changed
            .wait_timeout(state, pause)
            .unwrap_or_else(PoisonError::into_inner);
        if progress::silence() >= progress::HEARTBEAT {
            let running = state.iter().zip(names).filter_map(|(state, name)| match state {
                State::Running { since, log } => Some(headline(name, *since, log)),
                State::Waiting | State::Succeeded | State::Failed => None,
            });
            progress::say(format!(
                "still running: {}",
                running.collect::<Vec<_>>().join("; ")
            ));
        }
    }
}

/// The name of a job, how long it runs, and the last line of its log.
fn headline(name: &str, since: Instant, log: &Log) -> String {
    let last = log.tail(1).pop().unwrap_or_default();
    let last: String = last.trim().chars().take(60).collect();
    format!("{name} {} s ({last})", since.elapsed().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(ended: impl IntoIterator<Item = &'a Ended>) -> Vec<&'static str> {
        ended.into_iter().map(|ended| ended.name).collect()
    }

    #[test]
    fn a_job_starts_when_those_that_it_needs_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let order = Mutex::new(Vec::new());
        let note = |name: &'static str, millis| {
            let order = &order;
            Job::new(name, move || {
                thread::sleep(Duration::from_millis(millis));
                order.lock().unwrap().push(name);
                Ok(())
            })
        };
        let jobs = vec![
            note("ore", 40),
            note("coal", 5),
            note("iron", 0).needs(&["ore", "coal"]),
            note("sword", 0).after(&["iron", "wood"]),
        ];
        assert_eq!(
            describe(&jobs),
            "ore; coal; iron (after ore, coal); sword (after iron)"
        );
        let ended = run(folder.path(), jobs).unwrap();
        assert!(ended.iter().all(|job| job.result.is_ok()), "{ended:?}");
        assert_eq!(names(&ended), ["ore", "coal", "iron", "sword"]);
        assert_eq!(*order.lock().unwrap(), ["coal", "ore", "iron", "sword"]);
    }

    #[test]
    fn jobs_that_need_nothing_of_each_other_run_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let meeting = std::sync::Barrier::new(2);
        let meets = |name| {
            let work = || {
                let _ = meeting.wait();
                Ok(())
            };
            Job::new(name, work)
        };
        // One after the other they would wait forever.
        run(folder.path(), vec![meets("left"), meets("right")]).unwrap();
    }

    #[test]
    fn a_failure_stops_only_what_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let fails = || -> Result<()> {
            progress::record("the fire went out");
            bail!("too cold")
        };
        let jobs = vec![
            Job::new("iron", fails),
            Job::new("sword", || Ok(())).needs(&["iron"]),
            Job::new("duel", || Ok(())).needs(&["sword"]),
            Job::new("feast", || Ok(())).after(&["iron"]),
            Job::new("storm", || panic!("thunder")),
        ];
        let ended = run(folder.path(), jobs).unwrap();
        let why = |place: usize| format!("{:#}", ended[place].result.as_ref().unwrap_err());
        let log = folder.path().join("iron.log");
        assert_eq!(
            why(0),
            format!("iron failed; its log is {}: too cold", log.display())
        );
        assert_eq!(why(1), "sword was not run: iron failed");
        assert_eq!(why(2), "duel was not run: sword failed");
        assert!(ended[3].result.is_ok());
        assert!(why(4).ends_with("panicked: thunder"), "{}", why(4));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "the fire went out\n");
    }

    #[test]
    fn jobs_that_would_wait_for_each_other_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for job in [
            Job::new("egg", || Ok(())).needs(&["hen"]),
            Job::new("egg", || Ok(())).after(&["hen"]),
        ] {
            let jobs = vec![job, Job::new("hen", || Ok(()))];
            let error = run(folder.path(), jobs).unwrap_err();
            assert!(error.to_string().contains("not before it"), "{error}");
        }
    }
}
