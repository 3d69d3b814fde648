//! The bars of the design that the figures touch, and where each figure stands.

use serde::Serialize;

use super::arrival::{Round, together};
use super::figures::{Spread, mean};
use super::life::{Ends, Lives};
use super::listing::Listing;
use super::proxy::Proxy;
use super::report::Figures;
use super::size::{ColdStart, Idle};

/// One bar.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// The bar, in words.
    pub bar: String,
    /// What was measured, in words.
    pub measured: String,
    /// Operator to bare client, or measured to bar where the bar is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Whether the bar is met; none where there is no bar for this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meets: Option<bool>,
}

/// A mebibyte.
const MIB: f64 = 1024.0 * 1024.0;

/// Resident memory of the operator in MiB at most, by the number of polecats.
const MEMORY: [(usize, f64); 4] = [(0, 15.0), (1_000, 25.0), (5_000, 45.0), (10_000, 64.0)];

/// Every bar that `figures` touch.
#[must_use]
pub fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows = arrivals(&figures.rounds);
    rows.extend(writes(&figures.rounds, &figures.lives));
    rows.extend(
        figures
            .sizes
            .iter()
            .map(|size| memory(size.polecats, size.resident, "")),
    );
    rows.push(start(&figures.cold_start));
    let (cold, idle_now) = (&figures.cold_start, &figures.idle);
    // Reading the lists leaves holes in the heap that growing one by one does not.
    rows.push(memory(cold.polecats, cold.resident, " after a cold start"));
    rows.push(memory(idle_now.polecats, idle_now.resident, " after idling"));
    rows.extend(idle(&figures.idle));
    rows.extend(ends(&figures.ends));
    rows.extend(proxy(&figures.proxy));
    rows.extend(figures.lists.iter().flat_map(list));
    rows
}

fn beside(what: String, unit: &str, bare: f64, operator: f64, limit: f64) -> Row {
    let ratio = operator / bare;
    Row {
        what,
        bar: format!("≤ {limit}× bare client"),
        measured: format!("{operator:.1} {unit}, bare {bare:.1} {unit}"),
        ratio: Some(ratio),
        meets: Some(ratio <= limit),
    }
}

fn at_most(what: String, unit: &str, measured: f64, limit: f64) -> Row {
    Row {
        what,
        bar: format!("≤ {limit} {unit}").trim_end().to_owned(),
        measured: format!("{measured:.2} {unit}").trim_end().to_owned(),
        ratio: Some(measured / limit).filter(|_| limit > 0.0),
        meets: Some(measured <= limit),
    }
}

fn arrivals(rounds: &[Round]) -> Vec<Row> {
    let mut rates: Vec<u32> = rounds.iter().map(|round| round.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let fastest = rates.last().copied();
    let mut rows = Vec::new();
    for rate in rates {
        let (Some(bare), Some(operator)) =
            (together(rounds, "bare", rate), together(rounds, "operator", rate))
        else {
            continue;
        };
        let (a, b) = (bare.created_to_pod, operator.created_to_pod);
        // At the highest rate the machine is full, and the bar is on the whole, not on the single polecat.
        if Some(rate) == fastest {
            let what = format!("all have pods, {rate}/s");
            rows.push(beside(what, "s", bare.all_have_pods, operator.all_have_pods, 1.3));
            for (name, a, b) in [("p50", a.p50, b.p50), ("p99", a.p99, b.p99)] {
                let what = format!("created → pod {name}, {rate}/s");
                let row = beside(what, "ms", a, b, 2.0);
                rows.push(Row {
                    bar: "none: the machine is full".to_owned(),
                    meets: None,
                    ..row
                });
            }
        } else {
            for (name, a, b) in [("p50", a.p50, b.p50), ("p99", a.p99, b.p99)] {
                rows.push(beside(format!("created → pod {name}, {rate}/s"), "ms", a, b, 2.0));
            }
            rows.extend(beside_a_watcher(rounds, rate, operator.created_to_pod));
        }
        let what = format!("API server CPU per 1,000, {rate}/s");
        rows.push(beside(
            what,
            "s",
            bare.api_server_cpu,
            operator.api_server_cpu,
            1.3,
        ));
    }
    rows
}

/// The same beside a bare client that learns of polecats by watch, as the operator does.
fn beside_a_watcher(rounds: &[Round], rate: u32, operator: Spread) -> Vec<Row> {
    let Some(watching) = together(rounds, "watching", rate) else {
        return Vec::new();
    };
    let bare = watching.created_to_pod;
    let rows = [("p50", bare.p50, operator.p50), ("p99", bare.p99, operator.p99)].map(|(name, a, b)| {
        let what = format!("created → pod {name}, {rate}/s, bare client by watch");
        Row {
            bar: "none: says where the time goes".to_owned(),
            meets: None,
            ..beside(what, "ms", a, b, 2.0)
        }
    });
    rows.into()
}

fn writes(rounds: &[Round], lives: &Lives) -> Vec<Row> {
    let until_pod: Vec<_> = rounds.iter().filter_map(|round| round.writes_until_pod).collect();
    let means: Vec<f64> = until_pod.iter().map(|(mean, _)| *mean).collect();
    let most = until_pod.iter().map(|(_, most)| *most).max().unwrap_or(0);
    let mut first = at_most(
        "API writes until the pod exists".to_owned(),
        "",
        mean(&means),
        2.0,
    );
    first.measured = format!("{} (mean), {most} (most)", first.measured);
    vec![
        first,
        at_most("API writes, creation to Done".to_owned(), "", lives.writes, 6.0),
    ]
}

fn memory(polecats: usize, resident: u64, when: &str) -> Row {
    let what = format!("operator memory, {polecats} polecats{when}");
    let resident = bytes(resident) / MIB;
    match MEMORY.iter().find(|(size, _)| *size == polecats) {
        Some((_, limit)) => at_most(what, "MiB", resident, *limit),
        None => Row {
            what,
            bar: "none for this number".to_owned(),
            measured: format!("{resident:.1} MiB"),
            ratio: None,
            meets: None,
        },
    }
}

fn start(start: &ColdStart) -> Row {
    let what = format!("cold start, {} reconciled", start.polecats);
    let row = at_most(what, "s", start.seconds, 5.0);
    let measured = format!("{} (CPU {:.2} s)", row.measured, start.cpu);
    Row { measured, ..row }
}

fn idle(idle: &Idle) -> Vec<Row> {
    let of = format!("idle {:.0} s, {} polecats", idle.seconds, idle.polecats);
    let writes = super::figures::count(idle.writes);
    vec![
        at_most(format!("{of}: writes without the Lease's"), "", writes, 0.0),
        at_most(format!("{of}: reads"), "/s", idle.reads_per_second, 1.0),
    ]
}

fn ends(ends: &Ends) -> Vec<Row> {
    let of = format!("pod ended → Done, {} at once", ends.ended_to_done.count);
    vec![
        at_most(format!("{of}: p50"), "ms", ends.ended_to_done.p50, 300.0),
        at_most(format!("{of}: max"), "ms", ends.ended_to_done.max, 3000.0),
    ]
}

/// The bars are those of the list that people read; the other formats show where they stand.
fn list(list: &Listing) -> Vec<Row> {
    let of = format!("plugin, list of {} as {}", list.polecats, list.format);
    let judged = list.format == "table";
    let row = |what: &str, unit: &str, measured: f64, limit: f64| {
        let row = at_most(format!("{of}: {what}"), unit, measured, limit);
        Row {
            meets: row.meets.filter(|_| judged),
            ..row
        }
    };
    let mut rows = vec![
        row("p95 over the API server's own time", "ms", list.added.p95, 150.0),
        row("memory, most", "MiB", bytes(list.peak) / MIB, 50.0),
    ];
    rows.push(Row {
        what: format!("{of}: p95 over a client that only reads"),
        bar: "none".to_owned(),
        measured: format!("{:.1} ms", list.over_bare.p95),
        ratio: None,
        meets: None,
    });
    let [first, end] = [list.first_row.p50, list.plugin.p50];
    rows.push(Row {
        what: format!("{of}: first row"),
        bar: "before the last page".to_owned(),
        measured: format!("after {first:.0} of {end:.0} ms (p50)"),
        ratio: Some(first / end),
        meets: None,
    });
    rows
}

fn proxy(proxy: &Proxy) -> Vec<Row> {
    vec![
        at_most(
            "model proxy, added latency p99".to_owned(),
            "ms",
            proxy.added.p99,
            1.0,
        ),
        at_most(
            "model proxy's process, memory, idle".to_owned(),
            "MiB",
            bytes(proxy.resident_idle) / MIB,
            24.0,
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
fn bytes(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_beside_the_bare_client_meets_its_bar_by_its_ratio() {
        assert_eq!(beside("x".to_owned(), "s", 10.0, 13.0, 1.3).meets, Some(true));
        assert_eq!(beside("x".to_owned(), "s", 10.0, 13.1, 1.3).meets, Some(false));
    }

    #[test]
    fn memory_is_judged_only_where_the_design_has_a_number() {
        let meets = |polecats| memory(polecats, 26 * 1024 * 1024, "").meets;
        assert_eq!(meets(1_000), Some(false));
        assert_eq!(meets(5_000), Some(true));
        assert_eq!(meets(100), None);
    }
}
