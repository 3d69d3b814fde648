//! The kind node from inside: what no API tells, and what no API would do.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::process::Command;

use super::{PATIENCE, World, polecats, within};

/// A process of a container, as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id on the node.
    pub pid: u32,
    /// Its command line, arguments separated by spaces.
    pub command: String,
    /// Kilobytes in memory now.
    pub resident: u64,
    /// The most it ever was.
    pub peak: u64,
}

/// Runs a shell script on the node, and gives what it prints.
pub async fn run(script: &str) -> String {
    let node = std::env::var("GASTOWN_NODE").unwrap_or_else(|_| {
        panic!("GASTOWN_NODE is not set: run `cargo xtask test e2e`, which makes the node")
    });
    let output = Command::new("docker")
        .args(["exec", &node, "bash", "-c", script])
        .output()
        .await
        .unwrap_or_else(|error| panic!("failed to run docker: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script:?} on the node: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `test` while the node's kubelet stands still, then lets it go on. Only for a test that runs alone.
pub async fn without_kubelet(test: impl AsyncFnOnce()) {
    run("systemctl stop kubelet").await;
    let outcome = AssertUnwindSafe(test()).catch_unwind().await;
    run("systemctl start kubelet").await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// The node's id of a running container of a polecat.
pub async fn container(world: &World, polecat: &str, name: &str) -> String {
    let what = format!("container {name} of {polecat:?} runs");
    within(PATIENCE, &what, async || {
        let pod = world.pod_of(polecat).await.ok_or("it has no pod")?;
        running(&pod, name).ok_or_else(|| "it does not run".to_owned())
    })
    .await
}

/// The node's id of the container that runs in the place of `before`, once there is one.
pub async fn container_after(world: &World, polecat: &str, name: &str, before: &str) -> String {
    let what = format!("container {name} of {polecat:?} runs again");
    within(PATIENCE, &what, async || {
        let pod = world.pod_of(polecat).await.ok_or("it has no pod")?;
        let now = running(&pod, name).filter(|now| now != before);
        now.ok_or_else(|| "it does not".to_owned())
    })
    .await
}

fn running(pod: &Pod, name: &str) -> Option<String> {
    let status = polecats::containers(pod).into_iter().find(|c| c.name == name)?;
    status.state?.running?;
    let id = status.container_id?;
    Some(id.rsplit('/').next()?.to_owned())
}

/// The processes of a container, the first of which is its process 1.
pub async fn processes(container: &str) -> Vec<Process> {
    // A process may end while it is read.
    let script = format!(
        "for folder in $(grep -ls {container} /proc/[0-9]*/cgroup); do folder=${{folder%/cgroup}}; \
         echo \"${{folder#/proc/}}|$(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' $folder/status 2>/dev/null)|\
         $(sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\) kB/\\1/p' $folder/status 2>/dev/null)|\
         $(tr '\\0' ' ' < $folder/cmdline 2>/dev/null)\"; done"
    );
    let listed = run(&script).await;
    let mut all: Vec<_> = listed.lines().filter_map(process).collect();
    all.sort_by_key(|process| process.pid);
    all
}

fn process(line: &str) -> Option<Process> {
    let mut parts = line.splitn(4, '|');
    Some(Process {
        pid: parts.next()?.parse().ok()?,
        resident: parts.next()?.parse().ok()?,
        peak: parts.next()?.parse().ok()?,
        command: parts.next()?.trim().to_owned(),
    })
}

/// The process 1 of a container of a polecat.
pub async fn process_one(world: &World, polecat: &str, name: &str) -> Process {
    let id = container(world, polecat, name).await;
    let all = processes(&id).await;
    all.first()
        .cloned()
        .unwrap_or_else(|| panic!("container {name} of {polecat:?} has no process"))
}

/// What the kernel says of a container's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The most bytes it ever used, page cache included.
    pub most: u64,
    /// How often it reached its limit, which page cache alone does too.
    pub at_limit: u64,
    /// How many of its processes were killed for want of memory.
    pub kills: u64,
}

/// What the kernel says of a container's memory.
pub async fn memory(container: &str) -> Memory {
    let script = format!(
        "folder=/sys/fs/cgroup/memory$(grep -hs {container} /proc/[0-9]*/cgroup | sed -n 's/^[0-9]*:memory://p' | head -1); \
         cat $folder/memory.max_usage_in_bytes $folder/memory.failcnt; sed -n 's/^oom_kill //p' $folder/memory.oom_control"
    );
    let text = run(&script).await;
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    let [most, at_limit, kills] = numbers[..] else {
        panic!("{text:?} of {container}");
    };
    Memory {
        most,
        at_limit,
        kills,
    }
}

/// Makes the kernel kill process 1 of a container for want of memory: a process of ours uses up the container's, and
/// the container's own is the one that the kernel is told to prefer. The kernel may kill the filler too, while the first victim,
/// whose memory it took back at once, is still on its way out: that one has a minute to be gone.
pub async fn out_of_memory(container: &str) {
    let one = processes(container).await;
    let pid = one
        .first()
        .unwrap_or_else(|| panic!("{container} has no process"))
        .pid;
    let script = format!(
        "folder=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/{pid}/cgroup); \
         echo 1000 > /proc/{pid}/oom_score_adj; \
         (echo $BASHPID > $folder/cgroup.procs; exec timeout 60 tail /dev/zero) > /dev/null 2>&1 & \
         filler=$!; while [ -d /proc/{pid} ] && kill -0 $filler 2>/dev/null; do sleep 0.05; done; \
         kill -9 $filler 2>/dev/null; pkill -9 -P $filler 2>/dev/null; \
         for _ in {{1..600}}; do [ -d /proc/{pid} ] || exit 0; sleep 0.1; done; exit 1"
    );
    run(&script).await;
}
