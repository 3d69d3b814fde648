//! Rules of the schema that more than one field has, or that are too long to stand at the field. Each message names
//! the value: the API server puts the field before it.

use kube::core::{Message, Rule};

/// A repository as [`crate::repository`] takes it: no password, no option, no local path.
pub(crate) fn repository() -> Rule {
    Rule::new(
        "self.matches('^([A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9._-]*:|ssh://([A-Za-z0-9][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]{1,5})?/|https?://[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]{1,5})?/)[A-Za-z0-9._~/]([A-Za-z0-9._~/+-]|%([2-6][0-9A-Fa-f]|7[0-9A-Ea-e]|[89A-Fa-f][0-9A-Fa-f]))*$')",
    )
    .message(expression(
        r#"'repository "' + self + '" must be git@HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH or https://HOST[:PORT]/PATH, without a password'"#,
    ))
}

/// What `git check-ref-format --branch` refuses and a pattern cannot say.
pub(crate) fn branch() -> Rule {
    Rule::new(
        "!('/' + self).contains('/.') && !(self + '/').contains('.lock/') && !self.contains('..') && !self.contains('//') && !self.startsWith('/') && !self.endsWith('/') && !self.endsWith('.')",
    )
    .message(expression(
        r#"'branch "' + self + '" is none that git accepts: no "..", no "//", no "/" or "." at an end, no part that begins with "." or ends with ".lock"'"#,
    ))
}

/// Keys begin as PEM does; whether they are keys, the operator says.
pub(crate) fn public_keys() -> Rule {
    Rule::new("self.all(key, key.trim().startsWith('-----BEGIN PUBLIC KEY-----'))").message(expression(
        r#"'key "' + self.filter(key, !key.trim().startsWith('-----BEGIN PUBLIC KEY-----'))[0].replace('\n', ' ') + '" is no public key in PEM: write the content of cosign.pub, from -----BEGIN PUBLIC KEY----- on'"#,
    ))
}

/// A predicate's type is a URI.
pub(crate) fn predicate_types() -> Rule {
    Rule::new("self.all(type, type.matches('^[a-z]+:[^ ]+$'))").message(expression(
        r#"'predicate type "' + self.filter(type, !type.matches('^[a-z]+:[^ ]+$'))[0] + '" is no URI: write it as the attestation does, such as https://slsa.dev/provenance/v1'"#,
    ))
}

/// A statement counts because of who signed it.
pub(crate) fn attestations_need_keys() -> Rule {
    Rule::new("!has(self.requireAttestations) || size(self.requireAttestations) == 0 || (has(self.keys) && size(self.keys) > 0)")
        .message(expression(
            r#"'requireAttestations "' + self.requireAttestations[0] + '" needs keys: a statement counts only if one of them signed it'"#,
        ))
        .field_path(".requireAttestations")
}

/// `kubernetes.FIELD`, a text, stays as it was created, unset included.
pub(crate) fn immutable_in_kubernetes(field: &str) -> Rule {
    let of = |object: &str| {
        format!(
            "(has({object}.kubernetes) && has({object}.kubernetes.{field}) ? {object}.kubernetes.{field} : '')"
        )
    };
    let (now, before) = (of("self"), of("oldSelf"));
    Rule::new(format!("{now} == {before}"))
        .message(expression(&format!(
            r#"'{field} is immutable: it is "' + {before} + '" and cannot become "' + {now} + '"; create another Polecat'"#
        )))
        .field_path(format!(".kubernetes.{field}"))
}

/// The task stands in one place.
pub(crate) fn one_task() -> Rule {
    Rule::new("!(has(self.taskDescription) && has(self.task) && has(self.task.description))")
        .message(expression(
            r#"'taskDescription "' + (size(self.taskDescription) > 40 ? self.taskDescription.substring(0, 40) + '…' : self.taskDescription).replace('\n', ' ') + '" and task.description are both set: keep task.description'"#,
        ))
        .field_path(".taskDescription")
}

/// What the agent can read, it can give away. A rule of one variable.
pub(crate) fn no_secret_in_environment() -> Rule {
    Rule::new(
        "!has(self.valueFrom) || !(has(self.valueFrom.secretKeyRef) || has(self.valueFrom.fileKeyRef))",
    )
    .message(expression(
        "'env ' + self.name + ' must not take a value from a Secret (secretKeyRef) or another container\\'s volume (fileKeyRef): the agent holds no keys; use claudeCredsSecretRef or gitSecretRef'",
    ))
}

/// Keys that the operator sets and reads on pods, as `crate::pod_metadata::is_ours` has them. A rule of one map; its cost
/// leaves no room for the key in the message.
pub(crate) fn no_key_of_ours() -> Rule {
    Rule::new(
        "self.all(k, !k.startsWith('gastown.io/') && !k.contains('.gastown.io/') && k != 'app.kubernetes.io/managed-by' && k != 'kubectl.kubernetes.io/default-container')",
    )
    .message(
        "keys below gastown.io/, app.kubernetes.io/managed-by and kubectl.kubernetes.io/default-container are the operator's own: leave them out",
    )
}

/// As the API server asks of pods, but at the polecat, where the user sees it. `resource` is one of [`NAMED`]: the
/// cost of a message with the keys of a map counts as unbounded.
pub(crate) fn request_within_limit(resource: &str) -> Rule {
    let of = |map: &str| format!("string(self.{map}['{resource}'])");
    let (request, limit) = (of("requests"), of("limits"));
    let given = |map: &str| format!("has(self.{map}) && '{resource}' in self.{map}");
    Rule::new(format!(
        "!({} && {}) || quantity({request}).compareTo(quantity({limit})) <= 0",
        given("requests"),
        given("limits"),
    ))
    .message(expression(&format!(
        "'request {resource} ' + {request} + ' must not exceed its limit ' + {limit} + ': lower the request or raise the limit'"
    )))
}

/// The resources whose request is named when it is too high.
pub(crate) const NAMED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// The same of every other resource, unnamed.
pub(crate) fn other_requests_within_limits() -> Rule {
    let named = NAMED.map(|resource| format!("'{resource}'")).join(", ");
    Rule::new(format!(
        "!has(self.requests) || !has(self.limits) || self.requests.all(r, r in [{named}] || !(r in self.limits) || quantity(string(self.requests[r])).compareTo(quantity(string(self.limits[r]))) <= 0)"
    ))
    .message("a request must not exceed its limit: lower the request or raise the limit")
}

fn expression(cel: &str) -> Message {
    Message::Expression(cel.to_owned())
}
