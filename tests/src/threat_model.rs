//! Every claim of `docs/threat-model.md` names the tests that show it; a claim whose test was renamed or removed is one
//! that nothing shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all functions that are marked as tests, in all sources of the project.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<PathBuf> = [
        "api",
        "broker",
        "crypto",
        "kubectl-gt",
        "operator",
        "polecat",
        "registry",
        "signatures",
        "tests",
        "xtask",
    ]
    .map(|folder| root().join(folder))
    .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(tests_of(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    names
}

fn tests_of(source: &str) -> Vec<String> {
    let mut marked = false;
    let mut names = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            names.push(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
            marked = false;
        }
    }
    names
}

/// What stands between backticks and can only be the name of a test.
fn named(text: &str) -> Vec<&str> {
    let is_name = |word: &&str| {
        word.matches('_').count() > 2
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.split('`').skip(1).step_by(2).filter(is_name).collect()
}

/// What stands below a heading, up to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

#[test]
fn every_claim_of_the_threat_model_names_tests_that_exist() {
    let document = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let tests = tests();
    let missing: Vec<_> = named(&document)
        .into_iter()
        .filter(|name| !tests.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    let claims = section(&document, "Claims");
    let rows: Vec<_> = claims.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 20, "{} claims", rows.len());
    for row in rows {
        let heading = row.starts_with("| claim");
        assert!(
            heading || !named(row).is_empty(),
            "nothing shows this claim: {row}"
        );
    }
}

#[test]
fn every_attack_of_the_threat_model_has_a_script_that_a_test_runs() {
    let document = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let attacks = section(&document, "Attacks, one by one");
    let rows: Vec<_> = attacks
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    assert!(rows.len() >= 25, "{} attacks", rows.len());
    let runs = std::fs::read_to_string(root().join("tests/e2e/attacked.rs")).unwrap();
    for row in rows {
        let scripts = row.split('`').filter(|word| {
            let path = Path::new(word);
            path.extension().is_some_and(|extension| extension == "sh")
        });
        let scripts: Vec<_> = scripts.collect();
        assert!(!scripts.is_empty(), "nothing tries this attack: {row}");
        for script in scripts {
            assert!(
                root().join("tests/scripts").join(script).is_file(),
                "no {script}: {row}"
            );
            assert!(
                runs.contains(&format!("../scripts/{script}")),
                "nothing runs {script}"
            );
        }
    }
}

#[test]
fn only_functions_that_are_tests_count() {
    let source = "fn helper_of_a_test() {}\n#[test]\nfn it_holds_well_here() {}\n#[tokio::test]\n#[ignore]\nasync fn it_waits_for_it() {}";
    assert_eq!(tests_of(source), ["it_holds_well_here", "it_waits_for_it"]);
    assert_eq!(
        named("`it_holds_well_here` and `short_name`, `A_B_C_D`"),
        ["it_holds_well_here"]
    );
}
