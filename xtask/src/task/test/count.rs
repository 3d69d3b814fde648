//! Runs test programs, shows what they print, and counts.

use std::io::{BufRead as _, BufReader};
use std::ops::AddAssign;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::process::Command;
use crate::progress;

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

/// What of a run is on the screen, beside the failures; all of it is in the job's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Each test as it ends.
    Tests,
    /// How many tests of a program passed and failed.
    Results,
}

/// Runs the command and adds up its `test result:` lines.
///
/// Fails when it did not even come to a test, as with code that does not compile, or ended in the midst of them.
pub fn run(command: Command, shown: Shown) -> Result<Count> {
    let name = command.to_string();
    let mut process = command.into_inner();
    process
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(progress::output()?);
    let mut child = process
        .spawn()
        .with_context(|| format!("failed to start `{name}`"))?;
    let output = child
        .stdout
        .take()
        .context("a piped process has a standard output")?;
    let mut count: Option<Count> = None;
    let mut failures: Vec<String> = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("failed to read what `{name}` prints"))?;
        let line = String::from_utf8_lossy(&line);
        match shown.place_of(&line) {
            Place::Screen => progress::say(&line),
            Place::Log => progress::record(&line),
        }
        if line == "failures:" || !failures.is_empty() {
            failures.push(line.to_string());
        }
        if let Some(result) = parse(&line) {
            *count.get_or_insert_default() += result;
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("failed to wait for `{name}`"))?;
    if !failures.is_empty() {
        println!("{}", failures.join("\n"));
    }
    match count {
        Some(count) if status.success() || count.failed > 0 => Ok(count),
        Some(_) | None if !status.success() => bail!("`{name}` ended with {status}"),
        _ => bail!("`{name}` ran no test"),
    }
}

enum Place {
    Screen,
    Log,
}

impl Shown {
    fn place_of(self, line: &str) -> Place {
        let is_result = line.starts_with("test result: ");
        let is_test = line.starts_with("test ") && !is_result;
        let is_failure = is_test && line.ends_with("FAILED");
        if is_result || is_failure || (is_test && self == Self::Tests) {
            Place::Screen
        } else {
            Place::Log
        }
    }
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
        let error = run(Command::new("true"), Shown::Tests).unwrap_err();
        assert_eq!(error.to_string(), "`true` ran no test");
    }

    #[test]
    fn a_run_that_breaks_after_its_first_tests_is_no_success() {
        let dies = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; exit 101";
        let error = run(Command::new("sh").args(["-c", dies]), Shown::Tests).unwrap_err();
        assert!(
            error.to_string().ends_with("ended with exit status: 101"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_test_is_counted() {
        let fails = "printf 'test a ... FAILED\\n\\nfailures:\\n\\n---- a ----\\n'; \
                     echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
        let count = run(Command::new("sh").args(["-c", fails]), Shown::Results).unwrap();
        assert_eq!(count, Count { passed: 1, failed: 1 });
    }
}
