//! `kubectl gt status`: the whole town on one screen.

use std::collections::BTreeMap;
use std::time::Duration;

use gastown_api::condition::QUEUED;
use gastown_api::money::dollars;
use gastown_api::polecat::DEFAULT_PRIORITY;
use gastown_api::text::counted;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::age;
use crate::cluster::{Cluster, Resource, Selection};
use crate::command::doctor::none_runs;
use crate::error::Error;
use crate::flags::duration;
use crate::output::table::TablePrinter;
use crate::output::{Format, Out, Output, OutputArgs};
use crate::reporter::Reporter;
use crate::session::Session;
use crate::view::{Polecat, Rig, escape};
use crate::wait::Wait;

/// How many polecats of each kind are named; the others are counted.
const NAMED: usize = 12;

/// An interval. Each look lists every polecat, and the API server has others to serve.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_secs(1) {
        return Err(format!(
            "{text:?} is too often: each look lists every polecat; write 1s or more"
        ));
    }
    Ok(interval)
}

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show only polecats of the current namespace, instead of all that you may see.
    #[arg(long)]
    this_namespace: bool,
    /// Refresh until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// How often to refresh; at least 1s.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// The town at one moment.
#[derive(Debug, Default)]
struct Town {
    rigs: BTreeMap<String, RigLine>,
    working: Vec<Line>,
    stuck: Vec<Line>,
    pending: Vec<Line>,
    counts: Counts,
    /// Polecats that wait for a slot, those that are next first.
    queued: Vec<(Rank, Line)>,
    micros: i64,
    /// What keeps any polecat from going on.
    no_operator: Option<&'static str>,
}

#[derive(Debug, Default)]
struct RigLine {
    phase: String,
    counts: Counts,
    micros: i64,
}

/// How many polecats there are.
#[derive(Debug, Default)]
struct Counts {
    /// By phase; those that wait for a slot, whatever their phase, as Queued.
    phases: BTreeMap<String, u64>,
    /// Those that are Working and whose agent does not run yet: for want of a node, an image or a secret.
    starting: u64,
}

impl Counts {
    fn add(&mut self, phase: &str, is_starting: bool) {
        *self.phases.entry(phase.to_owned()).or_default() += 1;
        self.starting += u64::from(is_starting);
    }

    /// The titles of what is counted, in the order of a polecat's life. Of the town's, what there is none of is left out
    /// unless everyone looks for it: so the screen is at most 80 columns wide in ordinary times.
    fn titles(&self) -> Vec<&'static str> {
        let all = [
            "pending", "queued", "starting", "working", "done", "stuck", "idle",
        ];
        let is_shown = |title: &&str| ["working", "done", "stuck"].contains(title) || self.of(title) > 0;
        all.into_iter().filter(is_shown).collect()
    }

    fn of(&self, title: &str) -> u64 {
        let phase = |phase| self.phases.get(phase).copied().unwrap_or_default();
        match title {
            "pending" => phase("Pending"),
            "queued" => phase(QUEUED),
            "starting" => self.starting,
            "working" => phase("Working") - self.starting,
            "done" => phase("Done"),
            "stuck" => phase("Stuck"),
            _ => phase("Idle"),
        }
    }
}

/// Rig, and the place among those of it that wait: the operator's order, by priority and age.
type Rank = (String, i64, String);

#[derive(Debug)]
struct Line {
    namespace: String,
    address: String,
    bead: String,
    what: String,
    age: String,
    cost: String,
}

impl Args {
    /// Prints the town, once or again and again.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let mut town = self.look(&cluster).await?;
        loop {
            if self.watch && session.out.is_terminal && self.output.output.is_for_people() {
                // Home, and clear to the end: no flicker, and the scroll-back stays.
                session.out.text("\u{1b}[H\u{1b}[2J")?;
            }
            self.print(session, &cluster, &town)?;
            if !self.watch {
                return Ok(());
            }
            town = tokio::select! {
                town = self.look_again(session.reporter, &cluster) => town?,
                pressed = tokio::signal::ctrl_c() => return pressed.map_err(|error| Wait::Listen(error).into()),
            };
        }
    }

    /// The town after the interval. What another try may cure is told and tried again.
    async fn look_again(&self, reporter: Reporter, cluster: &Cluster) -> Result<Town, Error> {
        loop {
            tokio::time::sleep(self.interval).await;
            match self.look(cluster).await {
                Err(Error::Call(error)) if error.is_passing() => reporter.tries_again(&error),
                result => return result,
            }
        }
    }

    async fn look(&self, cluster: &Cluster) -> Result<Town, Error> {
        let mut town = Town::default();
        cluster
            .each_page(Resource::RIGS, &Selection::default(), |page| {
                for rig in page.items.iter().map(Rig::read) {
                    let line = town.rigs.entry(rig.metadata.name.clone()).or_default();
                    rig.phase().clone_into(&mut line.phase);
                }
                Ok::<_, Error>(())
            })
            .await?;
        let selection = Selection {
            fields: None,
            all_namespaces: !self.this_namespace,
        };
        let now = Timestamp::now();
        cluster
            .each_page(Resource::POLECATS, &selection, |page| {
                page.items
                    .iter()
                    .for_each(|object| town.add(&Polecat::read(object), now));
                Ok::<_, Error>(())
            })
            .await?;
        if !town.pending.is_empty() || town.rigs.values().any(|rig| rig.phase == "Pending") {
            town.no_operator = none_runs(cluster).await;
        }
        Ok(town)
    }

    fn print(&self, session: &mut Session, cluster: &Cluster, town: &Town) -> Result<(), Error> {
        let value = town.value();
        let names: Vec<_> = town
            .rigs
            .keys()
            .map(|name| format!("rig.{}/{name}", gastown_api::GROUP))
            .collect();
        let format = &self.output.output;
        let most = if matches!(format, Format::Wide) {
            usize::MAX
        } else {
            NAMED
        };
        Ok(session.out.object(format, &value, &names.join("\n"), |out, _| {
            town.print(out, cluster.address(), most, !self.this_namespace)
        })?)
    }
}

impl Town {
    fn add(&mut self, polecat: &Polecat, now: Timestamp) {
        let rig = self.rigs.entry(polecat.spec.rig.clone()).or_default();
        let micros = polecat.status.cost_micros.unwrap_or_default();
        let is_queued = polecat.queued().is_some();
        let state = if is_queued { QUEUED } else { polecat.phase() };
        let is_parked = polecat.parked().is_some();
        let is_starting = state == "Working" && !polecat.status.pod_active && !is_parked;
        for counts in [&mut rig.counts, &mut self.counts] {
            counts.add(state, is_starting);
        }
        rig.micros = rig.micros.saturating_add(micros);
        self.micros = self.micros.saturating_add(micros);
        let what = match (polecat.queued(), polecat.parked()) {
            (Some(queued), _) => queued.reason.clone(),
            (None, Some(parked)) => format!("parked: {}", parked.reason),
            (None, None) => polecat.reason().to_owned(),
        };
        let line = Line {
            namespace: polecat.metadata.namespace.clone(),
            address: polecat.address(),
            bead: polecat.spec.bead_id.clone().unwrap_or_default(),
            what,
            age: age::since(&polecat.metadata.creation_timestamp, now),
            cost: polecat.status.cost.clone(),
        };
        match polecat.phase() {
            _ if is_queued => self.queued.push((rank(polecat), line)),
            "Working" => self.working.push(line),
            "Stuck" => self.stuck.push(line),
            "Pending" => self.pending.push(line),
            _ => {}
        }
    }

    fn print(&self, out: &mut Out, address: &str, most: usize, namespaces: bool) -> Result<(), Output> {
        let title = out
            .style
            .strong(&format!("Town at {}", escape(address.trim_end_matches('/'))));
        out.line(&title)?;
        let titles = self.counts.titles();
        let counts = titles
            .iter()
            .map(|title| format!("{} {title}", self.counts.of(title)));
        let totals: Vec<_> = std::iter::once(counted(self.rigs.len(), "rig"))
            .chain(counts)
            .chain([dollars(self.micros)])
            .collect();
        out.line(&totals.join(" · "))?;
        if let Some(why) = &self.no_operator {
            let text = format!("{why}: nothing that is Pending goes on; `kubectl gt doctor` says what to do");
            let text = out.style.bad(&text);
            out.line(&text)?;
        }
        if self.rigs.is_empty() {
            return out.line("\nno rigs yet: kubectl gt rig create NAME --git-url URL --prefix PREFIX");
        }
        out.line("")?;
        let rows: Vec<_> = self
            .rigs
            .iter()
            .map(|(name, rig)| {
                let phase = if rig.phase.is_empty() {
                    "(no Rig)"
                } else {
                    &rig.phase
                };
                let counts = titles.iter().map(|title| rig.counts.of(title).to_string());
                [name.clone(), phase.to_owned()]
                    .into_iter()
                    .chain(counts)
                    .chain([dollars(rig.micros)])
                    .collect::<Vec<_>>()
            })
            .collect();
        let titles: Vec<_> = ["rig", "phase"]
            .into_iter()
            .chain(titles)
            .chain(["cost"])
            .collect();
        TablePrinter::start(out, &titles).rows(&rows)?;
        for (title, list) in [
            (
                "Pending (no operator has looked at them)",
                self.pending.iter().collect(),
            ),
            ("Queued (of each rig, the next one first)", self.queue()),
            ("At work", self.working.iter().collect()),
            (
                "Stuck (kubectl gt polecat describe RIG/NAME says what to do)",
                self.stuck.iter().collect(),
            ),
        ] {
            lines(out, title, &list, most, namespaces)?;
        }
        Ok(())
    }

    /// Those that wait for a slot: of each rig, the next one first.
    fn queue(&self) -> Vec<&Line> {
        let mut queued: Vec<_> = self.queued.iter().collect();
        queued.sort_by(|(a, _), (b, _)| a.cmp(b));
        queued.into_iter().map(|(_, line)| line).collect()
    }

    fn value(&self) -> Value {
        let line = |line: &Line| json!({"namespace": line.namespace, "polecat": line.address, "bead": line.bead, "reason": line.what});
        json!({
            "rigs": self.rigs.iter().map(|(name, rig)| json!({
                "name": name,
                "phase": rig.phase,
                "polecats": rig.counts.phases,
                "starting": rig.counts.starting,
                "costMicros": rig.micros,
            })).collect::<Vec<_>>(),
            "polecats": self.counts.phases,
            "queued": self.queue().into_iter().map(line).collect::<Vec<_>>(),
            "starting": self.counts.starting,
            "noOperator": self.no_operator,
            "pending": self.pending.iter().map(line).collect::<Vec<_>>(),
            "working": self.working.iter().map(line).collect::<Vec<_>>(),
            "stuck": self.stuck.iter().map(line).collect::<Vec<_>>(),
            "costMicros": self.micros,
        })
    }
}

/// Where a polecat stands among those of its rig that wait: a minute of waiting is worth a point of priority.
fn rank(polecat: &Polecat) -> Rank {
    let created: Option<Timestamp> = polecat.metadata.creation_timestamp.parse().ok();
    let created = created.map_or(0, Timestamp::as_second);
    let points = polecat
        .spec
        .priority
        .unwrap_or(DEFAULT_PRIORITY)
        .saturating_mul(60);
    let place = created.saturating_sub(points);
    (polecat.spec.rig.clone(), place, polecat.metadata.name.clone())
}

fn lines(out: &mut Out, title: &str, lines: &[&Line], most: usize, namespaces: bool) -> Result<(), Output> {
    if lines.is_empty() {
        return Ok(());
    }
    let title = out.style.strong(title);
    out.line(&format!("\n{title}"))?;
    let rows: Vec<_> = lines
        .iter()
        .take(most)
        .map(|line| {
            let cells = [
                &line.namespace,
                &line.address,
                &line.bead,
                &line.what,
                &line.age,
                &line.cost,
            ];
            let cells = cells.into_iter().skip(usize::from(!namespaces));
            cells.cloned().collect::<Vec<_>>()
        })
        .collect();
    let titles = ["namespace", "polecat", "bead", "reason", "age", "cost"];
    TablePrinter::start(out, &titles[usize::from(!namespaces)..]).rows(&rows)?;
    if lines.len() > most {
        out.line(&format!("… and {} more (-o wide)", lines.len() - most))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::cluster::testing::{answering, refusal};
    use crate::exit::Exit;
    use crate::flags::ClusterFlags;

    /// What is shown of a town with polecats of these states, where deployments are answered by `code` and `deployments`.
    async fn shown(code: u16, deployments: Value, polecats: &[(&str, bool)]) -> (String, Value) {
        let items: Vec<_> = polecats
            .iter()
            .enumerate()
            .map(|(at, (phase, active))| {
                json!({
                    "metadata": {"name": format!("p{at}"), "namespace": "town"}, "spec": {"rig": "demo"},
                    "status": {"phase": phase, "podActive": active},
                })
            })
            .collect();
        let cluster = answering(move |request| match request.uri().path() {
            path if path.contains("/deployments") => (code, deployments.clone()),
            path if path.ends_with("/polecats") => (200, json!({"items": items})),
            _ => (200, json!({"items": []})),
        });
        let args = Args {
            this_namespace: false,
            watch: false,
            interval: Duration::from_secs(1),
            output: OutputArgs {
                output: Format::Table,
            },
        };
        let town = args.look(&cluster).await.unwrap();
        let shared = crate::output::testing::Shared::default();
        let mut out = Out::into(Box::new(shared.clone()));
        town.print(&mut out, "a", NAMED, true).unwrap();
        (shared.text(), town.value())
    }

    #[tokio::test]
    async fn what_nobody_looks_at_and_what_waits_for_its_pod_is_counted_and_named() {
        let all = [
            ("", false),
            ("Working", false),
            ("Working", true),
            ("Done", false),
        ];
        let (text, value) = shown(200, json!({"items": []}), &all).await;
        assert!(
            text.contains("1 pending · 1 starting · 1 working · 1 done · 0 stuck"),
            "{text}"
        );
        assert!(text.contains("no operator is installed: nothing"), "{text}");
        assert!(text.contains("NAMESPACE") && text.contains("town"), "{text}");
        assert_eq!(
            (&value["starting"], &value["pending"][0]["polecat"]),
            (&json!(1), &json!("demo/p0"))
        );
        let down = json!({"items": [{"status": {}}]});
        let (text, _) = shown(200, down, &all).await;
        assert!(text.contains("no operator runs: nothing"), "{text}");
        let up = json!({"items": [{"status": {}}, {"status": {"availableReplicas": 1}}]});
        for (code, deployments) in [(200, up), (403, json!({}))] {
            let (text, value) = shown(code, deployments, &all).await;
            assert!(
                !text.contains("operator is") && value["noOperator"].is_null(),
                "{text}"
            );
        }
        // Where nothing is Pending nobody asks.
        let (text, _) = shown(200, json!({"items": []}), &all[2..]).await;
        assert!(!text.contains("operator is"), "{text}");
    }

    #[tokio::test]
    async fn what_there_is_none_of_is_left_out_so_that_the_screen_is_as_wide_as_a_terminal() {
        let (text, _) = shown(200, json!({"items": []}), &[("Working", true), ("Stuck", false)]).await;
        assert!(
            text.contains("\n1 rig · 1 working · 0 done · 1 stuck · $"),
            "{text}"
        );
        for title in ["PENDING", "QUEUED", "STARTING", "IDLE"] {
            assert!(!text.contains(title), "{text}");
        }
        let (text, _) = shown(200, json!({"items": []}), &[("Idle", false)]).await;
        assert!(text.contains("IDLE") && text.contains("1 idle"), "{text}");
    }

    #[test]
    fn those_that_wait_for_a_slot_are_listed_in_the_order_in_which_they_start() {
        let mut town = Town::default();
        for (name, priority, minute, phase) in [
            ("late", None, 30, "Idle"),
            ("urgent", Some(900), 40, "Idle"),
            ("early", None, 20, "Stuck"),
            // 21 points less than `early` has, and 20 minutes older.
            ("aged", Some(479), 0, "Idle"),
        ] {
            let queued = json!({"type": "Queued", "status": "True", "reason": "RigAtCapacity"});
            town.add(
                &Polecat::read(&json!({
                    "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z")},
                    "spec": {"rig": "demo", "priority": priority},
                    "status": {"phase": phase, "conditions": [queued]},
                })),
                Timestamp::now(),
            );
        }
        let order: Vec<_> = town.queue().iter().map(|line| line.address.as_str()).collect();
        assert_eq!(order, ["demo/urgent", "demo/early", "demo/aged", "demo/late"]);
        assert!(town.stuck.is_empty(), "a retry that waits is not stuck");
    }

    /// How the second look ends, and how many lists it took, where the first list is answered by `code`.
    async fn look_again(code: u16) -> (Result<Town, Error>, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let cluster = answering(move |_| match counter.fetch_add(1, Ordering::Relaxed) {
            0 => refusal(code, "", ""),
            _ => (200, json!({"items": []})),
        });
        let args = Args {
            this_namespace: false,
            watch: true,
            interval: Duration::ZERO,
            output: OutputArgs {
                output: Format::Table,
            },
        };
        let reporter = Session::new(ClusterFlags::default()).reporter;
        (
            args.look_again(reporter, &cluster).await,
            asked.load(Ordering::Relaxed),
        )
    }

    #[test]
    fn what_would_ask_the_cluster_without_a_pause_is_refused() {
        for text in ["0", "1ms", "999ms", "0s"] {
            let error = interval(text).unwrap_err();
            assert!(error.contains("1s or more"), "{text}: {error}");
        }
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("1m"), Ok(Duration::from_mins(1)));
    }

    #[tokio::test]
    async fn only_an_error_that_will_not_pass_ends_the_watch() {
        // The failed list, then those of rigs and polecats.
        let (town, lists) = look_again(503).await;
        assert!(town.is_ok() && lists == 3, "{town:?} after {lists}");
        for (code, exit) in [(403, Exit::Forbidden), (404, Exit::NotInstalled)] {
            let (town, lists) = look_again(code).await;
            assert_eq!((town.unwrap_err().exit(), lists), (exit, 1));
        }
    }
}
