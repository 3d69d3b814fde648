//! The work order: what the containers of the pod are told.

use gastown_api::git::Sha;
use gastown_api::polecat::Polecat;
use gastown_api::repository::{RepositoryUrl, Transport};
use gastown_api::work_order::{
    DiskOrder, GitOrder, ModelOrder, PolecatOrder, RemoteOrder, ResumeOrder, WorkOrder,
};
use kube::ResourceExt as _;

use crate::config::Config;
use crate::controller::polecat::validate::Work;

/// The work order of attempt `attempt`.
#[must_use]
pub fn work_order(polecat: &Polecat, work: &Work, attempt: i32, config: &Config) -> WorkOrder {
    WorkOrder {
        owner: polecat.name_any(),
        namespace: polecat.namespace().unwrap_or_default(),
        rig: polecat.spec.rig.clone(),
        attempt: u32::try_from(attempt).unwrap_or(1),
        limits: work.limits,
        proxy: config.proxy.clone(),
        role: role(polecat, work, attempt, config),
    }
}

fn role(polecat: &Polecat, work: &Work, attempt: i32, config: &Config) -> PolecatOrder {
    PolecatOrder {
        bead: work.bead.clone(),
        task: work.task.clone(),
        agent: work.agent.clone(),
        git: git_order(polecat, work, attempt, config),
        model: ModelOrder {
            provider: work.provider,
            apis: work.apis.clone(),
            endpoint: work.endpoint.clone(),
            model: work.model.clone(),
            allowed_models: config.allowed_models.clone(),
            secret: work.credentials.secret.clone(),
            api_key: work.credentials.api_key.clone(),
            keyless: work.credentials.keyless,
            tokens_left: work.tokens_left,
            micros_left: work.micros_left,
            prices: config.prices.clone(),
        },
        pace: work.pace,
        disk: DiskOrder {
            workspace: config.volumes.workspace.bytes(),
            home: config.volumes.home.bytes(),
            tmp: config.volumes.tmp.bytes(),
            keeper: config.volumes.keeper.bytes(),
            broker: config.volumes.broker.bytes(),
        },
    }
}

/// What the attempt before had pushed without anyone confirming it, where `attempt` repeats it by itself: who asks for an
/// attempt wants an agent at work.
fn unconfirmed(polecat: &Polecat, attempt: i32) -> Option<Sha> {
    let attempts = &polecat.status.as_ref()?.attempts;
    let at = attempts.iter().position(|a| a.number == attempt)?;
    attempts[at].retry?;
    let before = attempts.get(at.checked_sub(1)?)?;
    before.unconfirmed.as_deref()?.parse().ok()
}

fn git_order(polecat: &Polecat, work: &Work, attempt: i32, config: &Config) -> GitOrder {
    let base = polecat.status.as_ref().and_then(|s| s.base.as_deref());
    let base: Option<Sha> = base.and_then(|b| b.parse().ok());
    let wip = polecat.status.as_ref().and_then(|s| s.wip.as_ref());
    let resume = wip.and_then(|wip| {
        let sha = wip.sha.parse().ok()?;
        let name = wip.name.clone();
        Some(ResumeOrder { name, sha })
    });
    GitOrder {
        remote: RemoteOrder {
            repository: work.repository.clone(),
            secret: work.git_secret.clone(),
            trusted_hosts: work.trusted_hosts.clone(),
            known_hosts: known_hosts_for(&work.repository, &config.known_hosts),
        },
        base_branch: work.base_branch.clone(),
        work_branch: work.head_branch.clone(),
        base,
        unconfirmed: unconfirmed(polecat, attempt),
        resume,
        author: work.author.clone(),
        committer: work.committer.clone(),
        other_branches: work.other_branches,
        denied_paths: config.denied_paths.clone(),
        max_push_bytes: config.max_push_bytes,
    }
}

/// The lines that may speak of the repository's host; every pod carries them, so the others are left out. A first
/// field that is more than one plain name (hashed, a pattern, a marker) may mean any host.
fn known_hosts_for(repository: &RepositoryUrl, lines: &str) -> String {
    if repository.transport() != Transport::Ssh {
        return String::new();
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let may_match = |line: &&str| {
        let hosts = line.split_whitespace().next().unwrap_or_default();
        !hosts.starts_with('#')
            && (!hosts.chars().all(plain) || hosts.eq_ignore_ascii_case(repository.host()))
    };
    lines
        .lines()
        .filter(may_match)
        .flat_map(|line| [line, "\n"])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_may_be_of_the_host_are_carried() {
        let all = "# x\ngithub.com ssh-ed25519 A\ngitlab.com ssh-rsa B\n|1|hash= ssh-rsa C\n[github.com]:22 ssh-rsa D\n";
        let of = |url: &str| known_hosts_for(&url.parse().unwrap(), all);
        let hashed = "|1|hash= ssh-rsa C\n[github.com]:22 ssh-rsa D\n";
        assert_eq!(
            of("git@github.com:o/r.git"),
            format!("github.com ssh-ed25519 A\n{hashed}")
        );
        assert_eq!(of("git@git.example:o/r.git"), hashed);
        assert_eq!(of("https://github.com/o/r.git"), "");
    }
}
