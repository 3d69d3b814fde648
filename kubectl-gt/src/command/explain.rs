//! `kubectl gt explain`.

use clap_complete::ArgValueCompleter;
use gastown_api::condition::MEANINGS;
use gastown_api::kinds::reasons;
use gastown_api::reason::AnyReason;
use serde_json::{Value, json};

use crate::complete;
use crate::error::{CommandError, Error};
use crate::output::detail::Detail;
use crate::output::table::TablePrinter;
use crate::output::{ListPrinter, OutputArgs};
use crate::session::Session;

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The reason, as status, conditions and events show it, or a condition; without one, list all reasons.
    #[arg(value_name = "REASON", add = ArgValueCompleter::new(complete::reasons))]
    reason: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Prints what a reason means; needs no cluster.
    pub fn run(self, session: &mut Session) -> Result<(), Error> {
        let format = &self.output.output;
        let Some(asked) = &self.reason else {
            if format.is_for_people() {
                let rows: Vec<_> = reasons()
                    .map(|reason| vec![reason.to_string(), reason.sentence.to_owned()])
                    .collect();
                return Ok(TablePrinter::start(&mut session.out, &["reason", "meaning"]).rows(&rows)?);
            }
            let mut printer = ListPrinter::start(&mut session.out, format);
            for reason in reasons() {
                printer.element(value(reason), reason.name)?;
            }
            return Ok(printer.end()?);
        };
        if let Some((type_, meaning)) = condition(asked) {
            let value = json!({"condition": type_, "meaning": meaning});
            return Ok(session.out.object(format, &value, type_, |out, _| {
                let mut detail = Detail::default();
                detail.field("Condition", type_).field("Meaning", meaning).field(
                    "To do",
                    "read its reason and message: `kubectl gt polecat describe`",
                );
                detail.print(out)
            })?);
        }
        let reason = find(asked)?;
        Ok(session
            .out
            .object(format, &value(reason), reason.name, |out, _| {
                let remedy = reason.remedy;
                let mut detail = Detail::default();
                detail
                    .field("Reason", reason.name)
                    .field("Meaning", reason.sentence)
                    .field("To do", if remedy.is_empty() { "nothing" } else { remedy });
                detail.print(out)
            })?)
    }
}

/// The condition of that name, unless a reason has the same name.
fn condition(asked: &str) -> Option<(&'static str, &'static str)> {
    let is_asked = |name: &str| name.eq_ignore_ascii_case(asked);
    let mut conditions = MEANINGS.iter().copied();
    conditions.find(|(type_, _)| is_asked(type_) && !reasons().any(|reason| is_asked(reason.name)))
}

fn value(reason: AnyReason) -> Value {
    json!({"reason": reason.name, "meaning": reason.sentence, "remedy": reason.remedy})
}

fn find(asked: &str) -> Result<AnyReason, CommandError> {
    if let Some(reason) = reasons().find(|reason| reason.name.eq_ignore_ascii_case(asked)) {
        return Ok(reason);
    }
    let lower = asked.to_ascii_lowercase();
    let near: Vec<_> = reasons()
        .filter(|reason| !lower.is_empty() && reason.name.to_ascii_lowercase().contains(&lower))
        .map(|reason| reason.name)
        .collect();
    let hint = if near.is_empty() {
        "`kubectl gt explain` lists all".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    Err(CommandError::Invalid(format!(
        "{asked:?} is no reason that this plugin knows; {hint}"
    )))
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;

    use super::*;

    #[test]
    fn a_condition_is_explained_unless_a_reason_has_its_name() {
        assert_eq!(condition("workmaybelost").unwrap().0, "WorkMayBeLost");
        assert_eq!(condition("Delivered"), None, "a reason");
        assert_eq!(condition("nonsense"), None);
    }

    #[test]
    fn a_reason_is_found_in_any_case_and_a_part_of_one_gives_a_hint() {
        assert_eq!(find("outofmemory").unwrap(), Reason::OutOfMemory);
        assert!(find("memory").unwrap_err().to_string().contains("OutOfMemory"));
        assert!(find("nonsense").unwrap_err().to_string().contains("lists all"));
    }
}
