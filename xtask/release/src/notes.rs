//! Release notes: what the changelog says of this version, the digests, and how to verify them.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::folder::Shipped;

/// The notes, in Markdown; `since` is the section on what has changed since the release before.
pub fn render(
    version: &str,
    commit: &str,
    changelog: &str,
    images: &[Shipped],
    sums: &str,
    since: Option<&str>,
) -> Result<String> {
    let changes = section(changelog, version)
        .or_else(|| section(changelog, "Unreleased"))
        .with_context(|| format!("CHANGELOG.md has neither a section {version:?} nor \"Unreleased\""))?;
    let mut notes = format!("# gastown-operator {version}\n\nFrom commit {commit}.\n\n{changes}\n");
    if let Some(since) = since {
        write!(notes, "\n{since}")?;
    }
    notes.push_str("\n## Images\n\n| image | platforms | digest |\n|---|---|---|\n");
    for image in images {
        let platforms: Vec<_> = image
            .platforms
            .iter()
            .map(|one| format!("{} ({} MB)", one.architecture, one.size / 1_000_000))
            .collect();
        let tag = image.tags.first().map_or("", String::as_str);
        writeln!(
            notes,
            "| `{}:{tag}` | {} | `{}` |",
            image.repository,
            platforms.join(", "),
            image.digest
        )?;
    }
    writeln!(notes, "\n## Files\n\n```\n{sums}```\n\n## Verify\n\n```console")?;
    for image in images {
        writeln!(
            notes,
            "$ cosign verify --key cosign.pub --insecure-ignore-tlog=true {}@{}",
            image.repository, image.digest
        )?;
    }
    notes.push_str("$ cosign verify-blob --key cosign.pub --insecure-ignore-tlog=true --bundle SHA256SUMS.sigstore.json SHA256SUMS\n");
    notes.push_str("$ sha256sum --check --ignore-missing SHA256SUMS\n```\n");
    Ok(notes)
}

/// What stands below a heading such as `## 0.5.0` or `## [0.5.0] - 2026-11-30`.
fn section<'a>(changelog: &'a str, name: &str) -> Option<&'a str> {
    let is_it = |heading: &str| {
        let heading = heading.trim_start_matches('[');
        heading
            .strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.'))
    };
    let mut parts = changelog.split("\n## ").skip(1);
    let found = parts.find(|part| is_it(part))?;
    Some(found.split_once('\n').map_or("", |(_, text)| text).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Platform;

    const CHANGELOG: &str =
        "# Changelog\n\n## Unreleased\n\n- next\n\n## [0.5.0] - 2026-11-30\n\n- now\n\n## 0.5\n\n- then\n";

    #[test]
    fn the_section_is_that_of_the_version_and_of_no_longer_one() {
        assert_eq!(section(CHANGELOG, "0.5.0"), Some("- now"));
        assert_eq!(section(CHANGELOG, "0.5"), Some("- then"));
        assert_eq!(section(CHANGELOG, "Unreleased"), Some("- next"));
        assert_eq!(section(CHANGELOG, "0.4.0"), None);
    }

    #[test]
    fn the_notes_have_digests_and_commands_to_verify_them() {
        let image = Shipped {
            repository: "x/operator".to_owned(),
            name: "operator".to_owned(),
            tags: vec!["0.6.0".to_owned(), "latest".to_owned()],
            edition: Some("community".to_owned()),
            digest: "sha256:ab".to_owned(),
            platforms: vec![Platform {
                architecture: "amd64".to_owned(),
                digest: "sha256:cd".to_owned(),
                size: 25_400_000,
            }],
        };
        let notes = render(
            "0.6.0",
            "c0ffee",
            CHANGELOG,
            &[image],
            "00  kubectl-gt\n",
            Some("## Since 0.5.0\n"),
        )
        .unwrap();
        for part in [
            "- next\n\n## Since 0.5.0\n\n## Images",
            "| `x/operator:0.6.0` | amd64 (25 MB) | `sha256:ab` |",
            "```\n00  kubectl-gt\n```",
            "$ cosign verify --key cosign.pub --insecure-ignore-tlog=true x/operator@sha256:ab\n",
        ] {
            assert!(notes.contains(part), "{part:?} is not in {notes}");
        }
        assert!(render("0.6.0", "", "# Changelog\n", &[], "", None).is_err());
    }
}
