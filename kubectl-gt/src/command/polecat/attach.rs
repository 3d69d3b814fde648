//! `kubectl gt polecat attach`: the pod's terminal is kubectl's business, since the websockets of kube bring SHA-1.

use std::process::Command;

use gastown_api::pod::{CLAUDE, REPO_DIR};

use super::named::{Found, Named};
use crate::cluster::Cluster;
use crate::error::{CommandError, Error};
use crate::flags::ClusterFlags;
use crate::session::Session;
use crate::view::Polecat;

/// Flags of `polecat attach`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    polecat: Named,
    /// The container.
    #[arg(short, long, default_value = CLAUDE)]
    container: String,
    /// The command to run instead of a shell.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    /// Becomes `kubectl exec -it`.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let Found { cluster, polecat, .. } = self.polecat.find(session).await?;
        if !polecat.status.pod_active {
            return Err(CommandError::Refused(not_running(&cluster, &polecat)).into());
        }
        let mut command = kubectl(&session.flags, cluster.namespace());
        command
            .args([
                "exec",
                "-it",
                &gastown_api::pod::pod_name(&polecat.metadata.name),
                "-c",
                &self.container,
                "--",
            ])
            .args(in_the_repository(&self.command));
        Err(become_it(command).into())
    }
}

/// What runs in the container: the command, or a shell, where the clone is. A container without it, such as the broker,
/// starts where its image says.
fn in_the_repository(command: &[String]) -> Vec<String> {
    let run = if command.is_empty() {
        "$(command -v bash || echo sh)"
    } else {
        "\"$@\""
    };
    let script = format!("cd {REPO_DIR} 2>/dev/null; exec {run}");
    let before = ["sh", "-c", &script, "sh"].map(str::to_owned);
    before.into_iter().chain(command.iter().cloned()).collect()
}

/// Why there is no agent to be beside, and what to do instead.
fn not_running(cluster: &Cluster, polecat: &Polecat) -> String {
    let address = polecat.address();
    let typed = cluster.typed(&address);
    let next = match polecat.phase() {
        "Working" | "Pending" => format!("wait for it with `kubectl gt polecat logs {typed} -f`"),
        "Stuck" | "Idle" => {
            format!("start another attempt with `kubectl gt polecat retry {typed} --wait=ready`")
        }
        _ => format!("`kubectl gt polecat describe {typed}` shows what became of it"),
    };
    format!(
        "polecat {address:?} is {} and its agent does not run; {next}",
        polecat.phase()
    )
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
    fn a_shell_and_a_command_start_in_the_repository_and_words_stay_whole() {
        let shell = in_the_repository(&[]);
        assert!(
            shell.len() == 4 && shell[2].starts_with("cd /workspace/repo"),
            "{shell:?}"
        );
        let words = in_the_repository(&["echo".to_owned(), "a  b".to_owned(), "$HOME".to_owned()]);
        let mut sh = Command::new(&words[0]);
        let output = sh.args(&words[1..]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a  b $HOME\n");
    }

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
