//! Standard error: what is worth knowing, beside the data on standard output.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cluster::Call;
use crate::output::style::Style;

/// Standard error. That nobody reads it is no reason to stop.
#[derive(Clone, Copy)]
pub struct Reporter {
    /// How text is styled.
    pub style: Style,
}

impl Reporter {
    /// The process's own.
    pub fn stderr() -> Self {
        Self {
            style: Style::on(io::stderr().is_terminal()),
        }
    }

    /// Something worth knowing.
    #[expect(
        clippy::unused_self,
        reason = "who was given no Reporter does not write to standard error"
    )]
    pub fn note(self, text: &str) {
        let _nobody_reads = writeln!(io::stderr(), "{text}");
    }

    /// A failure that another try may cure.
    pub fn tries_again(self, error: &Call) {
        let text = crate::view::escape(&format!("tries again: {error}"));
        self.note(&self.style.faint(&text));
    }

    /// Why the command failed.
    pub fn fail(self, text: &str) {
        let text = crate::view::escape(text);
        self.note(&format!("{} {text}", self.style.bad("error:")));
    }

    /// Something that needs a look.
    pub fn warn(self, text: &str) {
        self.note(&format!("{} {text}", self.style.careful("warning:")));
    }
}
