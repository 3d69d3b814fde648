//! Other branches and tags of the upstream, fetched when the agent asks for one by its name: for reading, since nothing but
//! the work branch is ever pushed. A client of protocol 2 says which refs it wants before the host lists any.

use std::time::{Duration, Instant};

use gastown_api::git::BranchName;

use super::classify::Failure;
use super::repository::{Repository, local};

/// How long what was asked of the git host about a ref counts.
const FRESH: Duration = Duration::from_secs(10);

/// How many refs are asked for in that time: each costs calls of the git host, and pushes wait for their turn.
const MOST: usize = 16;

/// The branches and tags that a request of protocol 2 (`gitprotocol-v2(5)`, "ls-refs") names in full.
pub fn names(request: &[u8]) -> Vec<String> {
    let mut lines = lines(request);
    if lines.next() != Some(&b"command=ls-refs"[..]) {
        return Vec::new();
    }
    let prefixes = lines.filter_map(|line| str::from_utf8(line.strip_prefix(b"ref-prefix ")?).ok());
    let is_ref = |name: &&str| short(name).is_some_and(|short| short.parse::<BranchName>().is_ok());
    prefixes.filter(is_ref).map(str::to_owned).collect()
}

/// A branch or tag without the folder of its kind.
fn short(name: &str) -> Option<&str> {
    name.strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/tags/"))
}

/// The pkt-lines of `bytes` without their ends, as far as they are whole; delimiters and flushes are left out.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let next = move || {
        let (length, after) = rest.split_at_checked(4)?;
        let length = usize::from_str_radix(str::from_utf8(length).ok()?, 16).ok()?;
        let (line, after) = after.split_at_checked(length.saturating_sub(4))?;
        rest = after;
        Some((length, line))
    };
    let whole = std::iter::from_fn(next).filter(|(length, _)| *length > 4);
    whole.map(|(_, line)| line.strip_suffix(b"\n").unwrap_or(line))
}

impl Repository {
    /// Brings the refs that `request` names into the mirror, if the upstream has them. What fails is logged: the client is then
    /// answered that there is no such ref.
    pub(super) async fn fetch_on_demand(&self, request: &[u8]) {
        let wanted = self.wanted(names(request)).await;
        if wanted.is_empty() {
            return;
        }
        if let Err(failure) = self.fetch_others(&wanted).await {
            tracing::warn!(%failure, refs = wanted.join(" "), "refs of others could not be fetched");
        }
    }

    async fn wanted(&self, names: Vec<String>) -> Vec<String> {
        // A client that wants `x` names the tag `x` as well.
        let own = [&self.names.base, &self.names.work, &self.names.wip_as_branch].map(|name| short(name));
        let mut asked = self.asked.lock().await;
        asked.retain(|_, last| last.elapsed() < FRESH);
        let room = MOST.saturating_sub(asked.len());
        let is_due = |name: &String| !own.contains(&short(name)) && !asked.contains_key(name);
        let due: Vec<_> = names.into_iter().filter(is_due).take(room).collect();
        asked.extend(due.iter().map(|name| (name.clone(), Instant::now())));
        due
    }

    async fn fetch_others(&self, wanted: &[String]) -> Result<(), Failure> {
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let found = self.upstream.list(&self.git, &names).await?;
        let mut refspecs = Vec::new();
        for (name, sha) in &found {
            let held = self.git.ask(["rev-parse", "--verify", "--quiet", name]).await;
            if held.is_ok_and(|held| held.trim() == sha.as_str()) {
                continue;
            }
            refspecs.push(format!("+{name}:{name}"));
        }
        for name in wanted.iter().filter(|name| !found.contains_key(*name)) {
            let gone = self.git.ask(["update-ref", "-d", name]).await;
            gone.map_err(|error| local(&error))?;
        }
        if refspecs.is_empty() {
            return Ok(());
        }
        let refspecs: Vec<&str> = refspecs.iter().map(String::as_str).collect();
        self.upstream.fetch(&self.git, &refspecs).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> Vec<u8> {
        let line = |text: &&str| match *text {
            "0001" | "0000" => (*text).to_owned(),
            text => format!("{:04x}{text}\n", text.len() + 5),
        };
        lines.iter().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn only_full_names_of_branches_and_tags_are_fetched() {
        let asked = request(&[
            "command=ls-refs",
            "agent=git/2.39",
            "0001",
            "peel",
            "ref-prefix topic/x",
            "ref-prefix refs/topic/x",
            "ref-prefix refs/tags/v1.2",
            "ref-prefix refs/heads/topic/x",
            "ref-prefix refs/heads/",
            "ref-prefix refs/heads/a..b",
            "ref-prefix refs/heads/-x",
            "ref-prefix refs/gastown/wip/other/1",
            "ref-prefix HEAD",
            "0000",
        ]);
        assert_eq!(names(&asked), ["refs/tags/v1.2", "refs/heads/topic/x"]);
    }

    #[test]
    fn what_is_no_listing_names_nothing() {
        for bytes in [
            request(&["command=fetch", "0001", "ref-prefix refs/heads/x", "0000"]),
            b"zzzz".to_vec(),
            b"ffffcommand=ls-refs".to_vec(),
            b"0003".to_vec(),
            Vec::new(),
        ] {
            assert!(names(&bytes).is_empty(), "{}", bytes.escape_ascii());
        }
    }
}
