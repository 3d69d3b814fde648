//! The commands and where each is carried out; the doc comments are the manual.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::task;

/// Chores of gastown-operator.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
pub struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a real kind cluster up or down, from package registries alone.
    Cluster(task::cluster::Args),
    /// Build container images without a daemon, and keep their lock file.
    Image(task::image::Args),
    /// The main job in one command: from nothing to a verified commit by a polecat.
    Demo(task::demo::Args),
    /// Run all tests: unit (both editions), admission, plugin, faults, end to end.
    Test(task::test::Args),
    /// Formatting, clippy, dependency policy, generated files.
    Lint(task::lint::Args),
    /// Write the generated files (CRDs of the chart, reference of the plugin), or check them.
    Generate(task::generate::Args),
    /// Fuzz the parsers that read what an agent or a network sends.
    Fuzz(task::fuzz::Args),
    /// Install the kubectl plugin, its completion and its manual, where kubectl and man find them.
    Install(task::install::Args),
    /// For work on the project: put the chart of this checkout, with its definitions, onto the current context's cluster.
    Deploy(task::apply::Args),
    /// Pack the plugin for krew, with a manifest of real checksums.
    Krew(task::krew::Args),
    /// Build, describe, sign and publish a release; or verify one.
    Release(task::release::Args),
    /// Show a command's terminal as SVG, for a page.
    Picture(task::picture::Args),
    /// Measure against the bars of the design.
    Bench(task::bench::Args),
    /// What our Docker engine runs in place of runc.
    #[command(hide = true)]
    RuntimeShim(task::cluster::runtime_shim::Args),
}

impl Xtask {
    /// Carries out the command.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Cluster(args) => task::cluster::run(args),
            Command::Image(args) => task::image::run(args),
            Command::Demo(args) => task::demo::run(&args),
            Command::Test(args) => task::test::run(args),
            Command::Lint(args) => task::lint::run(args),
            Command::Generate(args) => task::generate::run(&args),
            Command::Fuzz(args) => task::fuzz::run(args),
            Command::Install(args) => task::install::run(args),
            Command::Deploy(args) => task::apply::run(&args),
            Command::Krew(args) => task::krew::run(&args),
            Command::Release(args) => task::release::run(&args),
            Command::Picture(args) => task::picture::run(args),
            Command::Bench(args) => task::bench::run(&args),
            Command::RuntimeShim(args) => task::cluster::runtime_shim::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    /// Pages that tell a reader to type chores.
    const PAGES: [(&str, &str); 8] = [
        ("README.md", include_str!("../../README.md")),
        (
            "AGENT_INSTRUCTIONS.md",
            include_str!("../../AGENT_INSTRUCTIONS.md"),
        ),
        ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
        ("CUSTOMIZING.md", include_str!("../../CUSTOMIZING.md")),
        ("FRICTION_POINTS.md", include_str!("../../FRICTION_POINTS.md")),
        (
            "NOTES.txt",
            include_str!("../../helm/gastown-operator/templates/NOTES.txt"),
        ),
        ("release.md", include_str!("../../docs/release.md")),
        ("SECURITY.md", include_str!("../../SECURITY.md")),
    ];

    /// Every chore of a page: as code in its text, and as a line of its own, without the comment at its end.
    fn chores(page: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for line in page.lines() {
            let typed = line.trim_start_matches(['$', ' ']);
            found.extend(typed.split("  #").next().map(str::trim));
            found.extend(line.split('`').skip(1).step_by(2));
        }
        found.retain(|chore| chore.starts_with("cargo xtask "));
        found
    }

    #[test]
    fn every_chore_of_the_documents_is_one_that_there_is() {
        let (mut tried, mut wrong) = (0, Vec::new());
        for (page, text) in PAGES {
            for chore in chores(text) {
                tried += 1;
                // A quoted text is one word.
                let parts = chore.split('\'').enumerate();
                let line: String = parts
                    .map(|(at, part)| if at % 2 == 0 { part } else { "X" })
                    .collect();
                let words = line.split_whitespace().skip(1);
                let Err(error) = Xtask::try_parse_from(words) else {
                    continue;
                };
                // A bare name in running text is no line to type.
                let is_fine = matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                );
                if !is_fine {
                    wrong.push(format!("{page}: {chore}: {}", error.kind()));
                }
            }
        }
        assert!(tried > 30, "{tried} chores");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
