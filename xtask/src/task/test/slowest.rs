//! Which end-to-end tests took the longest. The test harness of Rust does not say; the worlds of the tests write it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace;

/// How many are shown.
const SHOWN: usize = 10;

/// The environment variable that tells the tests where to write.
pub const VARIABLE: &str = "GASTOWN_TEST_TIMES";

/// The times of one run: a file with a line of seconds and name for each test.
pub struct Slowest(PathBuf);

impl Slowest {
    /// An empty file of times.
    pub fn start() -> Result<Self> {
        let file = workspace::root().join("target/test/times");
        workspace::write_whole(&file, b"")?;
        Ok(Self(file))
    }

    /// Where tests write their times.
    pub fn file(&self) -> &Path {
        &self.0
    }

    /// Prints the tests that took the longest, if any wrote how long it took.
    pub fn print(&self) -> Result<()> {
        let times = fs_err::read_to_string(&self.0)?;
        let slowest = slowest(&times)?;
        if !slowest.is_empty() {
            println!("\nslowest end-to-end tests:");
        }
        for (seconds, name) in slowest {
            println!("{seconds:7.1} s  {name}");
        }
        Ok(())
    }
}

fn slowest(times: &str) -> Result<Vec<(f64, &str)>> {
    let mut all = times.lines().map(parse).collect::<Result<Vec<_>>>()?;
    all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    all.truncate(SHOWN);
    Ok(all)
}

fn parse(line: &str) -> Result<(f64, &str)> {
    let parts = line.split_once(' ');
    let parts = parts.and_then(|(seconds, name)| Some((seconds.parse().ok()?, name)));
    parts.with_context(|| format!("{line:?} is no test's time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first_and_are_ten() {
        let times: Vec<_> = (0..12).map(|n| format!("{n}.5 test::number_{n}")).collect();
        let times = times.join("\n");
        let shown = slowest(&times).unwrap();
        assert_eq!(shown.len(), 10);
        assert_eq!(shown[0], (11.5, "test::number_11"));
        assert_eq!(shown[9], (2.5, "test::number_2"));
        assert_eq!(slowest("").unwrap(), []);
        assert!(slowest("soon test::a\n").is_err());
    }
}
