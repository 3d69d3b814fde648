//! Refs of the remote that keep ours from existing: git keeps a ref like a file, so `refs/heads/a` and `refs/heads/a/b`
//! cannot both be there.

/// Patterns for `git ls-remote` that match every ref in the way of `name`: its parent folders and the refs below it.
pub fn patterns(name: &str) -> Vec<String> {
    let folders = name
        .match_indices('/')
        .skip(1)
        .map(|(end, _)| name[..end].to_owned());
    folders.chain([format!("{name}/*")]).collect()
}

/// Whether `name` cannot exist beside `other`.
pub fn excludes(name: &str, other: &str) -> bool {
    let is_below = |path: &str, folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    is_below(name, other) || is_below(other, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_excludes_its_folders_and_what_is_below_it_and_nothing_else() {
        let name = "refs/heads/polecat/nux/gt-1@m1";
        for other in [
            "refs/heads/polecat",
            "refs/heads/polecat/nux",
            "refs/heads/polecat/nux/gt-1@m1/x",
            "refs/heads/polecat/nux/gt-1@m1/x/y",
        ] {
            assert!(excludes(name, other) && excludes(other, name), "{other}");
        }
        for other in [
            name,
            "refs/heads/pole",
            "refs/heads/polecat/nu",
            "refs/heads/polecat/nux/gt-1@m",
            "refs/heads/polecat/nux/gt-1@m12",
            "refs/heads/polecat/nux/gt-2@m1",
            "refs/tags/polecat",
            "heads/polecat",
        ] {
            assert!(!excludes(name, other) && !excludes(other, name), "{other}");
        }
    }

    #[test]
    fn all_that_can_be_in_the_way_is_asked_for() {
        assert_eq!(
            patterns("refs/gastown/wip/nux/0123"),
            [
                "refs/gastown",
                "refs/gastown/wip",
                "refs/gastown/wip/nux",
                "refs/gastown/wip/nux/0123/*"
            ]
        );
        assert_eq!(patterns("refs/heads/x"), ["refs/heads", "refs/heads/x/*"]);
    }
}
