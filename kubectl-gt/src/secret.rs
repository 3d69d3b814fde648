//! A Secret as the API server stores it. Its base64 values are checked and never shown.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The API server's limit for all values of a Secret together, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The values by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// The values of a Secret.
pub fn values(secret: &Value) -> Data {
    let entries = secret["data"].as_object().into_iter().flatten();
    let decode = |(key, value): (&String, &Value)| {
        let value = STANDARD.decode(value.as_str().unwrap_or_default()).ok()?;
        Some((key.clone(), value))
    };
    entries.filter_map(decode).collect()
}

/// Whether a value exists and is not blank, as the broker requires.
pub fn is_filled(data: &Data, key: &str) -> bool {
    data.get(key).is_some_and(|value| !value.trim_ascii().is_empty())
}

/// The size of a value of a Secret.
pub fn size(encoded: &str) -> usize {
    STANDARD.decode(encoded).map_or(0, |value| value.len())
}

/// The keys that `manager` has applied; an apply without them removes them.
pub fn applied_by(secret: &Value, manager: &str) -> Vec<String> {
    let entries = secret["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    let own = entries.filter(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
    let fields = own
        .filter_map(|entry| entry["fieldsV1"]["f:data"].as_object())
        .flatten();
    fields
        .filter_map(|(field, _)| field.strip_prefix("f:").map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_applied_by_the_manager_is_its_own() {
        let fields = |key: &str| json!({"f:data": {".": {}, key: {}}});
        let secret = json!({"metadata": {"managedFields": [
            {"manager": "kubectl-gt", "operation": "Apply", "fieldsV1": fields("f:token")},
            {"manager": "kubectl-gt", "operation": "Update", "fieldsV1": fields("f:a")},
            {"manager": "kubectl-create", "operation": "Update", "fieldsV1": fields("f:b")},
        ]}});
        assert_eq!(applied_by(&secret, "kubectl-gt"), ["token"]);
        assert_eq!(applied_by(&json!({}), "kubectl-gt"), Vec::<String>::new());
    }
}
