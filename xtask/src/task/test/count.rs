//! Runs `cargo test`, shows what it prints, and counts.

use std::io::{BufRead as _, BufReader};
use std::ops::AddAssign;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::process::Command;

/// How many tests ran, and how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs the command and adds up its `test result:` lines.
///
/// Fails when it did not even come to a test, as with code that does not compile, or found none to run.
pub fn run(command: Command) -> Result<Count> {
    let shown = command.to_string();
    let mut process = command.into_inner();
    process.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = process
        .spawn()
        .with_context(|| format!("failed to start `{shown}`"))?;
    let output = child
        .stdout
        .take()
        .context("a piped process has a standard output")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line.with_context(|| format!("failed to read what `{shown}` prints"))?;
        println!("{line}");
        count += parse(&line).unwrap_or_default();
    }
    let status = child
        .wait()
        .with_context(|| format!("failed to wait for `{shown}`"))?;
    if status.success() && count.passed == 0 {
        bail!("`{shown}` ran no test");
    }
    if !status.success() && count.failed == 0 {
        bail!("`{shown}` ended with {status}");
    }
    Ok(count)
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
fn parse(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |part: &str| {
        counts
            .split("; ")
            .find_map(|c| c.strip_suffix(part)?.trim().parse().ok())
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_and_others_are_not() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            parse(line),
            Some(Count {
                passed: 12,
                failed: 3
            })
        );
        assert_eq!(parse("test it_works ... ok"), None);
        assert_eq!(parse("test result: ok."), None);
    }

    #[test]
    fn a_run_without_tests_is_no_success() {
        let error = run(Command::new("true")).unwrap_err();
        assert_eq!(error.to_string(), "`true` ran no test");
    }
}
