//! Configurations that cannot be used, and what the administrator is told: the key, the value, the remedy.

mod table;

use super::*;
use table::REFUSED;

#[test]
fn what_cannot_be_used_is_refused_with_key_value_and_remedy() {
    let mut wrong = Vec::new();
    for (text, key, value, remedy) in REFUSED {
        match Config::parse(text) {
            Ok(_) => wrong.push(format!("{text:?} was accepted")),
            Err(error) => {
                let error = error.to_string();
                let missing: Vec<_> = [key, value, remedy]
                    .into_iter()
                    .filter(|part| !error.contains(**part))
                    .collect();
                if !missing.is_empty() || error.contains("hunter2") {
                    wrong.push(format!("{text:?}: {missing:?} not in {error:?}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        REFUSED.len(),
        wrong.join("\n")
    );
}
