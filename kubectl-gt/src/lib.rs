//! The kubectl plugin of gastown-operator: `kubectl gt …`.
//!
//! Standard output is data, standard error is for the user's eyes. Every error says what to do next, and its exit code
//! says what kind it is ([`exit::Exit`]). A new command is a new file in `command/<noun>/`.

mod age;
mod cli;
mod cluster;
mod command;
mod complete;
mod connect;
mod error;
pub mod exit;
mod flags;
mod git_secret;
mod habits;
mod host_key;
mod install;
mod logs;
mod model_secret;
mod names;
mod output;
mod reporter;
mod secret;
mod session;
pub mod validate;
mod view;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;
use std::{io, thread};

use clap::{CommandFactory as _, Parser as _};
use clap_complete::ArgValueCompleter;

pub use cli::Cli;
pub use names::{Theme, first_free};

use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// The commands and flags, for the generated reference and completion.
#[must_use]
pub fn command_line() -> clap::Command {
    // Here, since asking the cluster for namespaces takes these flags.
    Cli::command().mut_arg("namespace", |arg| {
        arg.add(ArgValueCompleter::new(complete::namespaces))
    })
}

/// The command line with gt's own words put into the plugin's.
#[must_use]
pub fn translate(args: Vec<OsString>) -> Vec<OsString> {
    habits::translate(args)
}

/// Runs the command line of `args` to its exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    if let Some(code) = complete::answer(&args) {
        return code;
    }
    let cli = match Cli::try_parse_from(habits::translate(args)) {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(answer) = habits::answer(&error) {
                reporter::Reporter::stderr().fail(&answer);
                return Exit::Usage.into();
            }
            // A closed pipe is no reason for another message.
            let _nobody_reads = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            }
            .into();
        }
    };
    match run(cli) {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            session::report(&error);
            error.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    gastown_crypto::install()?;
    session::trace(cli.flags.verbosity);
    let worker = Worker::start().map_err(Error::StartRuntime)?;
    let mut session = Session::new(cli.flags);
    worker.handle.block_on(cli.command.run(&mut session))
}

/// A thread that sends and receives, while another one prints. Tokio's runtime of several threads would do the same; the
/// operator, which is compiled together with this program, would then carry that runtime in its memory, too.
struct Worker {
    handle: tokio::runtime::Handle,
    /// Once dropped, the thread ends, and no stream that is still being read holds the end up.
    _until: tokio::sync::oneshot::Sender<()>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (until, over) = tokio::sync::oneshot::channel();
        thread::Builder::new().spawn(move || {
            let _sender_is_gone = runtime.block_on(over);
            runtime.shutdown_background();
        })?;
        Ok(Self {
            handle,
            _until: until,
        })
    }
}
