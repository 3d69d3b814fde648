//! Reasons of conditions, attempts and events: closed lists, each reason with one sentence and a remedy. [`Reason`] is for
//! attempts of any owner and for what polecats say; what only another kind says stands with that kind, in a list that
//! `reasons!` makes, and is registered in [`crate::kinds`].

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};

/// A reason of any list.
#[derive(Clone, Copy, Debug)]
pub struct AnyReason {
    /// Its name in conditions and events.
    pub name: &'static str,
    /// One sentence: what it means.
    pub sentence: &'static str,
    /// What the user can do about it; empty if nothing is to be done.
    pub remedy: &'static str,
}

/// Makes a closed list of reasons: an enumeration whose variants' doc comments users read, each with a remedy.
macro_rules! reasons {
    ($(#[doc = $about:literal])+ $list:ident { $($(#[doc = $sentence:literal])+ $name:ident => $remedy:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        pub enum $list {
            $($(#[doc = $sentence])+ $name,)+
        }

        impl $list {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The same with their words.
            pub const EXPLAINED: &[crate::reason::AnyReason] = &[$(Self::$name.explained(),)+];

            /// The reason with its words.
            #[must_use]
            pub const fn explained(self) -> crate::reason::AnyReason {
                match self {
                    $(Self::$name => crate::reason::AnyReason {
                        name: stringify!($name),
                        sentence: concat!($($sentence),+).trim_ascii(),
                        remedy: $remedy,
                    },)+
                }
            }

            /// Its name in conditions and events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.explained().name
            }

            /// One sentence: what it means.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                self.explained().sentence
            }

            /// What the user can do about it; empty if nothing is to be done.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                self.explained().remedy
            }
        }

        impl From<$list> for crate::reason::AnyReason {
            fn from(reason: $list) -> Self {
                reason.explained()
            }
        }

        impl std::fmt::Display for $list {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use reasons;

impl AnyReason {
    /// `message` and what the user can do, which a message may end with already.
    #[must_use]
    pub fn with_remedy(self, message: &str) -> String {
        match (self.remedy, self.facts(message)) {
            ("", facts) => facts.to_owned(),
            (remedy, "") => remedy.to_owned(),
            (remedy, facts) => format!("{facts}; {remedy}"),
        }
    }

    /// `message` without what the user can do, for a place that says it beside.
    #[must_use]
    pub fn facts(self, message: &str) -> &str {
        let mut facts = message;
        // Operators used to add it to messages that had it.
        while let Some(before) = facts
            .strip_suffix(self.remedy)
            .filter(|_| !self.remedy.is_empty())
        {
            facts = before.trim_end_matches([' ', ';']);
        }
        facts
    }
}

impl<R: Into<Self> + Copy> PartialEq<R> for AnyReason {
    fn eq(&self, other: &R) -> bool {
        let other: Self = (*other).into();
        self.name == other.name
    }
}

impl Eq for AnyReason {}

impl fmt::Display for AnyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

reasons! {
    /// Why an attempt, a polecat, or a pod of any owner is as it is.
    Reason {
        // Without a pod.
        /// The polecat is Idle, as spec.desiredState says.
        Idle => "",
        /// The polecat has neither a task nor a bead.
        NothingToDo => "set spec.task.description or spec.beadID",
        /// The polecat was terminated; unpushed changes, if there are any, are on the ref in status.wip.
        Terminated => "",

        // It waits for a slot.
        /// The rig has reached its limit of working polecats.
        RigAtCapacity => "wait: it starts by itself; or raise spec.settings.maxPolecats of the Rig, or the polecat's spec.priority",
        /// All rigs together have reached the limit of working polecats.
        TownAtCapacity => "wait: it starts by itself; or raise the chart's value maxPolecats",
        /// The rig is suspended.
        RigSuspended => "set spec.suspend of the Rig to None; the polecat goes on by itself",

        // About the manifest.
        /// The Rig that the polecat names exists.
        RigFound => "",
        /// The Rig that the polecat names does not exist.
        RigNotFound => "create the Rig, or set repository and credentials in the polecat",
        /// The manifest sets fields that have no effect.
        FieldsIgnored => "remove the fields that the message lists",

        // At work.
        /// The pod exists and its containers are starting.
        PodStarting => "",
        /// No node can take the pod.
        Unschedulable => "free or add capacity, or lower the requests; the pod waits as long as it may be parked",
        /// The agent is at work.
        AgentRunning => "",
        /// The pod is being stopped, and its work is being saved.
        Stopping => "",

        /// A new attempt follows a failed one.
        Retrying => "",
        /// The pod continues after it was parked.
        Resumed => "",

        // Parked: the pod lives and waits.
        /// A secret or one of its keys does not exist yet.
        SecretMissing => "create the secret or key that the message names; the pod goes on by itself",
        /// The model credential has expired.
        CredentialExpired => "renew it with `kubectl gt auth sync`; the pod goes on by itself",
        /// The usage limit of the model subscription is reached.
        UsageLimitReached => "wait: the pod goes on by itself when the window resets; or put another credential into the secret",
        /// The model endpoint cannot be reached or fails, or its certificate is not trusted.
        ModelUnreachable => "check the endpoint, the network, the chart's proxy and ca.crt in the secret; the pod goes on by itself, but keeps the endpoint and proxy that it began with: after a change of those, `kubectl gt polecat idle`, then `resume`",
        /// A key of a secret has a value that cannot be used.
        SecretInvalid => "repair the key that the message names; the pod goes on by itself",
        /// The model provider limits the rate of calls.
        RateLimited => "wait: the pod goes on by itself when the limit resets",
        /// The model provider is overloaded.
        Overloaded => "wait: the pod goes on by itself",

        /// The registry of the image does not answer, or does not let the operator read signatures.
        RegistryUnreachable => "check the registry, the network, and the secret that the chart's value registrySecret names; the polecat goes on by itself",

        /// The work of a running agent cannot be saved.
        CheckpointFailed => "make room on the git host, or let it take refs/gastown and gastown-wip, before the pod ends; the keeper tries again every minute",

        // Done.
        /// The agent ended well and its commits are on the remote branch.
        Delivered => "",

        // Stuck: what the manifest or the cluster says.
        /// A required field is set neither in the polecat nor in its Rig.
        SpecIncomplete => "set the field that the message names",
        /// The manifest asks for something that no polecat may have.
        SpecNotAllowed => "remove what the message names",
        /// The agent does not support the provider's API.
        ProviderUnsupportedByAgent => "choose an agent and a provider that speak the same API: claude-code with anthropic, litellm or ollama; codex with openai, litellm or ollama",
        /// The chart's values modelEndpoints and modelKeysOverHttp do not allow the model endpoint.
        EndpointNotAllowed => "choose an endpoint of the chart's modelEndpoints, or have an administrator allow this one: `helm upgrade --reuse-values` with `--set 'modelEndpoints={URL}'`, and with `--set modelKeysOverHttp=true` to send a key to an endpoint without TLS; the polecat goes on by itself",
        /// The chart's value allowedModels does not list the model.
        ModelNotAllowed => "choose a model that the chart's value allowedModels lists, or have an administrator add it",
        /// The budget is in dollars and the model has no price.
        PriceMissing => "add the model to the chart's value prices, or limit spec.budget.tokens instead",
        /// The API server refused the pod.
        AdmissionRefused => "change the policy that refuses the pod, or the polecat, and retry",
        /// A pod of another owner has the name of the polecat's pod.
        PodNameTaken => "delete the other pod, and retry",
        /// The namespace's quota does not allow the pod.
        QuotaExceeded => "raise the quota or wait for other pods to end, and retry",
        /// The image cannot be pulled.
        ImagePullFailed => "check the image's name, its registry and the pull secrets, or load it onto the nodes (README, Install), and retry",
        /// The image has no signature, or no statement, that its policy asks for.
        ImageUnsigned => "have the image signed with a key of the policy that the message names, or choose one that is, and retry",
        /// A signature of the image, or a signed statement about it, does not hold.
        ImageSignatureInvalid => "have the image signed anew with a key of the policy, and retry; if it was signed, find out who changed it",
        /// The image is not named by its digest.
        ImageNotPinned => "write NAME@sha256:DIGEST",
        /// The image of the agent's container cannot run a polecat.
        ImageIsNotAnAgent => "build spec.kubernetes.image from the polecat-agent image, and retry",
        /// The configuration of a container names something that does not exist or is not allowed.
        ContainerConfigInvalid => "create or correct what the message names, and retry",
        /// A container cannot start, or keeps crashing.
        ContainerCannotStart => "repair the image, or what the node lacks for it: `kubectl describe pod` and the container's log say more; then retry",

        // Stuck: what the git host said at the start. Of these, what a person can repair parks an agent that is at work.
        /// The git host refused the credential.
        GitCredentialRefused => "put a working key or token with write access into the git secret; a parked pod goes on by itself, a stuck one wants a retry",
        /// The git host's key is not among the known ones.
        HostKeyUnknown => "put the host's present key into known_hosts in the git secret; a parked pod goes on by itself, a stuck one wants a retry",
        /// The git host cannot be reached.
        GitHostUnreachable => "check the repository's URL, the network and the host's SSH server, and retry",
        /// The certificate of a host is not trusted.
        CertificateUntrusted => "put the issuer's certificate into ca.crt of the secret, or, where it has expired, is for another name or is a CA's own, replace the host's certificate; a parked pod goes on by itself, a stuck one wants a retry",
        /// The proxy cannot be reached, or refuses the connection.
        ProxyFailed => "check the chart's value proxy, what the proxy allows, and its credential in the secret, and retry",
        /// The repository does not exist, or the credential may not see it.
        RepositoryNotFound => "check the repository's URL and what the credential may read; a parked pod goes on by itself, a stuck one wants a retry",
        /// The base branch does not exist.
        BranchNotFound => "set spec.kubernetes.gitBranch, or spec.gitBranch of the Rig, to a branch that exists, and retry",
        /// A ref on the git host blocks one that the polecat must create, because git stores refs as files and folders.
        RefBlocked => "delete or rename the ref that the message names on the git host, and retry; or create another polecat with another spec.kubernetes.workBranch",
        /// The git secret may not be sent to this host.
        GitHostNotAllowed => "list the host in the key hosts of the git secret, or create a Rig with this repository",

        // Stuck: how the attempt went.
        /// The bead's text was found neither in the manifest nor in the repository.
        BeadTextMissing => "set spec.task.description, or commit the bead to .beads/issues.jsonl, which `bd export -o .beads/issues.jsonl` writes out of a database",
        /// The agent's settings in the credentials secret cannot be used.
        SettingsInvalid => "repair or remove the key that the message names, and retry",
        /// The workspace could not be prepared.
        CloneFailed => "`kubectl logs -c git-init` has git's words: repair the repository, or raise the chart's polecat.resources.gitInit; then retry",
        /// The model provider refused the credential.
        ModelCredentialRefused => "put a working key into the secret that the message names, and retry",
        /// The agent ended with an error.
        AgentFailed => "read `kubectl logs`, and retry",
        /// The agent neither called the model nor wrote output for too long.
        AgentHung => "read `kubectl logs`, and retry; spec.timing.silenceSeconds says how long an agent may be silent",
        /// A volume of the pod was about to exceed its size limit.
        DiskFull => "raise the chart's value polecat.volumes or have the task write less, and retry",
        /// The agent used more memory than its limit.
        OutOfMemory => "raise spec.kubernetes.resources.limits.memory, and retry",
        /// A sidecar used more memory than its limit.
        SidecarOutOfMemory => "raise the limit of that container in the chart's value polecat.resources, and retry",
        /// The attempt took longer than spec.kubernetes.activeDeadlineSeconds.
        DeadlineExceeded => "raise spec.kubernetes.activeDeadlineSeconds or split the task, and retry",
        /// The attempt was parked longer than allowed.
        ParkedTooLong => "cure what parked it, and retry",
        /// The node evicted the pod, or refused it.
        Evicted => "give the pod or its node more memory or storage, and retry",
        /// The pod's node no longer responds, or is gone.
        NodeLost => "bring the node back, or delete its Node object if the machine is off; no other pod starts until then",
        /// Someone else deleted the pod.
        PodDeleted => "retry; what was saved is on the ref in status.wip",
        /// The pod disappeared without its evidence.
        PodLost => "retry; what was saved is on the ref in status.wip",
        /// The agent ended well but changed nothing.
        NothingChanged => "make the task more precise, and retry",
        /// The polecat has a budget, and its agent worked without a model call that the broker metered.
        NothingMetered => "remove what leads the agent to another model endpoint (settings of the repository, spec.kubernetes.image), or remove spec.budget, and retry",
        /// A push to the remote was refused.
        PushRefused => "change what the rule refuses, or exempt polecat/* from it on the host, and retry",
        /// The work was pushed, but the remote no longer had it at the end.
        DeliveryUndone => "find out who or what deleted the branch or moved it back (the work is on the ref in status.wip), and retry",
        /// Someone changed the work order of the pod after it was made.
        WorkOrderChanged => "find out who may patch pods, enable the chart's podPolicy, and retry",
        /// The budget is spent.
        BudgetSpent => "raise spec.budget, and retry",
        /// The broker gave no evidence that this operator can read.
        EvidenceMissing => "read `kubectl logs -c broker`, and retry",
    }
}

/// An unknown name comes from a newer pod, read after the operator was rolled back. The fields beside it must still be
/// read: they may grant Done, or say what was spent.
impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|reason| reason.as_str() == word);
        Ok(known.copied().unwrap_or(Self::EvidenceMissing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said_once_of_every_reason() {
        for reason in crate::kinds::reasons() {
            let remedy = reason.remedy;
            for message in ["it failed", "it failed; try it; then that", ""] {
                let whole = reason.with_remedy(message);
                assert_eq!(reason.with_remedy(&whole), whole, "{reason}");
                assert_eq!(reason.facts(&whole), message, "{reason}");
                let twice = format!("{whole}; {remedy}");
                let facts = reason.facts(&twice).trim_end_matches([' ', ';']);
                assert_eq!(facts, message, "{reason}");
                assert!(remedy.is_empty() || whole.matches(remedy).count() == 1, "{whole}");
            }
        }
    }

    #[test]
    fn every_reason_is_a_sentence_and_serialises_as_its_name() {
        for reason in crate::kinds::reasons() {
            let sentence = reason.sentence;
            assert!(sentence.ends_with('.'), "{reason}: {sentence:?}");
            // What is shown beside the message must say more than it.
            assert!(!reason.remedy.contains("read the"), "{reason}");
        }
        for reason in Reason::ALL {
            let word = serde_json::to_value(reason).unwrap();
            assert_eq!(word, reason.as_str());
            assert_eq!(serde_json::from_value::<Reason>(word).unwrap(), *reason);
        }
    }
}
