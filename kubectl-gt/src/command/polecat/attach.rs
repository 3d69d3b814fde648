//! `kubectl gt polecat attach`: the pod's terminal is kubectl's business, since the websockets of kube bring SHA-1.

use std::process::Command;

use clap_complete::ArgValueCompleter;
use gastown_api::pod::CLAUDE;

use super::Target;
use crate::command::CommandError;
use crate::complete;
use crate::error::Error;
use crate::flags::ClusterFlags;
use crate::session::Session;

/// Flags of `polecat attach`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The polecat.
    #[arg(value_name = "RIG/NAME", add = ArgValueCompleter::new(complete::polecats))]
    polecat: String,
    /// The container.
    #[arg(short, long, default_value = CLAUDE)]
    container: String,
    /// What to run instead of a shell.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    /// Becomes `kubectl exec -it`.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let target: Target = self.polecat.parse()?;
        let cluster = session.cluster().await?;
        let (_, polecat) = target.get(&cluster).await?;
        if !polecat.status.pod_active {
            let address = polecat.address();
            return Err(CommandError::Refused(format!(
                "polecat {address:?} is {} and its agent does not run; wait with `kubectl gt polecat retry {address} --wait=ready`, or read `kubectl gt polecat logs {address}`",
                polecat.phase()
            ))
            .into());
        }
        let mut command = kubectl(&session.flags, cluster.namespace());
        command
            .args([
                "exec",
                "-it",
                &gastown_api::pod::pod_name(&target.name),
                "-c",
                &self.container,
                "--",
            ])
            .args(if self.command.is_empty() {
                vec!["sh".to_owned()]
            } else {
                self.command
            });
        Err(become_it(command).into())
    }
}

/// kubectl with the flags that this command was given.
fn kubectl(flags: &ClusterFlags, namespace: &str) -> Command {
    let mut command = Command::new("kubectl");
    command.args(["--namespace", namespace]);
    let mut pass = |flag: &str, value: Option<&std::ffi::OsStr>| {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    };
    pass("--kubeconfig", flags.kubeconfig.as_deref().map(AsRef::as_ref));
    pass("--context", flags.context.as_deref().map(AsRef::as_ref));
    pass("--cluster", flags.cluster.as_deref().map(AsRef::as_ref));
    pass("--user", flags.user.as_deref().map(AsRef::as_ref));
    pass("--server", flags.server.as_deref().map(AsRef::as_ref));
    pass("--token", flags.token.as_deref().map(AsRef::as_ref));
    pass("--as", flags.as_user.as_deref().map(AsRef::as_ref));
    pass("--as-uid", flags.as_uid.as_deref().map(AsRef::as_ref));
    for group in &flags.as_group {
        pass("--as-group", Some(group.as_ref()));
    }
    pass(
        "--certificate-authority",
        flags.certificate_authority.as_deref().map(AsRef::as_ref),
    );
    pass(
        "--client-certificate",
        flags.client_certificate.as_deref().map(AsRef::as_ref),
    );
    pass("--client-key", flags.client_key.as_deref().map(AsRef::as_ref));
    pass(
        "--tls-server-name",
        flags.tls_server_name.as_deref().map(AsRef::as_ref),
    );
    if flags.insecure_skip_tls_verify {
        command.arg("--insecure-skip-tls-verify");
    }
    command
}

/// Returns only when it failed.
#[cfg(unix)]
fn become_it(mut command: Command) -> CommandError {
    use std::os::unix::process::CommandExt as _;
    let source = command.exec();
    CommandError::RunProgram {
        program: "kubectl",
        source,
    }
}

/// Elsewhere kubectl runs as a child, and its end is ours.
#[cfg(not(unix))]
fn become_it(mut command: Command) -> CommandError {
    match command.status() {
        Ok(status) => CommandError::Refused(format!("kubectl ended with {status}; read what it said")),
        Err(source) => CommandError::RunProgram {
            program: "kubectl",
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_gets_the_same_flags() {
        let flags = ClusterFlags {
            context: Some("prod".to_owned()),
            as_group: vec!["a".to_owned(), "b".to_owned()],
            ..ClusterFlags::default()
        };
        let command = kubectl(&flags, "town");
        let arguments: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(
            arguments,
            [
                "--namespace",
                "town",
                "--context",
                "prod",
                "--as-group",
                "a",
                "--as-group",
                "b"
            ]
        );
    }
}
