//! Which jobs a run of the tests is made of, and what each waits for.
//!
//! The compiler and the end-to-end tests take the most time. The programs of the images come first, so that the cluster
//! works while the rest is compiled with the processor time that it leaves.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, ensure};

use super::Suite;
use super::compile::{self, Tests};
use super::count::{self, Count, Shown};
use super::slowest::{self, Slowest};
use crate::jobs::Job;
use crate::machine;
use crate::process::Command;
use crate::task::cluster::api_tier::{self, Options, Site};
use crate::task::cluster::{self, Cluster};
use crate::task::deploy::{self, Built, Deployed};
use crate::tools::{self, Tool};
use xtask_image::Programs;

/// What the jobs hand to each other.
pub struct Plan<'a> {
    suites: &'a [Suite],
    only: Option<&'a str>,
    slowest: &'a Slowest,
    programs: Handover<Programs>,
    built: OnceLock<Arc<Built>>,
    cluster: Handover<Cluster>,
    second: Handover<Cluster>,
    e2e: OnceLock<Tests>,
    api: OnceLock<Tests>,
    unit: OnceLock<Tests>,
    fips: OnceLock<Tests>,
    total: Mutex<Count>,
}

/// A suite that runs against an API server without nodes.
#[derive(Debug)]
struct Api {
    suite: Suite,
    name: &'static str,
    program: &'static str,
    site: Site,
    options: Options,
}

const API: [Api; 3] = [
    Api {
        suite: Suite::Admission,
        name: "admission",
        program: "admission",
        site: Site::of_suite("api-admission"),
        options: Options {
            controller_manager: false,
        },
    },
    Api {
        suite: Suite::Plugin,
        name: "plugin",
        program: "transcript",
        site: Site::of_suite("api-plugin"),
        options: Options {
            controller_manager: false,
        },
    },
    Api {
        suite: Suite::Faults,
        name: "faults",
        program: "faults",
        site: Site::of_suite("api-faults"),
        // It collects the pods of nodes that are gone.
        options: Options {
            controller_manager: true,
        },
    },
];

/// The modules of end-to-end tests that run on a second cluster while the rest runs on the first: those that take the
/// operator, the API server or the whole node away from all others, or need a cluster on which nothing else happens. They
/// run one after the other, and wait more than they compute. `operated` is among them so that both take equally long.
const SECOND: [&str; 4] = ["operated::", "town_from_nothing::", "undisturbed::", "upheaval::"];

/// Something that one job makes and one other takes.
struct Handover<T>(Mutex<Option<T>>);

impl<T> Handover<T> {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn give(&self, made: Result<T>) -> Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(made?);
        Ok(())
    }

    fn take(&self) -> Result<T> {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        value.take().context("the job before this one left nothing")
    }
}

impl<'a> Plan<'a> {
    /// A plan for these suites.
    pub fn new(suites: &'a [Suite], only: Option<&'a str>, slowest: &'a Slowest) -> Self {
        Self {
            suites,
            only,
            slowest,
            programs: Handover::new(),
            built: OnceLock::new(),
            cluster: Handover::new(),
            second: Handover::new(),
            e2e: OnceLock::new(),
            api: OnceLock::new(),
            unit: OnceLock::new(),
            fips: OnceLock::new(),
            total: Mutex::default(),
        }
    }

    /// How many tests there were.
    pub fn total(&self) -> Count {
        *self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs, each after those that it waits for.
    pub fn jobs(&self) -> Vec<Job<'_>> {
        let mut jobs = Vec::new();
        if self
            .suites
            .iter()
            .any(|suite| !matches!(suite, Suite::Unit | Suite::Release))
        {
            jobs.push(Job::new("tools", || self.tools()).patient());
        }
        if self.has(Suite::E2e) {
            self.add_e2e(&mut jobs);
        }
        self.add_api(&mut jobs);
        if self.has(Suite::Unit) {
            self.add_unit(&mut jobs);
        }
        if self.has(Suite::Release) {
            let release = Job::new("release", || {
                self.run(compile::of_release(), Shown::Results).map(drop)
            });
            // The chores have the same target folder.
            jobs.push(self.beside_e2e(release).after(&["xtask"]));
        }
        jobs
    }

    fn has(&self, suite: Suite) -> bool {
        self.suites.contains(&suite)
    }

    fn add_e2e<'p>(&'p self, jobs: &mut Vec<Job<'p>>) {
        jobs.extend([
            Job::new("layers", deploy::prepare).patient(),
            Job::new("programs", || self.programs.give(deploy::compile())),
            Job::new("images", || {
                keep(&self.built, Arc::new(deploy::build(self.programs.take()?)?))
            })
            .needs(&["layers", "programs"]),
            Job::new("cluster", || {
                self.cluster.give(cluster::ensure_up(cluster::Site::Shared))
            })
            .needs(&["tools"]),
            Job::new("helm", || tools::ensure([Tool::Helm]).map(drop)).needs(&["tools"]),
            // Cargo compiles for one at a time.
            Job::new("compile-e2e", || {
                // The documents tell a reader to type it.
                machine::ensure(&["jq"])?;
                keep(&self.e2e, compile::tests(&["--test", "e2e"])?)
            })
            .needs(&["programs"]),
        ]);
        let before = ["images", "cluster", "helm", "compile-e2e"];
        if self.only.is_some() {
            jobs.push(Job::new("e2e", || self.e2e(&self.cluster, &[])).needs(&before));
            return;
        }
        let skipped = SECOND.iter().flat_map(|module| ["--skip", module]);
        let skipped: Vec<_> = skipped.collect();
        jobs.extend([
            Job::new("cluster-2", || {
                self.second.give(cluster::ensure_up(cluster::Site::Second))
            })
            .needs(&["cluster"]),
            Job::new("e2e", move || self.e2e(&self.cluster, &skipped)).needs(&before),
            Job::new("e2e-2", || self.e2e(&self.second, &SECOND))
                .needs(&before)
                .needs(&["cluster-2"]),
        ]);
    }

    /// The suites on an API server of their own, one after the other: each keeps time.
    fn add_api<'p>(&'p self, jobs: &mut Vec<Job<'p>>) {
        let chosen: Vec<_> = API.iter().filter(|api| self.has(api.suite)).collect();
        if chosen.is_empty() {
            return;
        }
        let compile = Job::new("compile-api", {
            let programs = chosen.iter().flat_map(|api| ["--test", api.program]);
            let programs: Vec<_> = programs.collect();
            move || keep(&self.api, compile::tests(&programs)?)
        });
        jobs.push(self.beside_e2e(compile).after(&["compile-e2e"]));
        let mut before: Vec<&'static str> = Vec::new();
        for api in chosen {
            let job = Job::new(api.name, move || self.on_api_tier(api));
            jobs.push(job.needs(&["tools", "compile-api"]).after(&before));
            before.push(api.name);
        }
    }

    fn add_unit<'p>(&'p self, jobs: &mut Vec<Job<'p>>) {
        let compile_unit = Job::new("compile-unit", || {
            // The broker's tests speak to a real SSH server.
            machine::ensure(&["sshd", "ssh-keygen"])?;
            keep(&self.unit, compile::tests(&["--lib", "--bins"])?)
        });
        let compile_fips = Job::new("compile-fips", || keep(&self.fips, compile::fips()?));
        jobs.extend([
            self.beside_e2e(compile_unit)
                .after(&["compile-e2e", "compile-api"]),
            self.beside_e2e(Job::new("unit", || self.run_all(&self.unit)))
                .needs(&["compile-unit"]),
            self.beside_e2e(compile_fips).after(&["compile-unit"]),
            Job::new("fips", || self.run_all(&self.fips)).needs(&["compile-fips"]),
            // It has a target folder of its own.
            self.beside_e2e(Job::new("xtask", || {
                self.run(compile::of_xtask(), Shown::Results).map(drop)
            }))
            .after(&["compile-unit"]),
        ]);
    }

    /// Tests on the cluster keep time, so what is compiled beside them waits for them.
    fn beside_e2e<'p>(&self, job: Job<'p>) -> Job<'p> {
        if self.has(Suite::E2e) { job.patient() } else { job }
    }

    fn tools(&self) -> Result<()> {
        tools::ensure([Tool::Kubectl])?;
        if self.has(Suite::E2e) {
            tools::ensure([Tool::Kind, Tool::Coredns, Tool::Pause])?;
        }
        Ok(())
    }

    /// Runs the tests that `selection`, arguments of the test program, selects, on `cluster`.
    fn e2e(&self, cluster: &Handover<Cluster>, selection: &[&str]) -> Result<()> {
        let built = self.built.get().context("the images are not built")?;
        let deployed = deploy::deliver_all(cluster.take()?, built)?;
        deployed.install_chart("tests/testbed/values.yaml", &[])?;
        for test in compiled(&self.e2e)?.named("e2e") {
            let command = test.command().env(slowest::VARIABLE, self.slowest.file());
            self.run_suite(on_cluster(command.args(selection), &deployed)?)?;
        }
        Ok(())
    }

    /// Runs a suite against an empty API server.
    fn on_api_tier(&self, api: &Api) -> Result<()> {
        let tier = api_tier::ensure_up(api.site, api.options)?;
        let outcome = compiled(&self.api)?
            .named(api.program)
            .try_for_each(|test| self.run_suite(test.command().env("KUBECONFIG", &tier.kubeconfig)));
        api_tier::down(api.site)?;
        outcome
    }

    /// Runs all tests but those whose names contain one of `skipped`.
    fn run_all(&self, tests: &OnceLock<Tests>) -> Result<()> {
        // One that breaks must not keep the others from being counted.
        let results: Vec<_> = compiled(tests)?
            .all()
            .map(|test| self.run(test.command(), Shown::Results).map(drop))
            .collect();
        results.into_iter().collect()
    }

    /// Runs the test program of a suite, which must have a test to run unless only some were asked for.
    fn run_suite(&self, command: Command) -> Result<()> {
        let command = command.args(["--test-threads", "4"]).args(self.only);
        let name = command.to_string();
        let count = self.run(command, Shown::Tests)?;
        ensure!(
            count != Count::default() || self.only.is_some(),
            "`{name}` ran no test"
        );
        Ok(())
    }

    /// Runs a test program and adds up how its tests ended.
    fn run(&self, command: Command, shown: Shown) -> Result<Count> {
        let count = count::run(command, shown)?;
        *self.total.lock().unwrap_or_else(PoisonError::into_inner) += count;
        Ok(count)
    }
}

fn compiled(tests: &OnceLock<Tests>) -> Result<&Tests> {
    tests.get().context("the tests are not compiled")
}

fn keep<T>(place: &OnceLock<T>, made: T) -> Result<()> {
    place.set(made).map_err(|_| anyhow::anyhow!("it was made before"))
}

/// Tells the tests of the cluster and what it was given.
fn on_cluster(mut tests: Command, deployed: &Deployed) -> Result<Command> {
    tests = tests.env("KUBECONFIG", &deployed.cluster.kubeconfig);
    for (name, value) in deployed.environment()? {
        tests = tests.env(name, value);
    }
    Cluster::with_engine(tests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn tests_that_need_a_cluster_for_themselves_run_on_the_second() {
        let folder = workspace::root().join("tests/e2e");
        let modules = fs_err::read_to_string(folder.join("main.rs")).unwrap();
        for name in SECOND.map(|name| name.trim_end_matches("::")) {
            assert!(modules.contains(&format!("mod {name};")), "{name}");
        }
        for line in modules.lines() {
            let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) else {
                continue;
            };
            let text = fs_err::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
            let needs_quiet = text.contains("with_quiet_world(");
            let is_alone = SECOND.contains(&format!("{name}::").as_str());
            assert!(
                is_alone || !needs_quiet,
                "{name} waits until all other worlds are gone"
            );
        }
    }
}
