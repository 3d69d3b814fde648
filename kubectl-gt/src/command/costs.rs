//! `kubectl gt costs`.

use std::collections::BTreeMap;

use clap::ValueEnum;
use clap_complete::ArgValueCompleter;
use gastown_api::money::dollars;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Resource, Selection};
use crate::command::listing::{check_rig, no_polecats};
use crate::complete;
use crate::error::Error;
use crate::output::OutputArgs;
use crate::output::table::TablePrinter;
use crate::session::Session;
use crate::view::{Polecat, tokens};

/// Flags of `costs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only polecats of this rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    rig: Option<String>,
    /// Include polecats of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// How to group the costs.
    #[arg(long, value_enum, default_value = "polecat")]
    by: By,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// One row per polecat.
    Polecat,
    /// One row per rig.
    Rig,
    /// One row per model.
    Model,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// Of a polecat; rigs and models are the same in every namespace.
    namespace: String,
    name: String,
}

/// What one row sums up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    polecats: u64,
    calls: u64,
    tokens: u64,
    micros: i64,
    /// Polecats that used a model without a price.
    unpriced: u64,
}

impl Args {
    /// Prints what was used.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        self.costs(session, &cluster).await
    }

    /// Read page by page, kept only as sums.
    async fn costs(self, session: &mut Session, cluster: &Cluster) -> Result<(), Error> {
        let selection = Selection {
            fields: self.rig.as_ref().map(|rig| format!("spec.rig={rig}")),
            all_namespaces: self.all_namespaces,
        };
        if let Some(rig) = &self.rig {
            check_rig(cluster, rig, &selection).await?;
        }
        let mut rows: BTreeMap<Row, Sum> = BTreeMap::new();
        let mut total = Sum::default();
        cluster
            .each_page(Resource::POLECATS, &selection, |page| {
                for polecat in page.items.iter().map(Polecat::read) {
                    rows.entry(self.by.row(&polecat)).or_default().add(&polecat);
                    total.add(&polecat);
                }
                Ok::<_, Error>(())
            })
            .await?;
        if rows.is_empty() && self.output.output.is_for_people() {
            session
                .reporter
                .note(&no_polecats(cluster.namespace(), &selection, self.rig.as_deref()));
            return Ok(());
        }
        let value = json!({
            "by": self.by.title(),
            "rows": rows.iter().map(|(row, sum)| sum.value(row)).collect::<Vec<_>>(),
            "total": total.value(&Row::total()),
        });
        let names: Vec<_> = rows.keys().map(|row| row.name.as_str()).collect();
        session
            .out
            .object(&self.output.output, &value, &names.join("\n"), |out, _| {
                let mut lines: Vec<_> = rows.iter().map(|(row, sum)| sum.line(row)).collect();
                lines.push(total.line(&Row::total()));
                let mut titles = vec![
                    "namespace",
                    self.by.title(),
                    "polecats",
                    "calls",
                    "tokens",
                    "cost",
                ];
                if !(self.all_namespaces && self.by == By::Polecat) {
                    titles.remove(0);
                    for line in &mut lines {
                        line.remove(0);
                    }
                }
                TablePrinter::start(out, &titles).rows(&lines)
            })?;
        if total.unpriced > 0 {
            session.reporter.warn(&format!(
                "polecats whose model has no price, and which are not in the cost: {}; add the price to the chart's value prices",
                total.unpriced
            ));
        }
        Ok(())
    }
}

impl By {
    fn title(self) -> &'static str {
        match self {
            Self::Polecat => "polecat",
            Self::Rig => "rig",
            Self::Model => "model",
        }
    }

    fn row(self, polecat: &Polecat) -> Row {
        let (namespace, name) = match self {
            Self::Polecat => (polecat.metadata.namespace.as_str(), polecat.address()),
            Self::Rig => ("", polecat.spec.rig.clone()),
            Self::Model if polecat.status.agent_model.is_empty() => ("", "(none)".to_owned()),
            Self::Model => ("", polecat.status.agent_model.clone()),
        };
        Row {
            namespace: namespace.to_owned(),
            name,
        }
    }
}

impl Row {
    fn total() -> Self {
        Self {
            namespace: String::new(),
            name: "total".to_owned(),
        }
    }
}

impl Sum {
    fn add(&mut self, polecat: &Polecat) {
        let usage = &polecat.status.usage;
        self.polecats += 1;
        self.calls = self.calls.saturating_add(usage.requests);
        self.tokens = self.tokens.saturating_add(usage.tokens());
        match polecat.status.cost_micros {
            Some(micros) => self.micros = self.micros.saturating_add(micros),
            None if usage.requests > 0 => self.unpriced += 1,
            None => {}
        }
    }

    fn line(&self, row: &Row) -> Vec<String> {
        vec![
            row.namespace.clone(),
            row.name.clone(),
            self.polecats.to_string(),
            self.calls.to_string(),
            tokens(self.tokens),
            dollars(self.micros),
        ]
    }

    fn value(&self, row: &Row) -> Value {
        let mut value = json!({
            "name": row.name,
            "polecats": self.polecats,
            "calls": self.calls,
            "tokens": self.tokens,
            "costMicros": self.micros,
            "unpriced": self.unpriced,
        });
        if !row.namespace.is_empty() {
            value["namespace"] = json!(row.namespace);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::answering;
    use crate::flags::ClusterFlags;
    use crate::output::testing::Shared;
    use crate::output::{Format, Out};

    #[tokio::test]
    async fn polecats_of_one_name_in_two_namespaces_are_two() {
        let cluster = answering(|_| {
            let of = |namespace: &str| {
                json!({
                    "metadata": {"name": "a", "namespace": namespace}, "spec": {"rig": "demo"},
                    "status": {"usage": {"requests": 1}, "costMicros": 5},
                })
            };
            (200, json!({"items": [of("town"), of("city")]}))
        });
        let print = async |output: Format| {
            let mut session = Session::new(ClusterFlags::default());
            let shared = Shared::default();
            session.out = Out::into(Box::new(shared.clone()));
            let args = Args {
                rig: None,
                all_namespaces: true,
                by: By::Polecat,
                output: OutputArgs { output },
            };
            args.costs(&mut session, &cluster).await.unwrap();
            shared.text()
        };
        let table = print(Format::Table).await;
        let words: Vec<Vec<_>> = table
            .lines()
            .map(|line| line.split_whitespace().take(3).collect())
            .collect();
        assert_eq!(
            words,
            [
                ["NAMESPACE", "POLECAT", "POLECATS"],
                ["city", "demo/a", "1"],
                ["town", "demo/a", "1"],
                ["total", "2", "2"]
            ]
        );
        let value: Value = serde_json::from_str(&print(Format::Json).await).unwrap();
        let namespaces = [&value["rows"][0]["namespace"], &value["rows"][1]["namespace"]];
        assert_eq!(namespaces, ["city", "town"]);
        assert_eq!(value["total"]["polecats"], 2);
    }

    #[tokio::test]
    async fn where_there_are_no_polecats_no_sum_is_shown() {
        let print = async |output: Format| {
            let cluster = answering(|_| (200, json!({"items": []})));
            let mut session = Session::new(ClusterFlags::default());
            let shared = Shared::default();
            session.out = Out::into(Box::new(shared.clone()));
            let args = Args {
                rig: None,
                all_namespaces: false,
                by: By::Polecat,
                output: OutputArgs { output },
            };
            args.costs(&mut session, &cluster).await.unwrap();
            shared.text()
        };
        assert_eq!(print(Format::Table).await, "");
        let value: Value = serde_json::from_str(&print(Format::Json).await).unwrap();
        assert_eq!(value["total"]["polecats"], 0, "a program gets its object");
    }

    #[test]
    fn a_polecat_without_a_price_is_counted_and_not_taken_for_free() {
        let read = |status: Value| {
            Polecat::read(&json!({"metadata": {"name": "a"}, "spec": {"rig": "r"}, "status": status}))
        };
        let mut sum = Sum::default();
        sum.add(&read(
            json!({"usage": {"inputTokens": 10, "requests": 1}, "costMicros": 5}),
        ));
        sum.add(&read(json!({"usage": {"inputTokens": 10, "requests": 1}})));
        sum.add(&read(json!({})));
        assert_eq!(
            sum,
            Sum {
                polecats: 3,
                calls: 2,
                tokens: 20,
                micros: 5,
                unpriced: 1
            }
        );
    }
}
