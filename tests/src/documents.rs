//! What the documents tell a reader to type. Every `kubectl gt` in them is one that the plugin takes, the names of secrets
//! are the same everywhere, and `tests/e2e/town_from_nothing/documents.rs` types them as they stand.

/// The pages with commands, by name.
pub const PAGES: [(&str, &str); 9] = [
    ("README.md", include_str!("../../README.md")),
    (
        "AGENT_INSTRUCTIONS.md",
        include_str!("../../AGENT_INSTRUCTIONS.md"),
    ),
    ("FRICTION_POINTS.md", include_str!("../../FRICTION_POINTS.md")),
    (
        "NOTES.txt",
        include_str!("../../helm/gastown-operator/templates/NOTES.txt"),
    ),
    (
        "polecat-minimal.yaml",
        include_str!("../../templates/polecat-minimal.yaml"),
    ),
    (
        "secret-claude-creds.yaml",
        include_str!("../../templates/secret-claude-creds.yaml"),
    ),
    (
        "secret-git-ssh.yaml",
        include_str!("../../templates/secret-git-ssh.yaml"),
    ),
    ("metrics.md", include_str!("../../docs/metrics.md")),
    ("threat-model.md", include_str!("../../docs/threat-model.md")),
];

/// The lines to type of the console blocks below the heading `section` of `page`, without comments at their ends; none
/// where there is no such section.
#[must_use]
pub fn to_type(page: &str, section: &str) -> Vec<String> {
    let lines = below(page, section).lines();
    let typed = lines.filter_map(|line| line.strip_prefix("$ "));
    typed.map(|line| without_comment(line).to_owned()).collect()
}

/// The first block of YAML below the heading `section` of `page`.
#[must_use]
pub fn yaml<'a>(page: &'a str, section: &str) -> Option<&'a str> {
    let (_, block) = below(page, section).split_once("\n```yaml\n")?;
    let (block, _) = block.split_once("\n```")?;
    Some(block)
}

/// Everything in running text or tables of `page` that stands as code.
#[must_use]
pub fn inline(page: &str) -> Vec<&str> {
    page.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

fn below<'a>(page: &'a str, section: &str) -> &'a str {
    let rest = page.split_once(&format!("\n## {section}\n"));
    let rest = rest.map(|(_, rest)| rest).unwrap_or_default();
    rest.split("\n## ").next().unwrap_or_default()
}

fn without_comment(line: &str) -> &str {
    line.split("   #")
        .next()
        .unwrap_or(line)
        .split("  # ")
        .next()
        .unwrap_or(line)
        .trim_end()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;
    use kubectl_gt::Cli;

    use super::*;

    /// Every command of the plugin that stands in `text` as code or as a line of its own.
    fn commands(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for line in text.lines() {
            let line = line.trim_start_matches(['#', ' ', '$']);
            if line.starts_with("kubectl gt ") {
                found.push(without_comment(line).to_owned());
            }
        }
        let inline = inline(text).into_iter();
        found.extend(
            inline
                .filter(|code| code.starts_with("kubectl gt "))
                .map(str::to_owned),
        );
        found
    }

    /// The words of a command line as a shell has them, up to a pipe or redirection; of `a|b|c` the first is tried.
    fn words(line: &str) -> Option<Vec<String>> {
        let line = line.split(" | ").next()?.split(" > ").next()?;
        let output = std::process::Command::new("bash")
            .args([
                "-c",
                &format!(
                    "printf '%s\\0' {}",
                    line.replace("{{ .Release.Namespace }}", "ns").replace('…', "X")
                ),
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.split_terminator('\0').skip(2);
        Some(
            std::iter::once("kubectl-gt".to_owned())
                .chain(words.map(str::to_owned))
                .collect(),
        )
    }

    /// Code that names a command without all that it needs, or stands for several.
    fn is_a_name(line: &str) -> bool {
        let several = line.contains('|') && !line.contains(" | ");
        // What the page says is not here.
        several || line.contains("<TAB>") || line.ends_with('…') || line == "kubectl gt mail"
    }

    #[test]
    fn every_command_of_the_plugin_in_the_documents_is_one_that_it_takes() {
        let (mut tried, mut wrong) = (0, Vec::new());
        for (page, text) in PAGES {
            for line in commands(text).into_iter().filter(|line| !is_a_name(line)) {
                let words = words(&line).unwrap();
                tried += 1;
                let parsed =
                    Cli::try_parse_from(kubectl_gt::translate(words.iter().map(Into::into).collect()));
                let Err(error) = parsed else { continue };
                // A bare name in running text is no line to type.
                let is_fine = matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                );
                if !is_fine {
                    wrong.push(format!("{page}: {line}: {}", error.kind()));
                }
            }
        }
        assert!(tried > 60, "{tried} commands");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_secrets_have_one_set_of_names() {
        for (page, text) in PAGES {
            for old in [
                "git-ssh-key",
                "git-secret",
                "claude-credentials",
                "anthropic-key-secret",
            ] {
                assert!(!text.contains(old), "{page} calls a secret {old}");
            }
        }
        let named = |word: &str| PAGES.iter().filter(|(_, text)| text.contains(word)).count();
        assert!(named("git-creds") >= 4 && named("claude-creds") >= 3);
    }

    #[test]
    fn every_template_is_valid_and_named_in_the_readme() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for object in kubectl_gt::validate::documents(&text).unwrap() {
                let verdict = kubectl_gt::validate::check(&object);
                let is_placeholder = text.contains("REPLACE-WITH-YOUR-KEY");
                assert!(
                    verdict == kubectl_gt::validate::Verdict::Valid || is_placeholder,
                    "{path:?}: {verdict:?}"
                );
                seen += 1;
            }
        }
        assert!(seen >= 5);
    }
}
