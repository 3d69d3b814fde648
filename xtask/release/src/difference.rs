//! What a release has that the one before had not: components in its bills of materials, and what is said of vulnerabilities.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::folder::{names, shipped};

/// What the bills of a release name, of all editions and architectures together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    version: String,
    /// Versions of each component of others, by its package URL without version.
    components: BTreeMap<String, BTreeSet<String>>,
    /// What is said of each vulnerability, by its name.
    statements: BTreeMap<String, String>,
}

impl Contents {
    /// Reads them from the folder of a release.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut contents = Self::default();
        let artefacts = shipped(folder)?;
        let chart = artefacts.iter().find(|one| one.name == "chart");
        contents.version = chart
            .and_then(|chart| chart.tags.first().cloned())
            .with_context(|| format!("{folder:?} has no chart, whose tag is its version"))?;
        let boms = folder.join("boms");
        for target in names(&boms)? {
            for name in names(&boms.join(&target))? {
                let file = boms.join(&target).join(&name);
                let read = || -> Result<Value> {
                    serde_json::from_slice(&fs_err::read(&file)?)
                        .with_context(|| format!("{file:?} is no JSON"))
                };
                if name.ends_with(".cdx.json") {
                    contents.add_bill(&read()?);
                } else if name.ends_with(".vex.json") {
                    contents.add_vex(&read()?);
                }
            }
        }
        Ok(contents)
    }

    fn add_bill(&mut self, bill: &Value) {
        for component in bill["components"].as_array().into_iter().flatten() {
            // Our own are of the release's version, which the notes say.
            if component["supplier"]["name"] == "gastown-operator" || component["scope"] == "excluded" {
                continue;
            }
            let purl = component["purl"].as_str().and_then(|purl| purl.split('?').next());
            if let Some((name, version)) = purl.and_then(|purl| purl.rsplit_once('@')) {
                let plain = version.replace("%2B", "+").replace("%3A", ":");
                self.components.entry(name.to_owned()).or_default().insert(plain);
            }
        }
    }

    fn add_vex(&mut self, document: &Value) {
        for statement in document["statements"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let said = [&statement["status"], &statement["justification"]].map(text);
            let name = text(&statement["vulnerability"]["name"]);
            self.statements.insert(name, said.join(", "));
        }
    }

    /// A section of the release notes on what has changed since `before`.
    pub fn since(&self, before: &Self) -> Result<String> {
        let mut text = format!("## Since {}\n", before.version);
        let versions = |all: Option<&BTreeSet<String>>| match all {
            None => "–".to_owned(),
            Some(all) => all.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        let changed = changed(&before.components, &self.components);
        if !changed.is_empty() {
            write!(
                text,
                "\n| component | {} | {} |\n|---|---|---|\n",
                before.version, self.version
            )?;
            for name in changed {
                let [old, new] = [before, self].map(|one| versions(one.components.get(name)));
                writeln!(text, "| `{name}` | {old} | {new} |")?;
            }
        }
        let said = changed_statements(before, self);
        if !said.is_empty() {
            text.push_str("\nKnown vulnerabilities, in OpenVEX:\n\n");
            text.push_str(&said);
        }
        if text.lines().count() == 1 {
            text.push_str(
                "\nThe same components of others, and nothing else is said of known vulnerabilities.\n",
            );
        }
        Ok(text)
    }
}

fn changed_statements(before: &Contents, now: &Contents) -> String {
    let line = |name: &String| match (before.statements.get(name), now.statements.get(name)) {
        (_, None) => format!("- {name}: nothing is said any more, no program has the component\n"),
        (None, Some(said)) => format!("- {name}: {said}\n"),
        (Some(old), Some(said)) => format!("- {name}: {said}, was {old}\n"),
    };
    changed(&before.statements, &now.statements)
        .into_iter()
        .map(line)
        .collect()
}

/// The keys whose values are not the same.
fn changed<'a, V: PartialEq>(
    one: &'a BTreeMap<String, V>,
    other: &'a BTreeMap<String, V>,
) -> BTreeSet<&'a String> {
    let keys = one.keys().chain(other.keys());
    keys.filter(|key| one.get(*key) != other.get(*key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contents(version: &str, components: &[(&str, &str)], statements: &[(&str, &str)]) -> Contents {
        let mut contents = Contents {
            version: version.to_owned(),
            ..Contents::default()
        };
        let component =
            |(purl, supplier): &(&str, &str)| json!({ "purl": purl, "supplier": { "name": supplier } });
        let all: Vec<_> = components.iter().map(component).collect();
        contents.add_bill(&json!({ "components": all }));
        let statement = |(name, status): &(&str, &str)| json!({ "vulnerability": { "name": name }, "status": status, "justification": "why" });
        let all: Vec<_> = statements.iter().map(statement).collect();
        contents.add_vex(&json!({ "statements": all }));
        contents
    }

    #[test]
    fn components_that_came_went_and_changed_are_listed_and_ours_are_not() {
        let before = contents(
            "0.4.0",
            &[
                ("pkg:cargo/kept@1.0.0", "crates.io"),
                ("pkg:cargo/gone@1.0.0", "crates.io"),
                ("pkg:deb/debian/libc6@2.41-12%2Bdeb13u3?arch=amd64", "Debian"),
                ("pkg:cargo/polecat@0.4.0", "gastown-operator"),
            ],
            &[],
        );
        let now = contents(
            "0.5.0",
            &[
                ("pkg:cargo/kept@1.0.0", "crates.io"),
                ("pkg:npm/%40a/b@1.2.3", "npm"),
                ("pkg:deb/debian/libc6@2.41-12%2Bdeb13u4?arch=amd64", "Debian"),
                ("pkg:deb/debian/libc6@2.41-12%2Bdeb13u4?arch=arm64", "Debian"),
                ("pkg:cargo/polecat@0.5.0", "gastown-operator"),
            ],
            &[],
        );
        let wanted = "## Since 0.4.0\n\n| component | 0.4.0 | 0.5.0 |\n|---|---|---|\n\
            | `pkg:cargo/gone` | 1.0.0 | – |\n\
            | `pkg:deb/debian/libc6` | 2.41-12+deb13u3 | 2.41-12+deb13u4 |\n\
            | `pkg:npm/%40a/b` | – | 1.2.3 |\n";
        assert_eq!(now.since(&before).unwrap(), wanted);
    }

    #[test]
    fn what_is_said_of_vulnerabilities_is_listed_where_it_changed() {
        let before = contents(
            "1",
            &[],
            &[("A", "affected"), ("B", "not_affected"), ("C", "fixed")],
        );
        let now = contents("2", &[], &[("A", "fixed"), ("C", "fixed"), ("D", "not_affected")]);
        let text = now.since(&before).unwrap();
        let wanted = "- A: fixed, why, was affected, why\n- B: nothing is said any more, no program has the component\n- D: not_affected, why\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn a_release_of_the_same_things_says_so() {
        let one = contents("1", &[("pkg:cargo/a@1", "crates.io")], &[("A", "fixed")]);
        let other = Contents {
            version: "2".to_owned(),
            ..one.clone()
        };
        assert!(other.since(&one).unwrap().contains("The same components"));
    }
}
