//! Why the API server refused a pod. Quota, Pod Security and admission policies all answer 403 or 422, so this is
//! the one place that reads the words of an error.

use crate::types::Refusal;
use gastown_api::reason::Reason;
use kube::core::Status;

/// What is said while a namespace or a quota is so young that its controllers have not filled it in: of the account
/// `default` (Kubernetes' plugin/pkg/admission/serviceaccount) and of the quota's status (apiserver's resourcequota).
const TOO_YOUNG: [&str; 2] = ["error looking up service account ", "status unknown for quota: "];

/// Why the pod was refused for good; none: the call may succeed when it is repeated.
#[must_use]
pub fn classify_forbidden(status: &Status) -> Option<Refusal> {
    let reason = match status.code {
        // Not authenticated, no such namespace, timed out, exists or conflicts, too many requests.
        401 | 404 | 408 | 409 | 429 => return None,
        403 if TOO_YOUNG.iter().any(|words| status.message.contains(words)) => return None,
        403 if status.message.contains("exceeded quota: ") => Reason::QuotaExceeded,
        400..=499 => Reason::AdmissionRefused,
        _ => return None,
    };
    Some(Refusal::new(reason, status.message.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        serde_json::from_value(serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": message,
        }))
        .unwrap()
    }

    #[test]
    fn a_quota_is_told_from_other_policies() {
        // Answers of a Kubernetes 1.35 API server.
        let quota = "pods \"polecat-a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0";
        let unspecified =
            "pods \"polecat-a\" is forbidden: failed quota: q: must specify limits.cpu for: claude";
        let security = "pods \"polecat-a\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
        let policy = "pods \"polecat-a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        let webhook = "admission webhook \"w.example\" denied the request: no";
        let invalid = "Pod \"polecat-a\" is invalid: spec.containers[0].image: Required value";
        for (code, message, reason) in [
            (403, quota, Reason::QuotaExceeded),
            (403, unspecified, Reason::AdmissionRefused),
            (403, security, Reason::AdmissionRefused),
            (422, policy, Reason::AdmissionRefused),
            (400, webhook, Reason::AdmissionRefused),
            (422, invalid, Reason::AdmissionRefused),
        ] {
            let refusal = classify_forbidden(&status(code, message)).unwrap();
            assert_eq!((refusal.reason, refusal.message.as_str()), (reason, message));
        }
    }

    #[test]
    fn what_may_pass_is_no_refusal() {
        for code in [401, 404, 408, 409, 429, 500, 503, 504] {
            assert_eq!(classify_forbidden(&status(code, "")), None, "{code}");
        }
        for message in [
            "pods \"polecat-a\" is forbidden: error looking up service account a/default: serviceaccount \"default\" not found",
            "pods \"polecat-a\" is forbidden: status unknown for quota: q, resources: pods",
        ] {
            assert_eq!(classify_forbidden(&status(403, message)), None, "{message}");
        }
    }
}
