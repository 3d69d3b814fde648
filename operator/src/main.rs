//! `gastown-operator`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    gastown_operator::main()
}
