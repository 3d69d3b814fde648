//! Host keys in the form of `known_hosts(5)`: which lines are keys, and of which host they speak.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::repository::RepositoryUrl;

/// Hosts whose published keys the chart ships.
pub const PUBLISHED: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];

/// The port that a name without one stands for.
const DEFAULT_PORT: u16 = 22;

/// A line that OpenSSH takes for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey<'a> {
    /// The whole line.
    pub line: &'a str,
    /// `@cert-authority` or `@revoked`, if there is one.
    pub marker: Option<&'a str>,
    /// Names and patterns between commas, or one hashed name.
    pub hosts: &'a str,
    /// The kind of key: `ssh-ed25519`.
    pub kind: &'a str,
    /// The key's own bytes, of which fingerprints are made.
    pub key: Vec<u8>,
}

/// Whether host keys speak of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// No line does.
    No,
    /// A hashed name may be that host.
    Perhaps,
    /// A line names it.
    Yes,
}

/// The keys of `text`; comments, revoked keys' markers and damaged lines are told from keys as OpenSSH does.
pub fn parse(text: &str) -> impl Iterator<Item = HostKey<'_>> {
    text.lines().filter_map(key)
}

fn key(line: &str) -> Option<HostKey<'_>> {
    let line = line.trim();
    let mut words = line.split_ascii_whitespace().peekable();
    let marker = words.next_if(|word| word.starts_with('@'));
    let hosts = words.next().filter(|hosts| !hosts.starts_with('#'))?;
    let (kind, encoded) = (words.next()?, words.next()?);
    let key = STANDARD.decode(encoded).ok()?;
    // The key's own bytes name its kind too: those of a damaged line do not.
    let (length, rest) = key.split_first_chunk()?;
    let named = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (named == kind.as_bytes()).then(|| HostKey {
        line,
        marker,
        hosts,
        kind,
        key: key.clone(),
    })
}

impl HostKey<'_> {
    /// Whether this key may prove that a server is `host`. OpenSSH asks for `[host]:port` first, and for `host` then.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> Coverage {
        if self.marker == Some("@revoked") {
            Coverage::No
        } else if self.hosts.starts_with("|1|") {
            Coverage::Perhaps
        } else {
            let with_port = port != DEFAULT_PORT && names(self.hosts, &format!("[{host}]:{port}"));
            if with_port || names(self.hosts, host) {
                Coverage::Yes
            } else {
                Coverage::No
            }
        }
    }
}

/// Whether the keys of `text` can prove who the host of `url` is.
#[must_use]
pub fn coverage(text: &str, url: &RepositoryUrl) -> Coverage {
    let of_each = parse(text).map(|key| key.covers(url.host(), url.port_or_default()));
    of_each.max().unwrap_or(Coverage::No)
}

/// The host keys that count for `url`: those of the first of `sources` that speaks of its host, and those before it, which
/// may revoke keys or name the host in a hashed form. A source that only speaks of other hosts takes nothing away.
#[must_use]
pub fn choose<'a>(url: &RepositoryUrl, sources: impl IntoIterator<Item = &'a str>) -> String {
    let mut chosen = String::new();
    for source in sources {
        chosen.push_str(source.trim_end());
        chosen.push('\n');
        if coverage(source, url) == Coverage::Yes {
            break;
        }
    }
    chosen
}

/// `text` with the lines of `new`: of a host that both name alike, the new ones count.
#[must_use]
pub fn merge(text: &str, new: &str) -> String {
    let hosts: Vec<_> = parse(new).map(|key| key.hosts).collect();
    let replaced = |line: &&str| key(line).is_some_and(|key| hosts.contains(&key.hosts));
    let kept = text.lines().filter(|line| !replaced(line));
    let lines = kept.chain(new.lines()).filter(|line| !line.trim().is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Whether the list `patterns` names `name`: one of its patterns does, and none with a `!` before it.
fn names(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(not) if fits(not.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= fits(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters and `?` for one.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        ([b'?', rest @ ..], [_, text @ ..]) => fits(rest, text),
        ([one, rest @ ..], [other, text @ ..]) => one == other && fits(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn line(hosts: &str) -> String {
        format!("{hosts} {KEY}")
    }

    fn of(hosts: &str, url: &str) -> Coverage {
        coverage(&line(hosts), &url.parse().unwrap())
    }

    #[test]
    fn a_damaged_line_is_no_key() {
        for line in [
            "# git.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "host ssh-ed25519 AAAA",
            "host ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "host",
            "host ssh-ed25519 !!!",
            KEY,
        ] {
            assert_eq!(parse(line).count(), 0, "{line}");
        }
    }

    #[test]
    fn a_line_speaks_of_the_hosts_that_openssh_takes_it_for() {
        for (hosts, url) in [
            ("git.example", "git@git.example:a/b"),
            ("GIT.example,10.0.0.1", "git@git.example:a/b"),
            ("git.example", "ssh://git@git.example:2222/a/b"),
            ("[git.example]:2222", "ssh://git@git.example:2222/a/b"),
            ("*.example", "git@git.example:a/b"),
            ("g?t.example", "git@git.example:a/b"),
            ("@cert-authority *.example", "git@git.example:a/b"),
        ] {
            assert_eq!(of(hosts, url), Coverage::Yes, "{hosts} {url}");
        }
        for (hosts, url) in [
            ("other.example", "git@git.example:a/b"),
            ("[git.example]:2222", "git@git.example:a/b"),
            ("[git.example]:2222", "ssh://git@git.example:2223/a/b"),
            ("*.example,!git.example", "git@git.example:a/b"),
            ("@revoked git.example", "git@git.example:a/b"),
            ("git.example.evil", "git@git.example:a/b"),
        ] {
            assert_eq!(of(hosts, url), Coverage::No, "{hosts} {url}");
        }
        assert_eq!(
            of("|1|c2FsdA==|aGFzaA==", "git@git.example:a/b"),
            Coverage::Perhaps
        );
    }

    #[test]
    fn the_first_source_that_speaks_of_the_host_counts_and_one_of_other_hosts_takes_nothing_away() {
        let url: RepositoryUrl = "git@git.example:a/b".parse().unwrap();
        let (here, other) = (line("git.example"), line("other.example"));
        let (pattern, hashed) = (line("*"), line("|1|c2FsdA==|aGFzaA=="));
        assert_eq!(choose(&url, [here.as_str(), &pattern]), format!("{here}\n"));
        assert_eq!(
            choose(&url, [other.as_str(), &here, &pattern]),
            format!("{other}\n{here}\n")
        );
        assert_eq!(
            choose(&url, [hashed.as_str(), &here]),
            format!("{hashed}\n{here}\n")
        );
        assert_eq!(choose(&url, [" \n", &here]), format!("\n{here}\n"));
    }

    #[test]
    fn a_new_key_replaces_those_of_its_own_host_alone() {
        let rsa = "git.example ssh-rsa AAAAB3NzaC1yc2E=";
        let text = format!("# mine\n{rsa}\n{}\n", line("other.example"));
        let merged = merge(&text, &line("git.example"));
        assert_eq!(
            merged,
            format!("# mine\n{}\n{}\n", line("other.example"), line("git.example"))
        );
        assert_eq!(merge(&merged, &line("git.example")), merged, "twice is once");
        assert_eq!(
            merge("", &line("git.example")),
            format!("{}\n", line("git.example"))
        );
    }
}
