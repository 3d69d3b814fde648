//! Everything that would break a release, found before it starts, each with its remedy.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};
use xtask_image::process::Command;
use xtask_image::{Architecture, Lock, machine};

use crate::checkout::Checkout;
use crate::plan::{Act, Plan};
use crate::vex;

/// What the machine and the checkout offer.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub is_dirty: bool,
    /// Architectures that the lock of the images has packages for.
    pub locked: BTreeSet<Architecture>,
    /// Rust targets that are installed.
    pub rust_targets: BTreeSet<String>,
    /// Programs that were looked for and are not there.
    pub missing: BTreeSet<String>,
    /// Statements on vulnerabilities that have to be looked at again.
    pub expired: Vec<String>,
    /// Why the signing key cannot be used, if there is one.
    pub key: Option<std::result::Result<(), String>>,
}

/// Something that breaks the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl Facts {
    /// Looks.
    pub fn gather(
        plan: &Plan,
        checkout: &Checkout,
        key: Option<std::result::Result<(), String>>,
    ) -> Result<Self> {
        let installed = Command::new("rustup")
            .args(["target", "list", "--installed"])
            .text()
            .unwrap_or_default();
        let tools = tools(plan);
        Ok(Self {
            is_dirty: checkout.is_dirty,
            locked: locked()?.into_iter().collect(),
            rust_targets: installed.lines().map(str::to_owned).collect(),
            missing: tools
                .into_iter()
                .filter(|tool| machine::find(tool).is_none())
                .collect(),
            expired: {
                let today = jiff::Timestamp::now().to_string();
                let day = today.get(..10).unwrap_or_default();
                vex::load()?
                    .iter()
                    .filter_map(|statement| statement.expired(day))
                    .collect()
            },
            key,
        })
    }
}

/// The architectures that the lock of the images has packages for.
pub fn locked() -> Result<Vec<Architecture>> {
    let lock = Lock::load()?;
    let has = |one: &Architecture| lock.images.contains_key(one);
    Ok(Architecture::ALL.into_iter().filter(has).collect())
}

/// The programs that the plan's jobs start.
fn tools(plan: &Plan) -> BTreeSet<String> {
    let mut tools = BTreeSet::from(["git".to_owned(), "cargo".to_owned()]);
    for target in &plan.targets {
        tools.extend(["strip", "objcopy", "objdump", "nm", "gcc"].map(|name| target.architecture.gnu(name)));
        if !target.architecture.is_native() {
            tools.insert(target.architecture.emulator().to_owned());
        }
    }
    tools
}

/// Fails with all problems at once.
pub fn check(plan: &Plan, facts: &Facts) -> Result<()> {
    let problems = problems(plan, facts);
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = problems.iter().map(|problem| format!("  - {problem}")).collect();
    bail!("the release would fail:\n{}", lines.join("\n"))
}

/// What would break the plan.
pub fn problems(plan: &Plan, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |what: String, remedy: &str| {
        problems.push(Problem {
            what,
            remedy: remedy.to_owned(),
        });
    };
    if plan.targets.is_empty() {
        add(
            "nothing is to be built".to_owned(),
            "name an edition and an architecture",
        );
    }
    if facts.is_dirty && !plan.is_dev {
        add(
            "the checkout has changes that are not committed, which no commit would name".to_owned(),
            "commit or stash them, or try with --dev",
        );
    }
    for tool in &facts.missing {
        add(format!("program {tool:?} is not on the PATH"), remedy_of(tool));
    }
    let architectures: BTreeSet<_> = plan.targets.iter().map(|target| target.architecture).collect();
    for architecture in architectures {
        let name = architecture.as_str();
        if !facts.locked.contains(&architecture) {
            add(
                format!("images/images.lock has no packages for {name}"),
                "release with --arch for those that it has",
            );
        }
        let is_cross = !plan.is_dev || !architecture.is_native();
        if is_cross && !facts.rust_targets.contains(architecture.triple()) {
            add(
                format!("Rust cannot compile for {name}"),
                &format!("`rustup target add {}`", architecture.triple()),
            );
        }
    }
    for reason in &facts.expired {
        add(
            reason.clone(),
            "look at it again, and set its day in sbom/vex anew",
        );
    }
    let signs = plan.jobs.iter().any(|step| step.act == Act::Sign);
    match &facts.key {
        None if signs => add(
            "there is no key to sign with".to_owned(),
            "make one with `cargo xtask release key cosign` and name it with --key, or stop before with --only",
        ),
        Some(Err(reason)) if signs => add(reason.clone(), "name another with --key"),
        None | Some(_) => {}
    }
    problems
}

fn remedy_of(tool: &str) -> &'static str {
    match tool {
        "git" => "`apt-get install git`",
        "cargo" => "install Rust with rustup",
        _ if tool.starts_with("qemu-") => "`apt-get install qemu-user`",
        _ if tool.starts_with("aarch64-linux-gnu-") => "`apt-get install gcc-aarch64-linux-gnu`",
        _ if tool.starts_with("x86_64-linux-gnu-") => "`apt-get install gcc-x86-64-linux-gnu`",
        _ => "`apt-get install gcc binutils`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Wanted;
    use xtask_image::Edition;

    fn plan(is_dev: bool, editions: &[Edition], architectures: &[Architecture]) -> Plan {
        let checkout = Checkout {
            version: "0.5.0".to_owned(),
            source: String::new(),
            commit: String::new(),
            epoch: 0,
            programs: String::new(),
            images: String::new(),
            artefacts: String::new(),
            pipeline: String::new(),
            changelog: String::new(),
            is_dirty: false,
        };
        let wanted = Wanted {
            editions: editions.to_vec(),
            architectures: architectures.to_vec(),
            is_dev,
            registry: None,
            asks_advisories: false,
            is_unsigned: false,
            only: Vec::new(),
        };
        Plan::new(&checkout, &wanted).unwrap()
    }

    fn ready() -> Facts {
        Facts {
            is_dirty: false,
            locked: Architecture::ALL.into(),
            rust_targets: Architecture::ALL.map(|one| one.triple().to_owned()).into(),
            missing: BTreeSet::new(),
            expired: Vec::new(),
            key: Some(Ok(())),
        }
    }

    #[test]
    fn all_problems_are_told_at_once_each_with_its_remedy() {
        let plan = plan(false, &Edition::ALL, &Architecture::ALL);
        assert_eq!(problems(&plan, &ready()), []);
        let facts = Facts {
            is_dirty: true,
            missing: ["aarch64-linux-gnu-strip".to_owned()].into(),
            ..Facts::default()
        };
        let error = check(&plan, &facts).unwrap_err().to_string();
        let wanted = [
            "not committed, which no commit would name; commit or stash them",
            r#""aarch64-linux-gnu-strip" is not on the PATH; `apt-get install gcc-aarch64-linux-gnu`"#,
            "no packages for amd64; release with --arch",
            "Rust cannot compile for arm64; `rustup target add aarch64-unknown-linux-gnu`",
            "no key to sign with; make one with `cargo xtask release key cosign`",
        ];
        for part in wanted {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn a_trial_needs_a_rust_target_for_other_machines_alone() {
        let foreign = Architecture::ALL
            .into_iter()
            .find(|one| !one.is_native())
            .unwrap();
        let dirty = Facts {
            is_dirty: true,
            ..ready()
        };
        let native = Architecture::ALL.into_iter().find(|one| one.is_native()).unwrap();
        assert_eq!(
            problems(&plan(true, &[Edition::Community], &[native]), &dirty),
            []
        );
        let dirty = Facts {
            rust_targets: BTreeSet::new(),
            ..dirty
        };
        let found = problems(&plan(true, &Edition::ALL, &[native, foreign]), &dirty);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains(foreign.as_str()), "{found:?}");
    }

    #[test]
    fn a_plan_that_does_not_sign_needs_no_key() {
        let mut plan = plan(false, &Edition::ALL, &Architecture::ALL);
        plan.jobs.retain(|step| step.act != Act::Sign);
        assert_eq!(problems(&plan, &Facts { key: None, ..ready() }), []);
    }
}
