//! No message shows Rust's own notation. Debug formatting quotes a text and escapes what a terminal would obey; of
//! anything else it gives `Some("…")`, `["…"]` or `Anthropic`, which only a programmer can read.

mod sources;

use std::path::{Path, PathBuf};

use self::sources::Crates;

/// The crates whose words people read.
const CRATES: [&str; 10] = [
    "api",
    "broker",
    "crypto",
    "kubectl-gt",
    "operator",
    "polecat",
    "polecat/common",
    "polecat/keyless",
    "registry",
    "signatures",
];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Files that are tests are told by their path.
    root.canonicalize().unwrap()
}

#[test]
fn only_texts_are_shown_by_debug_formatting() {
    let folders = CRATES.map(|name| root().join(name).join("src"));
    let crates = Crates::read(folders.iter());
    let (seen, wrong) = crates.debug_shown();
    assert!(seen > 150, "{seen} messages were found");
    assert!(wrong.is_empty(), "no text, or not known to be one: {wrong:#?}");
}

#[test]
fn the_search_finds_what_is_no_text() {
    let code = r#"
        const WITHIN: Duration = Duration::from_secs(1);
        enum Error {
            #[error("refused {path:?} of {owner:?}")]
            Refuse { path: PathBuf, owner: Option<String> },
        }
        fn words(model: Option<&str>, name: &str, kind: Kind) -> String {
            let list = vec![name];
            let whole = match value { Value::Text(text) => text, other => format!("{other:?}") };
            let fine = format!("{name:?} {:?} {:?}", path.display(), name.trim());
            format!("it is {model:?}") + &format!("{:?} {:?}", kind, list) + &format!("{WITHIN:?}")
        }
        #[cfg(test)]
        mod tests { fn x() { format!("{:?}", Some(1)) } }
    "#;
    let mut crates = Crates::default();
    crates.add("x.rs", code);
    let (_, wrong) = crates.debug_shown();
    let shown: Vec<_> = wrong.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(shown, ["owner", "other", "model", "kind", "list", "WITHIN"]);
}

#[test]
fn the_search_finds_fields_of_the_log_that_are_no_text() {
    let code = r#"
        fn words(sha: Option<Sha>, name: &str) {
            tracing::info!(name = ?name, sha = ?sha, "read again");
            tracing::warn!(?sha, %name, "moved");
            match read() {
                Ok(seen) => tracing::debug!(?seen, "{name:?}"),
                Err(error) => warn!(error = ?error, lease = self.name, path = ?self.path, "failed"),
            }
            tracing::info!(name, sha = %sha, at = when()?, "fine");
        }
    "#;
    let mut crates = Crates::default();
    crates.add("x.rs", code);
    let (_, wrong) = crates.debug_shown();
    let shown: Vec<_> = wrong.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(shown, ["sha", "sha", "seen", "error", "self . path"]);
}

/// What `Debug` makes of an option, a result, a struct and an error's kind.
const NOTATION: [&str; 8] = [
    "Some(",
    "None;",
    "is None",
    "Ok(",
    "Err(",
    "Kind(",
    "Os { code",
    "String(\"",
];

#[test]
fn no_recorded_output_of_the_plugin_shows_rusts_notation() {
    let folder = root().join("kubectl-gt/tests/transcript/snapshots");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let sign = NOTATION.iter().find(|sign| line.contains(**sign));
            assert_eq!(sign, None, "{}:{}: {line}", path.display(), number + 1);
        }
        files += 1;
    }
    assert!(files > 10, "{files} files");
}
