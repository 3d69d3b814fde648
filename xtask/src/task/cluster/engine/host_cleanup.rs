//! What an engine leaves on the machine beside its processes: bridges, packet filter rules, kernel settings, cgroups.
//!
//! [`Before::record`] looks before the first start; [`remove`] takes away what came since and bears the engine's
//! marks, so that what others changed meanwhile stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::machine;
use crate::process::Command;

/// The parent of every cgroup that the engine makes.
pub const CGROUP: &str = "/gastown-operator";

/// Kernel settings that dockerd, kubelet, kube-proxy or the node's systemd change for the whole machine.
const SETTINGS: [&str; 20] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/default/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/core_uses_pid",
    "kernel/pid_max",
    "kernel/sysrq",
    "fs/file-max",
    "fs/nr_open",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
];

/// Folders that the engine makes outside its own.
const FOLDERS: [&str; 2] = ["/run/containerd", "/run/docker"];

const FAMILIES: [&str; 2] = ["iptables", "ip6tables"];

/// What the machine was like before the engine first started.
// An engine that another version of this program started may lack a fact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Before {
    bridges: BTreeSet<String>,
    settings: BTreeMap<String, String>,
    /// What `iptables-save` and `ip6tables-save` said.
    filters: BTreeMap<String, String>,
    /// Which of the folders that the engine makes were there.
    folders: BTreeSet<String>,
}

impl Before {
    /// Looks at the machine now.
    pub fn record() -> Result<Self> {
        let settings = SETTINGS.iter().filter_map(|name| {
            let value = std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
            Some(((*name).to_owned(), value.trim().to_owned()))
        });
        let mut filters = BTreeMap::new();
        for family in FAMILIES {
            filters.insert(family.to_owned(), saved(family)?);
        }
        let folders = FOLDERS.iter().filter(|folder| Path::new(folder).exists());
        Ok(Self {
            folders: folders.map(|folder| (*folder).to_owned()).collect(),
            bridges: bridges()?,
            settings: settings.collect(),
            filters,
        })
    }
}

/// Takes away what the engine, which must have ended, left since `before`.
pub fn remove(before: &Before) -> Result<()> {
    let ours: Vec<String> = bridges()?
        .difference(&before.bridges)
        .filter(|name| is_of_docker(name))
        .cloned()
        .collect();
    for family in FAMILIES {
        let earlier = before.filters.get(family).map_or("", String::as_str);
        let script = removal(earlier, &saved(family)?);
        if !script.is_empty() {
            let restore = machine::path(&format!("{family}-restore"));
            Command::new(restore).arg("--noflush").input(script).output()?;
        }
    }
    for bridge in &ours {
        Command::new(machine::path("ip"))
            .args(["link", "delete", bridge])
            .output()?;
    }
    for (name, value) in &before.settings {
        let file = Path::new("/proc/sys").join(name);
        let now = std::fs::read_to_string(&file).unwrap_or_default();
        if now.trim() != value {
            fs_err::write(file, value)?;
        }
    }
    for folder in FOLDERS.iter().filter(|folder| !before.folders.contains(**folder)) {
        super::own_engine::remove_if_there(Path::new(folder))?;
    }
    remove_cgroups();
    Ok(())
}

fn saved(family: &str) -> Result<String> {
    Command::new(machine::path(&format!("{family}-save"))).text()
}

fn bridges() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs_err::read_dir("/sys/class/net")? {
        let entry = entry?;
        if entry.path().join("bridge").is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Docker calls its bridges `docker0` and `br-` with the first 12 digits of the network's id.
fn is_of_docker(interface: &str) -> bool {
    let is_id = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    interface == "docker0" || interface.strip_prefix("br-").is_some_and(is_id)
}

/// Input of `iptables-restore --noflush` that takes Docker's rules, chains and policies of `now` away again, except
/// what stood in `before`; empty when there is nothing to do.
fn removal(before: &str, now: &str) -> String {
    let earlier = tables(before);
    let mut script = String::new();
    for (table, lines) in tables(now) {
        let had = |line: &str| earlier.get(table).is_some_and(|lines| lines.contains(&line));
        let mut commands = String::new();
        for rule in lines
            .iter()
            .filter(|line| line.starts_with("-A ") && !had(line) && has_marks_of_docker(line))
        {
            let _ = writeln!(commands, "-D{}", &rule[2..]);
        }
        let new_chains = lines
            .iter()
            .filter_map(|line| chain(line))
            .filter(|(name, _)| name.starts_with("DOCKER"));
        for (name, _) in
            new_chains.filter(|(name, _)| !earlier.get(table).is_some_and(|lines| declares(lines, name)))
        {
            let _ = writeln!(commands, "-X {name}");
        }
        for (name, policy) in lines
            .iter()
            .filter_map(|line| chain(line))
            .filter(|(_, policy)| *policy != "-")
        {
            let wanted = earlier
                .get(table)
                .and_then(|lines| policy_of(lines, name))
                .unwrap_or("ACCEPT");
            if wanted != policy {
                let _ = writeln!(commands, "-P {name} {wanted}");
            }
        }
        if !commands.is_empty() {
            let _ = write!(script, "*{table}\n{commands}COMMIT\n");
        }
    }
    script
}

/// The lines of each table of an `iptables-save`, packet counters left out.
fn tables(saved: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in saved.lines() {
        if let Some(table) = line.strip_prefix('*') {
            current = table;
            tables.entry(table).or_default();
        } else if line.starts_with([':', '-']) {
            let line = if line.starts_with(':') {
                line.split(" [").next().unwrap_or(line)
            } else {
                line
            };
            tables.entry(current).or_default().push(line);
        }
    }
    tables
}

/// Name and policy of a line such as `:FORWARD DROP`; the policy of a chain that is not built in is `-`.
fn chain(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix(':')?.split_once(' ')
}

fn declares(lines: &[&str], name: &str) -> bool {
    policy_of(lines, name).is_some()
}

fn policy_of<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    lines
        .iter()
        .filter_map(|line| chain(line))
        .find(|(chain, _)| *chain == name)
        .map(|(_, policy)| policy)
}

/// Whether Docker wrote the rule: it names one of its chains or bridges, or lets a container reach its own published
/// port (source and destination are the same address).
fn has_marks_of_docker(rule: &str) -> bool {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let after = |name: &str| {
        words
            .iter()
            .position(|word| *word == name)
            .and_then(|index| words.get(index + 1))
    };
    let hairpin = after("-j") == Some(&"MASQUERADE") && after("-s").is_some() && after("-s") == after("-d");
    hairpin
        || words
            .iter()
            .any(|word| word.starts_with("DOCKER") || is_of_docker(word))
}

/// Removes the engine's cgroups; those that still hold a process stay, for the kernel refuses.
fn remove_cgroups() {
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        remove_cgroup(&hierarchy.path().join(&CGROUP[1..]));
    }
    remove_cgroup(&Path::new("/sys/fs/cgroup").join(&CGROUP[1..]));
}

fn remove_cgroup(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    std::fs::remove_dir(folder).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE
-A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j MASQUERADE
-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -i mine -j ACCEPT
COMMIT
";

    #[test]
    fn only_the_rules_of_docker_go() {
        let expected = "\
*filter
-P FORWARD ACCEPT
COMMIT
*nat
-D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-D POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE
-D POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j MASQUERADE
-X DOCKER
COMMIT
";
        assert_eq!(removal("", NOW), expected);
    }

    #[test]
    fn what_was_there_before_stays() {
        assert_eq!(removal(NOW, &NOW.replace("[0:0]", "[5:420]")), "");
        let before = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
        assert!(!removal(before, NOW).contains("-P"));
    }

    #[test]
    fn a_bridge_of_somebody_else_is_not_dockers() {
        assert!(is_of_docker("docker0") && is_of_docker("br-0123456789ab"));
        assert!(!is_of_docker("br-lan") && !is_of_docker("br-cafe") && !is_of_docker("virbr0"));
    }
}
