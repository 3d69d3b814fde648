//! Polecats of the namespace that are Stuck or parked for something that a person can repair: each reason is one finding, in the
//! words of one of them.

use std::collections::BTreeMap;

use gastown_api::reason::Reason;

use super::findings::Findings;
use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::view::Polecat;

/// Reasons that speak of what polecats are given, and not of their work.
const OF_THE_SETUP: [Reason; 25] = [
    Reason::AdmissionRefused,
    Reason::BranchNotFound,
    Reason::CertificateUntrusted,
    Reason::CredentialExpired,
    Reason::EndpointNotAllowed,
    Reason::GitCredentialRefused,
    Reason::GitHostNotAllowed,
    Reason::GitHostUnreachable,
    Reason::HostKeyUnknown,
    Reason::ImageNotPinned,
    Reason::ImagePullFailed,
    Reason::ImageSignatureInvalid,
    Reason::ImageUnsigned,
    Reason::ModelCredentialRefused,
    Reason::ModelNotAllowed,
    Reason::ModelUnreachable,
    Reason::PriceMissing,
    Reason::ProxyFailed,
    Reason::RefBlocked,
    Reason::RegistryUnreachable,
    Reason::RepositoryNotFound,
    Reason::SecretInvalid,
    Reason::SecretMissing,
    Reason::SettingsInvalid,
    Reason::SpecNotAllowed,
];

/// Looks at them.
pub async fn check(cluster: &Cluster, findings: &mut Findings) {
    match cluster.list(Resource::POLECATS, &Selection::default()).await {
        Ok(objects) => found(&objects.iter().map(Polecat::read).collect::<Vec<_>>(), findings),
        Err(Call::Forbidden { .. }) => findings.unknown("polecats", "you may not see the polecats"),
        Err(error) => findings.unknown("polecats", &error.to_string()),
    }
}

fn found(polecats: &[Polecat], findings: &mut Findings) {
    let mut by_reason: BTreeMap<Reason, Vec<(&Polecat, &str)>> = BTreeMap::new();
    for polecat in polecats {
        let stuck = (polecat.phase() == "Stuck").then(|| (polecat.reason(), polecat.message()));
        let parked = polecat
            .parked()
            .map(|parked| (parked.reason.as_str(), parked.message.as_str()));
        let Some((reason, message)) = parked.or(stuck) else {
            continue;
        };
        if let Some(known) = OF_THE_SETUP.iter().find(|known| known.as_str() == reason) {
            by_reason.entry(*known).or_default().push((polecat, message));
        }
    }
    for (reason, polecats) in by_reason {
        let Some((first, message)) = polecats.first() else {
            continue;
        };
        let more = match polecats.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        let words = reason.explained().facts(message);
        let what = format!("{}{more}: {reason}: {words}", first.address());
        findings.bad("polecats", &what, reason.remedy());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn polecat(name: &str, phase: &str, type_: &str, reason: &str) -> Polecat {
        Polecat::read(&json!({
            "metadata": {"name": name}, "spec": {"rig": "demo"},
            "status": {"phase": phase, "conditions": [
                {"type": type_, "status": if type_ == "Ready" { "False" } else { "True" }, "reason": reason, "message": format!("words of {name}")},
            ]},
        }))
    }

    #[test]
    fn what_a_person_can_repair_is_named_once_for_each_reason_with_its_remedy() {
        let mut findings = Findings::default();
        found(
            &[
                polecat("a", "Stuck", "Ready", "CertificateUntrusted"),
                polecat("b", "Stuck", "Ready", "CertificateUntrusted"),
                polecat("c", "Working", "Parked", "SecretMissing"),
                polecat("d", "Stuck", "Ready", "NothingChanged"),
                polecat("e", "Done", "Ready", "Delivered"),
                polecat("f", "Stuck", "Ready", "OfAnotherVersion"),
            ],
            &mut findings,
        );
        let words = findings.words();
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(
            words.contains(&"demo/a and 1 more: CertificateUntrusted: words of a"),
            "{words:?}"
        );
        assert!(words.contains(&"demo/c: SecretMissing: words of c"), "{words:?}");
    }
}
