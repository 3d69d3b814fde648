//! `kubectl gt costs`.

use std::collections::BTreeMap;

use clap::ValueEnum;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

use crate::cluster::{Resource, Selection};
use crate::complete;
use crate::error::Error;
use crate::output::OutputArgs;
use crate::output::table::TablePrinter;
use crate::session::Session;
use crate::view::{Polecat, dollars, tokens};

/// Flags of `costs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only polecats of this rig.
    #[arg(value_name = "RIG", add = ArgValueCompleter::new(complete::rigs))]
    rig: Option<String>,
    /// In every namespace.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// What a row is.
    #[arg(long, value_enum, default_value = "polecat")]
    by: By,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// A polecat.
    Polecat,
    /// A rig.
    Rig,
    /// A model.
    Model,
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
    /// Prints what was used; read page by page, kept only as sums.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = session.cluster().await?;
        let selection = Selection {
            fields: self.rig.as_ref().map(|rig| format!("spec.rig={rig}")),
            all_namespaces: self.all_namespaces,
        };
        let mut rows: BTreeMap<String, Sum> = BTreeMap::new();
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
        let value = json!({
            "by": self.by.title(),
            "rows": rows.iter().map(|(name, sum)| sum.value(name)).collect::<Vec<_>>(),
            "total": total.value("total"),
        });
        let names: Vec<_> = rows.keys().map(String::as_str).collect();
        session
            .out
            .object(&self.output.output, &value, &names.join("\n"), |out, _| {
                let mut table =
                    TablePrinter::start(out, &[self.by.title(), "polecats", "calls", "tokens", "cost"]);
                let mut lines: Vec<_> = rows.iter().map(|(name, sum)| sum.row(name)).collect();
                lines.push(total.row("total"));
                table.rows(&lines)
            })?;
        if total.unpriced > 0 {
            session.talk.warn(&format!(
                "{} polecats used a model without a price, and are not in the cost; add it to the chart's value prices",
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

    fn row(self, polecat: &Polecat) -> String {
        match self {
            Self::Polecat => polecat.address(),
            Self::Rig => polecat.spec.rig.clone(),
            Self::Model if polecat.status.agent_model.is_empty() => "(none)".to_owned(),
            Self::Model => polecat.status.agent_model.clone(),
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

    fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            self.polecats.to_string(),
            self.calls.to_string(),
            tokens(self.tokens),
            dollars(self.micros),
        ]
    }

    fn value(&self, name: &str) -> Value {
        json!({
            "name": name,
            "polecats": self.polecats,
            "calls": self.calls,
            "tokens": self.tokens,
            "costMicros": self.micros,
            "unpriced": self.unpriced,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
