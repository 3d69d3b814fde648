//! `kubectl gt polecat logs`.

mod follow;
mod heartbeat;

use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use gastown_api::pod::{CLAUDE, pod_name};
use jiff::Timestamp;
use kube::api::LogParams;
use serde_json::Value;

pub use self::follow::{follow, summary};
use self::heartbeat::Heartbeat;
use super::named::{Found, Named};
use crate::cluster::{Cluster, Resource};
use crate::command::doctor::warn_if_none_runs;
use crate::error::{CommandError, Error};
use crate::flags::duration;
use crate::logs::{Reader, paint};
use crate::output::Format;
use crate::session::Session;
use crate::view::Polecat;
use crate::wait::ended;

/// Flags of `polecat logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    polecat: Named,
    /// Stream until the polecat ends; waits for the pod, and reconnects when the stream breaks off.
    #[arg(short, long)]
    follow: bool,
    /// The container: claude, git-init, keeper or broker.
    #[arg(short, long, default_value = CLAUDE)]
    container: String,
    /// How many of the last lines to show.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(i64).range(0..))]
    tail: Option<i64>,
    /// Show only lines newer than this, such as 10m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// Print the lines byte for byte, as the container wrote them.
    #[arg(long)]
    raw: bool,
    /// Output format: table, or json for one object per line.
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
        let Found { cluster, polecat, .. } = self.polecat.find(session).await?;
        let shown = Shown {
            container: self.container,
            tail: self.tail,
            since: self.since,
            raw: self.raw,
            json,
        };
        if self.follow {
            if !polecat.is_settled() {
                warn_if_none_runs(session.reporter, &cluster).await;
            }
            let polecat = follow(session, &cluster, &polecat.address(), &shown).await?;
            return if polecat.phase() == "Done" {
                Ok(())
            } else {
                Err(ended(&cluster, &polecat).into())
            };
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
    let typed = cluster.typed(&address);
    match cluster.find(Resource::PODS, &pod).await? {
        None if polecat.is_settled() => {
            return Err(CommandError::Refused(format!(
                "polecat {address:?} is {} and its pod is gone; `kubectl gt polecat describe {typed}` shows its attempts",
                polecat.phase()
            ))
            .into());
        }
        None => {
            return Err(CommandError::Refused(format!(
                "polecat {address:?} is {} and has no pod yet; wait for it with `kubectl gt polecat logs {typed} -f`",
                polecat.phase()
            ))
            .into());
        }
        Some(found) => shown.is_of(&found)?,
    }
    let stream = cluster.log(&pod, &shown.parameters(false, None)).await?;
    let mut reader = Reader::default();
    copy(session, shown, &mut reader, stream, None).await.map(drop)
}

/// Prints a stream; false: it broke off.
async fn copy(
    session: &mut Session,
    shown: &Shown,
    reader: &mut Reader,
    stream: impl AsyncBufRead,
    mut heartbeat: Option<&mut Heartbeat<'_>>,
) -> Result<bool, Error> {
    let mut stream = std::pin::pin!(stream);
    let mut bytes = Vec::new();
    loop {
        // A read that is dropped for the beat leaves what it has read in `bytes`.
        let read = tokio::select! {
            read = stream.read_until(b'\n', &mut bytes) => read,
            () = Heartbeat::next(heartbeat.as_deref_mut()) => {
                if let Some(heartbeat) = heartbeat.as_deref_mut() {
                    heartbeat.look(session.reporter).await;
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
        for part in paint(line, session.out.style, session.out.width) {
            session.out.line(&part)?;
        }
    }
    Ok(())
}

impl Shown {
    /// An error when the pod has no such container: its log would never begin.
    fn is_of(&self, pod: &Value) -> Result<(), CommandError> {
        let lists = ["containers", "initContainers", "ephemeralContainers"];
        let all = lists.iter().filter_map(|list| pod["spec"][list].as_array());
        let names: Vec<_> = all.flatten().filter_map(|c| c["name"].as_str()).collect();
        if names.contains(&self.container.as_str()) {
            return Ok(());
        }
        Err(CommandError::Usage(format!(
            "the pod has no container {:?}; it has {}",
            self.container,
            names.join(", ")
        )))
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_that_the_pod_does_not_have_is_refused_with_those_it_has() {
        let pod = json!({"spec": {
            "containers": [{"name": "claude"}],
            "initContainers": [{"name": "broker"}],
            "ephemeralContainers": [{"name": "debugger"}],
        }});
        let of = |container: &str| {
            let shown = Shown {
                container: container.to_owned(),
                ..Shown::agent()
            };
            shown.is_of(&pod).map_err(|error| error.to_string())
        };
        for container in ["claude", "broker", "debugger"] {
            assert_eq!(of(container), Ok(()), "{container}");
        }
        let error = of("clawed").unwrap_err();
        assert!(error.contains("claude, broker, debugger"), "{error}");
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
}
