//! `kubectl gt completion`.

use clap::ValueEnum;
use clap_complete::env::Shells;

use crate::error::Error;
use crate::output::Output;
use crate::session::Session;

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
}

/// What makes `kubectl gt <TAB>` work: kubectl itself asks this program.
const HINT: &str = "\
# Completes kubectl-gt. For `kubectl gt <TAB>` kubectl asks the program kubectl_complete-gt on the PATH:
#   ln -s \"$(command -v kubectl-gt)\" \"$(dirname \"$(command -v kubectl-gt)\")/kubectl_complete-gt\"
# (`cargo xtask install` makes it), and kubectl's own completion must be loaded.
";

impl Args {
    /// Prints the script, which asks this program for the candidates.
    pub fn run(self, session: &mut Session) -> Result<(), Error> {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
            Shell::Powershell => "powershell",
            Shell::Elvish => "elvish",
        };
        let mut script = Vec::new();
        if let Some(shell) = Shells::builtins().completer(name) {
            shell
                .write_registration("COMPLETE", "kubectl_gt", "kubectl-gt", "kubectl-gt", &mut script)
                .map_err(Output::from)?;
        }
        // zsh wants its directive on the first line.
        let (first, rest) = split_directive(&script);
        session.out.bytes(first)?;
        session.out.text(HINT)?;
        Ok(session.out.bytes(rest)?)
    }
}

fn split_directive(script: &[u8]) -> (&[u8], &[u8]) {
    if script.starts_with(b"#compdef") {
        let end = script
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(script.len(), |at| at + 1);
        script.split_at(end)
    } else {
        (&[], script)
    }
}
