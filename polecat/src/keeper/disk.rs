//! Watches the volumes that the agent can fill: the kubelet evicts a pod that exceeds one, and leaves it a second.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gastown_api::pod::{HOME_DIR, KEEPER_DIR, TMP_DIR, WORKSPACE_DIR};
use gastown_api::work_order::DiskOrder;

use super::survey::usage;
use crate::loopback::{DiskFull, Volume};

/// Between two looks. The kubelet itself measures about once a minute.
pub const LOOK: Duration = Duration::from_secs(10);

/// A look may take this part of the time: a volume of a million files takes seconds.
const SHARE: u32 = 20;

/// The longest look; what was not seen by then is not counted.
const LONGEST: Duration = Duration::from_secs(30);

/// What of a volume may be used, in percent.
const MARK: u64 = 90;

/// From this part on, in percent, a volume counts that would be full at the look after the next.
const FAST_MARK: u64 = 50;

/// A volume and what it held.
#[derive(Debug)]
struct Gauge {
    volume: Volume,
    path: PathBuf,
    limit: u64,
    before: Option<u64>,
}

/// The gauges of all volumes.
#[derive(Debug)]
pub struct Disk(Vec<Gauge>);

impl Disk {
    /// The volumes of the pod, as the keeper mounts them.
    pub fn of_pod(order: DiskOrder) -> Self {
        Self(vec![
            Gauge::new(Volume::Workspace, WORKSPACE_DIR, order.workspace),
            Gauge::new(Volume::Home, HOME_DIR, order.home),
            Gauge::new(Volume::Tmp, TMP_DIR, order.tmp),
            Gauge::new(Volume::Keeper, KEEPER_DIR, order.keeper),
        ])
    }

    /// The broker's own volume.
    pub fn of_broker(dir: &Path, order: DiskOrder) -> Self {
        Self(vec![Gauge::new(Volume::Broker, dir, order.broker)])
    }

    /// No volumes.
    #[cfg(test)]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The first volume that is about to exceed its limit, and how long to wait before the next look.
    pub fn look(&mut self) -> (Option<DiskFull>, Duration) {
        let started = Instant::now();
        let deadline = started + LONGEST;
        let full = self.0.iter_mut().filter_map(|gauge| {
            let used = usage(&gauge.path, deadline);
            let full = is_full(gauge.before.replace(used), used, gauge.limit);
            let volume = gauge.volume;
            full.then_some(DiskFull { volume, used })
        });
        let full: Vec<_> = full.collect();
        (full.into_iter().next(), LOOK.max(started.elapsed() * SHARE))
    }
}

impl Gauge {
    fn new(volume: Volume, path: impl AsRef<Path>, limit: u64) -> Self {
        Self {
            volume,
            path: path.as_ref().to_owned(),
            limit,
            before: None,
        }
    }
}

/// Whether `used` of `limit` is too much, or will be at the look after the next if it goes on growing as since `before`.
fn is_full(before: Option<u64>, used: u64, limit: u64) -> bool {
    let part = |percent: u64| limit / 100 * percent;
    let growth = before.map_or(0, |before| used.saturating_sub(before));
    let soon = used.saturating_add(growth.saturating_mul(2));
    used >= part(MARK) || (used >= part(FAST_MARK) && soon >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_full_before_its_limit_and_earlier_when_it_fills_fast() {
        assert!(!is_full(None, 899, 1000));
        assert!(is_full(None, 900, 1000));
        assert!(!is_full(Some(850), 899, 1000));
        assert!(is_full(Some(300), 600, 1000));
        assert!(!is_full(Some(100), 300, 1000), "a large clone is no alarm");
        assert!(!is_full(Some(900), 600, 1000), "it shrank");
    }

    #[test]
    fn the_full_volume_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("b/file"), vec![1; 900_000]).unwrap();
        let gauge = |volume, name: &str| Gauge::new(volume, path(name), 1_000_000);
        let mut disk = Disk(vec![gauge(Volume::Workspace, "a"), gauge(Volume::Home, "b")]);
        let (full, pause) = disk.look();
        let full = full.unwrap();
        assert_eq!(full.volume, Volume::Home);
        assert!(full.used >= 900_000 && pause >= LOOK);
        std::fs::remove_file(path("b/file")).unwrap();
        assert_eq!(disk.look().0, None);
    }
}
