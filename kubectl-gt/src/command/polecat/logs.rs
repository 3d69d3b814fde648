//! `kubectl gt polecat logs`.

use std::time::Duration;

use clap_complete::ArgValueCompleter;
use futures::{AsyncBufRead, AsyncBufReadExt as _};
use gastown_api::pod::{CLAUDE, pod_name};
use jiff::Timestamp;
use kube::api::LogParams;
use serde_json::Value;

use super::Target;
use crate::cluster::{Call, Cluster, Resource};
use crate::command::CommandError;
use crate::complete;
use crate::error::Error;
use crate::flags::duration;
use crate::logs::{Reader, paint};
use crate::output::Format;
use crate::session::{Session, Talk};
use crate::view::{Polecat, tokens};
use crate::wait::{Wait, describe};

/// How often a pod is looked at that has nothing to say yet.
const PERIOD: Duration = Duration::from_secs(1);

/// How often the polecat is looked at while its agent talks.
const BEAT: Duration = Duration::from_secs(10);

/// Flags of `polecat logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The polecat.
    #[arg(value_name = "RIG/NAME", add = ArgValueCompleter::new(complete::polecats))]
    polecat: String,
    /// Go on until the polecat ends; waits for the pod, and connects again.
    #[arg(short, long)]
    follow: bool,
    /// The container: claude, git-init, keeper or broker.
    #[arg(short, long, default_value = CLAUDE)]
    container: String,
    /// Only the last lines.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(i64).range(0..))]
    tail: Option<i64>,
    /// Only what was written in the last time, such as 10m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// The lines as the container wrote them, bytes unchanged.
    #[arg(long)]
    raw: bool,
    /// json prints one object for each line.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    output: Format,
}

/// Which lines, and how they are shown.
#[derive(Clone, Debug)]
pub struct Shown {
    container: String,
    tail: Option<i64>,
    since: Option<Duration>,
    raw: bool,
    json: bool,
}

impl Shown {
    /// What the agent says, from the beginning, for people.
    pub fn agent() -> Self {
        Self {
            container: CLAUDE.to_owned(),
            tail: None,
            since: None,
            raw: false,
            json: false,
        }
    }
}

impl Args {
    /// Prints the log.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let json = match &self.output {
            Format::Json => true,
            Format::Table | Format::Wide => false,
            Format::Yaml | Format::Name | Format::JsonPath(_) => {
                let why = "a log is lines: choose -o json for one object a line, or no -o".to_owned();
                return Err(CommandError::Usage(why).into());
            }
        };
        let target: Target = self.polecat.parse()?;
        let cluster = session.cluster().await?;
        let (_, polecat) = target.get(&cluster).await?;
        let shown = Shown {
            container: self.container,
            tail: self.tail,
            since: self.since,
            raw: self.raw,
            json,
        };
        if self.follow {
            follow(session, &cluster, &polecat.address(), &shown).await?;
            return Ok(());
        }
        once(session, &cluster, &polecat, &shown).await
    }
}

async fn once(
    session: &mut Session,
    cluster: &Cluster,
    polecat: &Polecat,
    shown: &Shown,
) -> Result<(), Error> {
    let pod = pod_name(&polecat.metadata.name);
    let address = polecat.address();
    match cluster.find(Resource::PODS, &pod).await? {
        None if polecat.has_ended() => {
            return Err(CommandError::Refused(format!(
                "polecat {address:?} is {} and its pod is gone; `kubectl gt polecat describe {address}` shows its attempts",
                polecat.phase()
            ))
            .into());
        }
        None => {
            return Err(CommandError::Refused(format!(
                "polecat {address:?} is {} and has no pod yet; wait for it with `kubectl gt polecat logs {address} -f`",
                polecat.phase()
            ))
            .into());
        }
        Some(_) => {}
    }
    let stream = cluster.log(&pod, &shown.parameters(false, None)).await?;
    let mut reader = Reader::default();
    copy(session, shown, &mut reader, stream, None).await.map(drop)
}

/// Prints the log until the polecat ends, and says how it ended. Ctrl-C stops only the printing.
pub async fn follow(
    session: &mut Session,
    cluster: &Cluster,
    address: &str,
    shown: &Shown,
) -> Result<Polecat, Error> {
    let name = address.rsplit('/').next().unwrap_or(address).to_owned();
    let talk = session.talk;
    let polecat = tokio::select! {
        result = follow_attempts(session, cluster, &name, shown) => result?,
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(Wait::Listen)?;
            return Err(Wait::Interrupted { address: address.to_owned() }.into());
        }
    };
    talk.note(&talk.style.strong(&summary(&polecat)));
    Ok(polecat)
}

async fn follow_attempts(
    session: &mut Session,
    cluster: &Cluster,
    name: &str,
    shown: &Shown,
) -> Result<Polecat, Error> {
    let pod = pod_name(name);
    let mut said = String::new();
    let mut read_to_end = String::new();
    let mut reading = (String::new(), Reader::default());
    let mut beat = Beat::start(cluster, name);
    loop {
        let polecat = match patiently(session, cluster.get(Resource::POLECATS, name).await)? {
            Some(object) => Polecat::read(&object),
            None => continue_later().await,
        };
        let found = patiently(session, cluster.find(Resource::PODS, &pod).await)?.flatten();
        let ready = found
            .as_ref()
            .map(|pod| (uid(pod), container_state(pod, &shown.container)))
            .filter(|(uid, state)| *state != State::Waiting && *uid != read_to_end);
        if let Some((uid, state)) = ready {
            if reading.0 != uid {
                reading = (uid.clone(), Reader::default());
            }
            let resume = reading.1.resume();
            let stream = cluster.log(&pod, &shown.parameters(true, resume)).await;
            if let Some(stream) = patiently(session, stream)? {
                let whole = copy(session, shown, &mut reading.1, stream, Some(&mut beat)).await?;
                if whole && state == State::Ended {
                    read_to_end = uid;
                }
            }
        } else if polecat.has_ended() {
            return Ok(polecat);
        } else if !polecat.metadata.name.is_empty() {
            let now = describe(&polecat);
            if now != said {
                session.talk.note(&session.talk.style.faint(&now));
                said = now;
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// A polecat that could not be read this time.
async fn continue_later() -> Polecat {
    tokio::time::sleep(PERIOD).await;
    Polecat::default()
}

/// What another try may cure is told and tried again.
fn patiently<T>(session: &Session, result: Result<T, Call>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_passing() || is_starting(&error) => {
            session
                .talk
                .note(&session.talk.style.faint(&format!("tries again: {error}")));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The API server refuses the log of a container that is being made.
fn is_starting(error: &Call) -> bool {
    matches!(error, Call::Invalid { words, .. } if words.contains("waiting to start") || words.contains("PodInitializing"))
}

/// Prints a stream; false: it broke off.
async fn copy(
    session: &mut Session,
    shown: &Shown,
    reader: &mut Reader,
    stream: impl AsyncBufRead,
    mut beat: Option<&mut Beat<'_>>,
) -> Result<bool, Error> {
    let mut stream = std::pin::pin!(stream);
    let mut bytes = Vec::new();
    loop {
        // A read that is dropped for the beat leaves what it has read in `bytes`.
        let read = tokio::select! {
            read = stream.read_until(b'\n', &mut bytes) => read,
            () = Beat::next(beat.as_deref_mut()) => {
                if let Some(beat) = beat.as_deref_mut() {
                    beat.look(session.talk).await;
                }
                continue;
            }
        };
        match read {
            Ok(_) if bytes.is_empty() => return Ok(true),
            Ok(_) => print(session, shown, reader, &bytes)?,
            Err(_) => return Ok(false),
        }
        bytes.clear();
    }
}

fn print(session: &mut Session, shown: &Shown, reader: &mut Reader, bytes: &[u8]) -> Result<(), Error> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let Some((time, line)) = reader.line(text) else {
        return Ok(());
    };
    if shown.json {
        let event = reader.event(&shown.container, time, line);
        let json = serde_json::to_string(&event).unwrap_or_default();
        session.out.line(&json)?;
    } else if shown.raw {
        let before = if time.is_empty() { 0 } else { time.len() + 1 };
        session.out.bytes(bytes.get(before..).unwrap_or_default())?;
    } else {
        let painted = paint(line, session.out.style);
        session.out.line(&painted)?;
    }
    Ok(())
}

/// What the cluster knows while the agent talks, or is silent: that the polecat is parked, and what it cost so far.
struct Beat<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    interval: tokio::time::Interval,
    said: String,
}

impl<'a> Beat<'a> {
    fn start(cluster: &'a Cluster, name: &'a str) -> Self {
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            cluster,
            name,
            interval,
            said: String::new(),
        }
    }

    async fn next(beat: Option<&mut Self>) {
        match beat {
            Some(beat) => drop(beat.interval.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Says what changed. A look that fails is followed by the next.
    async fn look(&mut self, talk: Talk) {
        let Ok(object) = self.cluster.get(Resource::POLECATS, self.name).await else {
            return;
        };
        let now = so_far(&Polecat::read(&object));
        if !now.is_empty() && now != self.said {
            talk.note(&talk.style.faint(&now));
            self.said = now;
        }
    }
}

/// `furiosa: Working, parked, RateLimited: …`, or `furiosa: 12.3k tokens, $0.12 so far`.
fn so_far(polecat: &Polecat) -> String {
    let usage = &polecat.status.usage;
    if polecat.parked().is_some() {
        describe(polecat)
    } else if usage.requests == 0 {
        String::new()
    } else {
        let cost = &polecat.status.cost;
        let cost = if cost.is_empty() {
            String::new()
        } else {
            format!(", {cost}")
        };
        format!(
            "{}: {} tokens{cost} so far",
            polecat.metadata.name,
            tokens(usage.tokens())
        )
    }
}

impl Shown {
    fn parameters(&self, follow: bool, resume: Option<String>) -> LogParams {
        let since_time: Option<Timestamp> = resume.and_then(|time| time.parse().ok());
        let fresh = since_time.is_none();
        LogParams {
            container: Some(self.container.clone()),
            follow,
            timestamps: true,
            tail_lines: self.tail.filter(|_| fresh),
            since_seconds: self
                .since
                .filter(|_| fresh)
                .and_then(|since| i64::try_from(since.as_secs().max(1)).ok()),
            since_time,
            ..LogParams::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

fn container_state(pod: &Value, container: &str) -> State {
    let lists = ["containerStatuses", "initContainerStatuses"];
    let status = lists
        .iter()
        .filter_map(|list| pod["status"][list].as_array())
        .flatten()
        .find(|status| status["name"] == container);
    match status.map(|status| &status["state"]) {
        Some(state) if state.get("terminated").is_some() => State::Ended,
        Some(state) if state.get("running").is_some() => State::Running,
        _ => State::Waiting,
    }
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// `furiosa is Done: branch x, 12.3k tokens, $0.12`.
pub fn summary(polecat: &Polecat) -> String {
    let mut parts = Vec::new();
    if polecat.phase() == "Done" && !polecat.status.branch.is_empty() {
        parts.push(format!("branch {}", polecat.status.branch));
    }
    if polecat.phase() == "Stuck" {
        parts.push(format!("{}: {}", polecat.reason(), polecat.message()));
    }
    if polecat.status.usage.requests > 0 {
        parts.push(format!("{} tokens", tokens(polecat.status.usage.tokens())));
    }
    if !polecat.status.cost.is_empty() {
        parts.push(polecat.status.cost.clone());
    }
    let head = format!("{} is {}", polecat.metadata.name, polecat.phase());
    if parts.is_empty() {
        head
    } else {
        crate::view::escape(&format!("{head}: {}", parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_so_far_is_that_it_is_parked_or_what_it_cost() {
        let read = |status: Value| {
            so_far(&Polecat::read(
                &json!({"metadata": {"name": "a"}, "spec": {}, "status": status}),
            ))
        };
        assert_eq!(read(json!({"phase": "Working"})), "");
        let used =
            json!({"phase": "Working", "usage": {"inputTokens": 1200, "requests": 1}, "cost": "$0.01"});
        assert_eq!(read(used), "a: 1.2k tokens, $0.01 so far");
        let parked = json!({"phase": "Working", "conditions": [{"type": "Parked", "status": "True", "reason": "RateLimited", "message": "until noon"}]});
        assert_eq!(read(parked), "a: Working, parked, RateLimited: until noon");
    }

    #[tokio::test]
    async fn the_last_line_without_a_line_break_is_printed_too() {
        let mut session = Session::new(crate::flags::ClusterFlags::default());
        let shared = crate::output::testing::Shared::default();
        session.out = crate::output::Out::into(Box::new(shared.clone()));
        let stream =
            futures::io::Cursor::new(b"2026-01-01T00:00:00Z [says] a\n2026-01-01T00:00:01Z b".to_vec());
        let whole = copy(
            &mut session,
            &Shown::agent(),
            &mut Reader::default(),
            stream,
            None,
        )
        .await
        .unwrap();
        assert!(whole);
        assert_eq!(shared.text(), "[says] a\nb\n");
    }

    #[test]
    fn a_container_is_found_among_both_kinds() {
        let pod = json!({"status": {
            "initContainerStatuses": [{"name": "broker", "state": {"running": {}}}],
            "containerStatuses": [{"name": "claude", "state": {"terminated": {"exitCode": 0}}}],
        }});
        assert_eq!(container_state(&pod, "broker"), State::Running);
        assert_eq!(container_state(&pod, "claude"), State::Ended);
        assert_eq!(container_state(&pod, "git-init"), State::Waiting);
    }
}
