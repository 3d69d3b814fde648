//! Fields that the schema accepts and nothing reads.

use gastown_api::condition::{self, Assertion};
use gastown_api::reason::Reason;

/// The paths of those fields of `table` that are set.
pub fn fields_that_are_set(table: impl IntoIterator<Item = (&'static str, bool)>) -> Vec<String> {
    let set = table.into_iter().filter(|(_, set)| *set);
    set.map(|(path, _)| path.to_owned()).collect()
}

/// The condition that names fields without effect; none where there are none.
#[must_use]
pub fn ignored_fields(paths: &[String]) -> Option<Assertion> {
    (!paths.is_empty()).then(|| {
        let message = format!("these fields have no effect: {}", paths.join(", "));
        Assertion::new(condition::FIELDS_IGNORED, true, Reason::FieldsIgnored, message)
    })
}
