//! What becomes of a model secret that holds something already: what a sync brings replaces what it is newer than, and a
//! credential that works stays until another one takes its place.

use gastown_api::model_secret::{CREDENTIALS, HOME, MEMORY, SETTINGS};
use jiff::Timestamp;

use crate::command::auth::secret::Existing;
use crate::model_secret::{credential, credential_keys, flaw};
use crate::secret::{Data, is_filled};

/// The keys that mirror the folder: what is no longer there goes.
const OF_THE_FOLDER: [&str; 3] = [SETTINGS, MEMORY, HOME];

/// What is to be in the secret, and what is said about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// All its values.
    pub data: Data,
    /// Credentials that stay as they were.
    pub stay: Vec<String>,
    /// Keys that go.
    pub removed: Vec<String>,
    /// What needs a look.
    pub warnings: Vec<String>,
}

/// What a sync finds.
pub struct Found<'a> {
    /// What it uploads.
    pub data: &'a Data,
    /// Whether the folder was looked at; else its keys stay as they are.
    pub folder: bool,
    /// Keys that the user wants gone.
    pub remove: &'a [String],
}

/// The secret after the sync.
pub fn keep(existing: &Existing, found: &Found<'_>, now: Timestamp) -> Kept {
    let before = &existing.data;
    let works = |data: &Data| {
        data.get(CREDENTIALS)
            .is_some_and(|value| flaw(CREDENTIALS, value, now).is_none())
    };
    let mut result = Kept {
        data: before.clone(),
        ..Kept::default()
    };
    for (key, value) in found.data {
        if key == CREDENTIALS && works(before) && !works(found.data) {
            let why = flaw(key, value, now).unwrap_or_default();
            result.warnings.push(format!(
                "{key} of the folder {why}: the one in the secret still works, and stays; run `claude` and log in, then sync again"
            ));
        } else {
            result.data.insert(key.clone(), value.clone());
        }
    }
    let gone = |key: &String| {
        let mirrored = found.folder
            && OF_THE_FOLDER.contains(&key.as_str())
            && existing.own.contains(key)
            && !found.data.contains_key(key);
        mirrored || found.remove.contains(key)
    };
    result.removed = before.keys().filter(|key| gone(key)).cloned().collect();
    result.data.retain(|key, _| !gone(key));
    result.stay = credential_keys()
        .filter(|key| is_filled(&result.data, key) && result.data.get(*key) == before.get(*key))
        .filter(|key| found.data.get(*key) != before.get(*key))
        .map(str::to_owned)
        .collect();
    result.warnings.extend(hidden(&result.data, found));
    result
}

/// A credential that was uploaded and that another one in the secret comes before.
fn hidden(data: &Data, found: &Found<'_>) -> Option<String> {
    let counts = credential(data)?;
    if found.data.contains_key(counts) {
        return None;
    }
    let uploaded = credential_keys().find(|key| found.data.contains_key(*key))?;
    Some(format!(
        "the secret also holds {counts}, which counts before {uploaded}; to have pods use {uploaded}, repeat with --remove {counts}"
    ))
}

#[cfg(test)]
mod tests {
    use gastown_api::model_secret::{API_KEY, OAUTH_TOKEN};
    use serde_json::json;

    use super::*;

    fn data(entries: &[(&str, &str)]) -> Data {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        entries.iter().map(own).collect()
    }

    fn file(expires: i64) -> String {
        json!({"claudeAiOauth": {"accessToken": "t", "expiresAt": expires}}).to_string()
    }

    fn synced(before: &[(&str, &str)], found: &[(&str, &str)], folder: bool, remove: &[&str]) -> Kept {
        let existing = Existing {
            data: data(before),
            own: before
                .iter()
                .map(|(key, _)| (*key).to_owned())
                .filter(|key| key != MEMORY)
                .collect(),
            ..Existing::default()
        };
        let found = Found {
            data: &data(found),
            folder,
            remove: &remove.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(),
        };
        keep(&existing, &found, Timestamp::from_second(1_000_000).unwrap())
    }

    fn keys(kept: &Kept) -> Vec<&str> {
        kept.data.keys().map(String::as_str).collect()
    }

    const LATE: i64 = 2_000_000_000;

    #[test]
    fn a_credential_that_is_not_replaced_stays() {
        let late = file(LATE);
        for credential in [
            (API_KEY, "sk"),
            (OAUTH_TOKEN, "sk"),
            (CREDENTIALS, late.as_str()),
            ("OPENAI_API_KEY", "sk"),
            ("my-key", "of apiKeySecretRef"),
        ] {
            let kept = synced(&[credential, (SETTINGS, "1")], &[(SETTINGS, "2")], true, &[]);
            assert_eq!(kept.data, data(&[credential, (SETTINGS, "2")]));
            assert_eq!(kept.removed, Vec::<String>::new());
        }
        // A key alone, on a machine without the folder, takes no skills away.
        let kept = synced(&[(HOME, "h"), (SETTINGS, "1")], &[(API_KEY, "sk")], false, &[]);
        assert_eq!(keys(&kept), [API_KEY, HOME, SETTINGS]);
    }

    #[test]
    fn a_login_that_ran_out_or_is_damaged_replaces_none_that_works() {
        let (late, later) = (file(LATE), file(LATE + 1));
        for useless in [file(1000), "{}".to_owned(), String::new()] {
            let kept = synced(&[(CREDENTIALS, &late)], &[(CREDENTIALS, &useless)], true, &[]);
            assert_eq!(kept.data, data(&[(CREDENTIALS, &late)]), "{useless}");
            assert_eq!(kept.stay, [CREDENTIALS]);
            assert_eq!(kept.warnings.len(), 1, "{:?}", kept.warnings);
            let taken = synced(&[(CREDENTIALS, "{}")], &[(CREDENTIALS, &useless)], true, &[]);
            assert_eq!(
                taken.data,
                data(&[(CREDENTIALS, &useless)]),
                "there was none that works"
            );
        }
        let kept = synced(&[(CREDENTIALS, &late)], &[(CREDENTIALS, &later)], true, &[]);
        assert_eq!(kept.data, data(&[(CREDENTIALS, &later)]));
        assert_eq!(kept.stay, Vec::<String>::new());
    }

    #[test]
    fn what_left_the_folder_leaves_the_secret_unless_someone_else_put_it_there() {
        let kept = synced(
            &[(SETTINGS, "1"), (HOME, "h"), (MEMORY, "theirs")],
            &[(SETTINGS, "1")],
            true,
            &[],
        );
        assert_eq!(keys(&kept), [MEMORY, SETTINGS]);
        assert_eq!(kept.removed, [HOME]);
    }

    #[test]
    fn a_login_that_a_key_hides_is_told_and_the_key_goes_when_asked() {
        let late = file(LATE);
        let (key, login) = ((API_KEY, "sk"), (CREDENTIALS, late.as_str()));
        let hidden = synced(&[key], &[login], true, &[]);
        assert_eq!(keys(&hidden), [CREDENTIALS, API_KEY]);
        assert_eq!(hidden.stay, [API_KEY]);
        assert!(
            hidden.warnings.len() == 1 && hidden.warnings[0].contains("--remove ANTHROPIC_API_KEY"),
            "{:?}",
            hidden.warnings
        );
        let removed = synced(&[key], &[login], true, &[API_KEY]);
        assert_eq!((keys(&removed), removed.warnings.len()), (vec![CREDENTIALS], 0));
        assert_eq!(removed.removed, [API_KEY]);
    }
}
