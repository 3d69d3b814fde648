//! `kubectl gt`: rigs, polecats and credentials from a terminal or a script.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_gt::main(std::env::args_os().collect())
}
