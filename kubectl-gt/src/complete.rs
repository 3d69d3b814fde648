//! Candidates for the shell: commands and flags from the command line's definition, rigs and polecats from the
//! cluster. A cluster that does not answer at once completes nothing.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use clap_complete::CompletionCandidate;
use clap_complete::env::CompleteEnv;
use gastown_api::kinds;

use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::exit::Exit;
use crate::flags::ClusterFlags;

/// How long a key press may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name under which kubectl asks a plugin for candidates.
const KUBECTL: &str = "kubectl_complete-gt";

/// Answers a shell or kubectl that asks for candidates; none: this is an ordinary run.
pub fn answer(args: &[OsString]) -> Option<ExitCode> {
    let program = args.first().map(Path::new).and_then(Path::file_stem);
    if program == Some(OsStr::new(KUBECTL)) {
        return Some(for_kubectl(args));
    }
    let folder = std::env::current_dir().ok();
    let completed = CompleteEnv::with_factory(crate::command_line)
        .bin("kubectl-gt")
        .try_complete(args.iter().cloned(), folder.as_deref());
    match completed {
        Ok(false) => None,
        Ok(true) => Some(Exit::Success.into()),
        Err(error) => {
            let _nobody_reads = error.print();
            Some(Exit::Usage.into())
        }
    }
}

/// kubectl's protocol (that of cobra): one candidate a line with a tab before its help, then `:4`, which says that
/// files are no candidates.
fn for_kubectl(args: &[OsString]) -> ExitCode {
    let mut words = vec![OsString::from("kubectl-gt")];
    words.extend(args.iter().skip(1).cloned());
    if words.len() == 1 {
        words.push(OsString::new());
    }
    let at = words.len() - 1;
    let mut command = crate::command_line();
    let candidates = clap_complete::engine::complete(&mut command, words, at, None).unwrap_or_default();
    let mut text = String::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        text.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            text.push('\t');
            text.push_str(help.to_string().lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    text.push_str(":4\n");
    let _nobody_reads = std::io::stdout().write_all(text.as_bytes());
    Exit::Success.into()
}

/// Names of rigs.
pub fn rigs(current: &OsStr) -> Vec<CompletionCandidate> {
    from_cluster(
        current,
        |cluster| async move { names(&cluster, Resource::RIGS).await },
    )
}

/// Names of namespaces.
pub fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    from_cluster(current, |cluster| async move {
        names(&cluster, Resource::NAMESPACES).await
    })
}

/// `RIG/NAME` of polecats.
pub fn polecats(current: &OsStr) -> Vec<CompletionCandidate> {
    from_cluster(current, |cluster| async move {
        let mut found = Vec::new();
        cluster
            .each_page(Resource::POLECATS, &Selection::default(), |page| {
                found.extend(
                    page.items
                        .iter()
                        .map(|object| crate::view::Polecat::read(object).address()),
                );
                Ok::<_, Call>(())
            })
            .await?;
        Ok(found)
    })
}

/// Reasons of the closed list.
pub fn reasons(current: &OsStr) -> Vec<CompletionCandidate> {
    let begins = current.to_string_lossy().to_ascii_lowercase();
    kinds::reasons()
        .filter(|reason| reason.name.to_ascii_lowercase().starts_with(&begins))
        .map(|reason| CompletionCandidate::new(reason.name).help(Some(reason.sentence.into())))
        .collect()
}

async fn names(cluster: &Cluster, resource: Resource) -> Result<Vec<String>, Call> {
    let mut found = Vec::new();
    cluster
        .each_table(resource, &Selection::default(), |table| {
            let first = table.rows.iter().filter_map(|row| row.cells.first()?.as_str());
            found.extend(first.map(str::to_owned));
            Ok::<_, Call>(())
        })
        .await?;
    Ok(found)
}

fn from_cluster<F>(current: &OsStr, ask: impl FnOnce(Cluster) -> F) -> Vec<CompletionCandidate>
where
    F: Future<Output = Result<Vec<String>, Call>>,
{
    // A second installation is refused, which is no harm: it is the same provider.
    let _already_installed = gastown_crypto::install();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let flags = flags_of(std::env::args_os());
    let asking = async {
        let cluster = crate::connect::connect(&flags).await.ok()?;
        ask(cluster).await.ok()
    };
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await });
    let begins = current.to_string_lossy();
    found
        .ok()
        .flatten()
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.starts_with(&*begins))
        .map(CompletionCandidate::new)
        .collect()
}

/// The cluster flags that are on the unfinished command line.
fn flags_of(words: impl Iterator<Item = OsString>) -> ClusterFlags {
    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        flags: ClusterFlags,
    }
    const NAMES: [&str; 6] = [
        "--kubeconfig",
        "--context",
        "--namespace",
        "--cluster",
        "--user",
        "--server",
    ];
    let mut kept = vec![OsString::from("kubectl-gt")];
    let words: Vec<_> = words.collect();
    for (at, word) in words.iter().enumerate() {
        let text = word.to_string_lossy();
        if NAMES.contains(&&*text) || text == "-n" || text == "-s" {
            if let Some(value) = words.get(at + 1).filter(|value| !value.is_empty()) {
                kept.extend([word.clone(), value.clone()]);
            }
        } else if NAMES
            .iter()
            .any(|name| text.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
        {
            kept.push(word.clone());
        }
    }
    Only::try_parse_from(kept)
        .map(|only| only.flags)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_of_an_unfinished_line_is_the_one_it_names() {
        let words = [
            "kubectl-gt",
            "polecat",
            "logs",
            "-n",
            "town",
            "--context=prod",
            "-f",
            "",
        ];
        let flags = flags_of(words.into_iter().map(OsString::from));
        assert_eq!(flags.namespace.as_deref(), Some("town"));
        assert_eq!(flags.context.as_deref(), Some("prod"));
    }

    #[test]
    fn reasons_are_completed_in_any_case() {
        let found = reasons(OsStr::new("outof"));
        assert_eq!(found.len(), 1);
    }
}
