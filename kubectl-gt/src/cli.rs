//! The command line: kubectl's flags, and one command.

use clap::Parser;

use crate::command::Command;
use crate::flags::ClusterFlags;

/// Run AI coding agents ("polecats") as pods: dispatch work, watch it, manage rigs and credentials.
///
/// Data goes to stdout, messages to stderr; use `-o json|yaml|name|jsonpath=…` in scripts. Exit codes:
/// 0 done, 1 other failure, 2 usage, 3 not found, 4 forbidden, 5 cluster unreachable, 6 operator not installed or of
/// another version, 7 invalid, 8 conflict, 9 the polecat did not deliver, 10 timeout, 11 findings, 130 Ctrl-C, 141 broken pipe.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-gt",
    bin_name = "kubectl gt",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = false
)]
pub struct Cli {
    /// Which cluster, as whom.
    #[command(flatten)]
    pub(crate) flags: ClusterFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_and_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    /// An argument of a command that has the name of a global one fills the global one too, and must be of its type.
    #[test]
    fn no_command_takes_the_name_of_a_global_flag_but_validate() {
        fn walk(command: &clap::Command, global: &[String], found: &mut Vec<String>) {
            for argument in command.get_arguments() {
                let id = argument.get_id().to_string();
                if global.contains(&id) {
                    found.push(format!("{} {id}", command.get_name()));
                }
            }
            command
                .get_subcommands()
                .for_each(|below| walk(below, global, found));
        }
        let command = Cli::command();
        let global: Vec<_> = command
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .collect();
        let mut found = Vec::new();
        command
            .get_subcommands()
            .for_each(|below| walk(below, &global, &mut found));
        assert_eq!(found, ["validate server"]);
    }

    #[test]
    fn validate_asks_the_configured_server_or_a_named_one() {
        for (words, wanted) in [
            (vec!["-f", "x"], None),
            (vec!["-f", "x", "--server"], Some("")),
            (vec!["-f", "x", "--server=https://a"], Some("https://a")),
        ] {
            let line = ["kubectl-gt", "validate"].into_iter().chain(words);
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.flags.server.as_deref(), wanted);
        }
    }

    /// People paste what is in backticks, so the help of every command keeps it on one line, at 80 columns too.
    #[test]
    fn no_help_breaks_a_command_over_two_lines() {
        fn walk(command: &clap::Command, broken: &mut Vec<String>) {
            let help = command
                .clone()
                .term_width(80)
                .max_term_width(80)
                .render_long_help()
                .to_string();
            let odd = help.lines().filter(|line| line.matches('`').count() % 2 == 1);
            broken.extend(odd.map(|line| format!("{}: {line}", command.get_name())));
            command.get_subcommands().for_each(|below| walk(below, broken));
        }
        let mut broken = Vec::new();
        let mut command = Cli::command();
        command.build();
        walk(&command, &mut broken);
        assert_eq!(broken, Vec::<String>::new());
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for exit in Exit::ALL {
            let code = exit.code().to_string();
            let named = help.contains(&format!(" {code} ")) || help.contains(&format!("\n{code} "));
            assert!(named, "{code} is not in the help:\n{help}");
        }
    }
}
