//! The bare repository on the broker's volume.

use std::path::Path;

use crate::git::child::{Git, RunGit};
use crate::git::policy::Names;

/// The configuration of the repository, added to that of `git init`. Fetches of the agent are served by one thread with small windows, so that the broker stays small.
const CONFIG: &str = "
[http]
	receivepack = false
	getanyfile = false
	uploadarchive = false
[gc]
	auto = 0
[maintenance]
	auto = false
[core]
	hooksPath = /dev/null
	bigFileThreshold = 1m
	packedGitLimit = 64m
	packedGitWindowSize = 1m
	deltaBaseCacheLimit = 8m
	logAllRefUpdates = false
[pack]
	threads = 1
	windowMemory = 16m
	deltaCacheSize = 4m
[index]
	threads = 1
[uploadpack]
	allowFilter = false
	allowAnySHA1InWant = false
";

/// Makes the bare repository, or takes the one that an earlier run of this container made.
pub(super) async fn prepare(git: &Git, names: &Names, hex_length: usize) -> Result<(), RunGit> {
    let format = if hex_length == 64 { "sha256" } else { "sha1" };
    let found = git.ask(["rev-parse", "--show-object-format"]).await;
    if !found.is_ok_and(|found| found == format) {
        clear(&git.repo);
        let object_format = format!("--object-format={format}");
        git.ask(["init", "--quiet", "--bare", "--template=", &object_format])
            .await?;
        configure(&git.repo).map_err(|source| RunGit::ReadOutput {
            command: "git init".to_owned(),
            source,
        })?;
    }
    git.ask(["symbolic-ref", "HEAD", &names.base]).await?;
    Ok(())
}

/// What cannot be removed makes the init that follows fail, with its own words.
fn clear(repo: &Path) {
    drop(std::fs::remove_dir_all(repo));
}

fn configure(repo: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(repo.join("config"))?;
    file.write_all(CONFIG.as_bytes())
}
