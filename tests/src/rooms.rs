//! Which part may see which: the tables in `docs/architecture.md` are what the sources do, no two files of a crate see each
//! other (a parent and its child module may), no kind of object is named where all kinds are served, and the broker and the
//! containers without keys share nothing that names either.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::sources::files;
use self::sources::{Module, Sources};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn operator() -> Sources {
    Sources::read(&root().join("operator/src"))
}

/// The rooms of the table, with those that each may see.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let document = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, rest) = document.split_once("\n| room | is | may see |\n").unwrap();
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    let names = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    rows.flat_map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        let seen = names(cells[3]);
        names(cells[1]).into_iter().map(move |room| (room, seen.clone()))
    })
    .collect()
}

/// The modules of `gastown_api` that hold a kind.
fn kinds() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for file in sources::files(&root().join("api/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        if text.contains("CustomResource,") || text.contains("(CustomResource") {
            let below = file.strip_prefix(root().join("api/src")).unwrap().to_owned();
            let first = below.components().next().unwrap().as_os_str().to_string_lossy();
            kinds.insert(first.trim_end_matches(".rs").to_owned());
        }
    }
    kinds
}

fn room(module: &Module) -> Option<&String> {
    module.first()
}

#[test]
fn every_room_of_the_operator_sees_only_what_the_architecture_says() {
    let (sources, table) = (operator(), table());
    let rooms: BTreeSet<_> = sources.modules().filter_map(room).cloned().collect();
    let named: BTreeSet<_> = table.keys().cloned().collect();
    assert_eq!(rooms, named, "the table names other rooms than there are");
    let (mut wrong, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (from, to) in sources.edges() {
        let (Some(from_room), Some(to_room)) = (room(from), room(to)) else {
            continue;
        };
        if from_room == to_room {
            continue;
        }
        used.insert((from_room.clone(), to_room.clone()));
        if !table[from_room].contains(to_room) {
            wrong.insert(format!("{} sees {}", from.join("::"), to.join("::")));
        }
    }
    assert!(wrong.is_empty(), "not in the table: {wrong:#?}");
    let listed = table
        .iter()
        .flat_map(|(from, seen)| seen.iter().map(move |to| (from.clone(), to.clone())));
    let unused: Vec<_> = listed.filter(|edge| !used.contains(edge)).collect();
    assert!(
        unused.is_empty(),
        "the table allows what nothing does: {unused:?}"
    );
}

#[test]
fn no_two_files_of_a_crate_see_each_other() {
    for folder in [
        "operator",
        "broker",
        "polecat/common",
        "polecat/keyless",
        "kubectl-gt",
        "registry",
        "signatures",
    ] {
        let circles = Sources::read(&root().join(folder).join("src")).circles();
        assert!(circles.is_empty(), "{folder}: {circles:#?}");
    }
}

/// The packages that are linked with `package`, itself included.
fn linked(package: &str) -> BTreeSet<String> {
    let tree = [
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ];
    let output = Command::new("cargo")
        .args(tree)
        .args(["--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = names
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(names.contains(package), "{names:?}");
    names
}

#[test]
fn the_broker_is_linked_with_nothing_of_the_agents_side_and_that_with_no_tls_and_no_broker() {
    let broker = linked("gastown-broker");
    assert!(
        broker.contains("polecat-common") && broker.contains("rustls"),
        "{broker:?}"
    );
    assert!(
        !broker.contains("polecat-keyless") && !broker.contains("polecat"),
        "{broker:?}"
    );
    let (keyless, common) = (linked("polecat-keyless"), linked("polecat-common"));
    assert!(keyless.contains("polecat-common"), "{keyless:?}");
    assert!(!common.contains("polecat-keyless"), "{common:?}");
    for name in keyless.union(&common) {
        let is_tls = ["tls", "webpki", "x509", "ssl"]
            .iter()
            .any(|word| name.contains(word));
        assert!(
            !is_tls && name != "gastown-broker",
            "{name} is linked with the agent's side"
        );
    }
}

/// The formats of secrets are in `api`, which every part is linked with.
#[test]
fn the_agents_side_names_no_format_of_secrets() {
    for folder in ["polecat/common/src", "polecat/keyless/src"] {
        let sources = Sources::read(&root().join(folder));
        for (module, paths) in sources.paths() {
            let secret = paths
                .iter()
                .find(|path| path.len() > 1 && path[0] == "gastown_api" && path[1].ends_with("_secret"));
            assert!(
                secret.is_none(),
                "{folder}: {} names {secret:?}",
                module.join("::")
            );
        }
    }
}

/// What serves every kind (driver, cache, writes, metrics and all below them) knows none of them.
#[test]
fn what_serves_every_kind_of_the_operator_names_none() {
    let (sources, table, kinds) = (operator(), table(), kinds());
    assert!(kinds.contains("polecat") && kinds.contains("rig"), "{kinds:?}");
    let served = |module: &Module| {
        let room = room(module).map(String::as_str);
        let below_the_driver = room.is_some_and(|room| table["driver"].contains(room));
        below_the_driver || matches!(room, Some("attempt" | "driver" | "restricted_pod"))
    };
    let mut wrong = BTreeSet::new();
    for (module, paths) in sources.paths().filter(|(module, _)| served(module)) {
        for path in paths {
            let names_a_kind = path.len() > 1 && path[0] == "gastown_api" && kinds.contains(&path[1]);
            if names_a_kind {
                wrong.insert(format!("{} names {}", module.join("::"), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_kind_of_the_operator_sees_the_folder_of_another() {
    let sources = operator();
    let kind = |module: &Module| match module.as_slice() {
        [room, kind, ..] if room == "controller" => Some(kind.clone()),
        _ => None,
    };
    let edges = sources.edges();
    let wrong: BTreeSet<_> = edges
        .filter(|(from, to)| kind(from).zip(kind(to)).is_some_and(|(from, to)| from != to))
        .map(|(from, to)| format!("{} sees {}", from.join("::"), to.join("::")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
