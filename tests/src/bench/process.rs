//! What the kernel says of a process: memory and processor time.

use anyhow::{Context as _, Result};

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its id.
    pub id: u32,
}

impl Process {
    /// Resident memory (`VmRSS`) in bytes.
    pub fn resident(self) -> Result<u64> {
        let status = self.read("status")?;
        memory_in(&status, "VmRSS:")
            .with_context(|| format!("process {} shows no VmRSS: it has ended", self.id))
    }

    /// The most resident memory it ever had (`VmHWM`) in bytes.
    pub fn peak(self) -> Result<u64> {
        let status = self.read("status")?;
        memory_in(&status, "VmHWM:")
            .with_context(|| format!("process {} shows no VmHWM: it has ended", self.id))
    }

    /// Seconds of user and system time that all its threads have used.
    pub fn cpu(self) -> Result<f64> {
        let stat = self.read("stat")?;
        let ticks = ticks_in(&stat).with_context(|| format!("/proc/{}/stat has an unknown form", self.id))?;
        Ok(number(ticks) / number(rustix::param::clock_ticks_per_second()))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.id);
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {path:?}"))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "clock ticks of a run stay far below 2^52"
)]
fn number(ticks: u64) -> f64 {
    ticks as f64
}

fn memory_in(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Fields 14 and 15 of `proc_pid_stat(5)`. The second field is the program's name, which may contain anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\toperator\nVmHWM:\t   99 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(memory_in(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(memory_in(status, "VmHWM:"), Some(99 * 1024));
    }

    #[test]
    fn processor_time_is_read_behind_a_hostile_name() {
        let stat = "7 (a) 1 2 (b) S 1 7 7 0 -1 4194560 10 0 0 0 300 45 0 0 20 0 4 0 100 1000 200";
        assert_eq!(ticks_in(stat), Some(345));
    }
}
