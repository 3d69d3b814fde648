//! Watches the volumes that the agent can fill, and what they hold together with the logs: the kubelet evicts a pod that
//! exceeds the limit of a volume, or its own of ephemeral storage, and leaves it a second.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gastown_api::control_api::{DiskFull, Volume};
use gastown_api::pod::{BROKER, CLAUDE, GIT_INIT, HOME_DIR, KEEPER, KEEPER_DIR, TMP_DIR, WORKSPACE_DIR};
use gastown_api::work_order::DiskOrder;

use crate::stat_walk::usage;

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

/// The gauges of all volumes, and that of the pod.
#[derive(Debug)]
pub struct Disk {
    gauges: Vec<Gauge>,
    /// The pod's limit of ephemeral storage; none: it has none.
    limit: Option<u64>,
    /// What was used of that.
    before: Option<u64>,
}

/// What a look at the volumes found.
#[derive(Debug)]
pub struct Look {
    /// The first that is about to exceed its limit.
    pub full: Option<DiskFull>,
    /// What the volumes hold together.
    pub used: u64,
    /// How long to wait before the next look.
    pub pause: Duration,
}

impl Disk {
    /// The volumes of the pod, as the keeper mounts them.
    #[must_use]
    pub fn of_pod(order: DiskOrder, limit: Option<u64>) -> Self {
        let gauges = vec![
            Gauge::new(Volume::Workspace, WORKSPACE_DIR, order.workspace),
            Gauge::new(Volume::Home, HOME_DIR, order.home),
            Gauge::new(Volume::Tmp, TMP_DIR, order.tmp),
            Gauge::new(Volume::Keeper, KEEPER_DIR, order.keeper),
        ];
        Self::new(gauges, limit)
    }

    /// The broker's own volume.
    #[must_use]
    pub fn of_broker(dir: &Path, order: DiskOrder) -> Self {
        Self::new(vec![Gauge::new(Volume::Broker, dir, order.broker)], None)
    }

    /// No volumes.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Vec::new(), None)
    }

    fn new(gauges: Vec<Gauge>, limit: Option<u64>) -> Self {
        Self {
            gauges,
            limit,
            before: None,
        }
    }

    /// Looks at every volume; `unseen` is what others use of the pod's storage.
    pub fn look(&mut self, unseen: u64) -> Look {
        let started = Instant::now();
        let deadline = started + LONGEST;
        let mut sum = 0_u64;
        let mut full = None;
        for gauge in &mut self.gauges {
            let used = usage(&gauge.path, deadline);
            sum = sum.saturating_add(used);
            let is_full = is_full(gauge.before.replace(used), used, gauge.limit);
            let volume = gauge.volume;
            full = full.or(is_full.then_some(DiskFull { volume, used }));
        }
        let used = sum.saturating_add(unseen);
        let before = self.before.replace(used);
        let is_over = self.limit.is_some_and(|limit| is_full(before, used, limit));
        let volume = Volume::Pod;
        Look {
            full: full.or(is_over.then_some(DiskFull { volume, used })),
            used: sum,
            pause: LOOK.max(started.elapsed() * SHARE),
        }
    }
}

/// The limit of ephemeral storage that the kubelet holds a pod to, from the files in `folder`: what main container and
/// sidecars have together, or the init container in the place of the main one. None: no container has a limit.
///
/// The files tell the resources with which the pod was admitted. Where there is no limit the downward API tells what the
/// node has; such a container has no request either, because a limit always brings one.
#[must_use]
pub fn limit_of_pod(folder: &Path) -> Option<u64> {
    let bytes = |container: &str, bound: &str| {
        let text = std::fs::read_to_string(folder.join(format!("{container}.{bound}"))).ok()?;
        text.trim().parse::<u64>().ok().filter(|bytes| *bytes > 0)
    };
    let limit = |container| bytes(container, "request").and_then(|_| bytes(container, "limit"));
    let first = limit(CLAUDE).max(limit(GIT_INIT));
    let all = [first, limit(BROKER), limit(KEEPER)];
    let set = all.into_iter().flatten();
    set.reduce(u64::saturating_add)
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
        let gauges = vec![gauge(Volume::Workspace, "a"), gauge(Volume::Home, "b")];
        let mut disk = Disk::new(gauges, None);
        let look = disk.look(0);
        let full = look.full.unwrap();
        assert_eq!(full.volume, Volume::Home);
        assert!(full.used >= 900_000 && look.pause >= LOOK);
        std::fs::remove_file(path("b/file")).unwrap();
        assert_eq!(disk.look(0).full, None);
    }

    #[test]
    fn volumes_that_are_small_each_fill_the_pods_storage_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join("file"), vec![1; 400_000]).unwrap();
        }
        let disk = |limit| {
            let gauge = |volume, name: &str| Gauge::new(volume, path(name), 1_000_000);
            Disk::new(
                vec![gauge(Volume::Workspace, "a"), gauge(Volume::Tmp, "b")],
                limit,
            )
        };
        assert_eq!(disk(None).look(0).full, None);
        assert_eq!(disk(Some(1_000_000)).look(0).full, None);
        let full = disk(Some(1_000_000)).look(150_000).full.unwrap();
        assert_eq!(full.volume, Volume::Pod, "with what only the broker sees");
        assert!(full.used >= 950_000, "{full:?}");
        assert_eq!(disk(Some(800_000)).look(0).full.unwrap().volume, Volume::Pod);
    }

    #[test]
    fn the_limit_of_a_pod_is_what_its_containers_may_use_at_a_time() {
        const MIB: u64 = 1 << 20;
        /// What the downward API tells of a container without a limit.
        const NODE: u64 = 100_000 * MIB;
        let folder = tempfile::tempdir().unwrap();
        let admitted = |containers: [(&str, u64, u64); 4]| {
            for (name, request, limit) in containers {
                std::fs::write(folder.path().join(format!("{name}.request")), request.to_string()).unwrap();
                std::fs::write(folder.path().join(format!("{name}.limit")), limit.to_string()).unwrap();
            }
            limit_of_pod(folder.path())
        };
        let names = [BROKER, KEEPER, GIT_INIT, CLAUDE];
        assert_eq!(limit_of_pod(folder.path()), None, "an older operator");
        assert_eq!(admitted(names.map(|name| (name, 0, NODE))), None);
        let all = names.map(|name| (name, 10 * MIB, 100 * MIB));
        assert_eq!(admitted(all), Some(300 * MIB), "a LimitRange");
        let only = |of: &str, limit| {
            names.map(|name| {
                if name == of {
                    (name, MIB, limit)
                } else {
                    (name, 0, NODE)
                }
            })
        };
        assert_eq!(
            admitted(only(CLAUDE, 5 * MIB)),
            Some(5 * MIB),
            "the chart names one"
        );
        let mut clone = all;
        clone[2].2 = 900 * MIB;
        assert_eq!(admitted(clone), Some(1100 * MIB), "git-init has more than claude");
    }
}
