//! Labels and annotations that users give the pods of their polecats.

use std::collections::BTreeMap;

use crate::labels::fits_label;
use crate::pod_overrides::PodOverrides;

/// The most bytes that keys and values of one map may have together: the work order stands beside them, and the API server
/// takes no more than 256 KiB of annotations.
const MAX_BYTES: usize = 8 * 1024;

/// A map of labels or annotations.
pub type Table = BTreeMap<String, String>;

/// Whether `key` is one that the operator itself sets or reads on pods: everything below `gastown.io/` and its
/// subdomains, and the two keys of Kubernetes' own that it uses.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let ours = [
        "app.kubernetes.io/managed-by",
        "kubectl.kubernetes.io/default-container",
    ];
    domain == "gastown.io" || domain.ends_with(".gastown.io") || ours.contains(&key)
}

/// What is wrong with the labels and annotations of `pod`, after the name of the field.
#[must_use]
pub fn flaw_of(pod: &PodOverrides) -> Option<String> {
    let labels = pod.pod_labels.as_ref().and_then(flaw_of_labels);
    let annotations = pod.pod_annotations.as_ref().and_then(flaw_of_annotations);
    let labels = labels.map(|flaw| format!("podLabels: {flaw}"));
    labels.or_else(|| annotations.map(|flaw| format!("podAnnotations: {flaw}")))
}

/// What is wrong with a table of labels, if something is.
#[must_use]
pub fn flaw_of_labels(labels: &Table) -> Option<String> {
    let bad = labels
        .iter()
        .find(|(_, value)| !value.is_empty() && !fits_label(value));
    let bad = bad.map(|(key, value)| {
        format!(
            "label {key:?} has the value {value:?}; write at most 63 letters, digits, - _ and ., with a letter or digit at both ends"
        )
    });
    flaw_of_keys(labels).or(bad)
}

/// What is wrong with a table of annotations, if something is.
#[must_use]
pub fn flaw_of_annotations(annotations: &Table) -> Option<String> {
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let long = (bytes > MAX_BYTES)
        .then(|| format!("the annotations have {bytes} bytes, and {MAX_BYTES} are the most; shorten them"));
    flaw_of_keys(annotations).or(long)
}

fn flaw_of_keys(table: &Table) -> Option<String> {
    if let Some(key) = table.keys().find(|key| is_ours(key)) {
        return Some(format!("key {key:?} is the operator's own; leave it out"));
    }
    let key = table.keys().find(|key| !is_qualified(key))?;
    Some(format!(
        "key {key:?} is none that Kubernetes takes; write NAME or DOMAIN/NAME, NAME with at most 63 letters, digits, - _ and ."
    ))
}

/// `NAME` or `DOMAIN/NAME` (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
fn is_qualified(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(d, n)| (Some(d), n));
    fits_label(name) && domain.is_none_or(is_domain)
}

fn is_domain(domain: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label =
        |part: &str| edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(inner);
    domain.len() <= 253 && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(key: &str, value: &str) -> Table {
        Table::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_operators_keys_and_what_kubernetes_refuses_are_named() {
        for (key, value, words) in [
            ("gastown.io/polecat", "x", "operator's own"),
            ("gastown.io/work-order", "{}", "operator's own"),
            ("rig.gastown.io/x", "x", "operator's own"),
            ("app.kubernetes.io/managed-by", "Helm", "operator's own"),
            (
                "kubectl.kubernetes.io/default-container",
                "broker",
                "operator's own",
            ),
            ("a b", "x", "DOMAIN/NAME"),
            ("", "x", "DOMAIN/NAME"),
            ("Example.com/x", "x", "DOMAIN/NAME"),
            ("a/b/c", "x", "DOMAIN/NAME"),
            ("team", "a b", "63 letters"),
            ("team", "-", "63 letters"),
        ] {
            let flaw = flaw_of_labels(&table(key, value)).unwrap_or_default();
            assert!(flaw.contains(words), "{key}: {flaw}");
        }
        let long = table("notes", &"x".repeat(MAX_BYTES));
        let flaw = flaw_of_annotations(&long).unwrap();
        assert!(flaw.contains("8192"), "{flaw}");
    }

    #[test]
    fn what_others_read_passes() {
        for (key, value) in [
            ("team", "payments"),
            ("sidecar.istio.io/inject", "false"),
            ("app.kubernetes.io/part-of", "town"),
            ("notgastown.io/x", ""),
        ] {
            assert_eq!(flaw_of_labels(&table(key, value)), None, "{key}");
        }
        let annotation = table(
            "cluster-autoscaler.kubernetes.io/safe-to-evict",
            "any text, at all",
        );
        assert_eq!(flaw_of_annotations(&annotation), None);
    }
}
