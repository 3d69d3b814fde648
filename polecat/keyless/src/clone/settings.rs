//! The agent's own settings, skills, hooks and commands: fetched from the broker and put into its folder `.claude`.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use gastown_api::pod::SETTINGS_PATH;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use polecat_common::console::escape;

/// The folder below `HOME`.
const FOLDER: &str = ".claude";

/// The broker answers at once.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// More than the broker sends.
const MAX_ARCHIVE: usize = 16 * 1024 * 1024;

/// Why the settings are not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchSettings {
    /// The broker says they cannot be used.
    #[error("{message}")]
    Refuse {
        /// Its words.
        message: String,
    },
    /// It does not answer as it should.
    #[error("failed to fetch the agent's settings from the broker: {why}; read `kubectl logs -c broker`")]
    Ask {
        /// What happened.
        why: String,
    },
    /// They cannot be written.
    #[error("failed to write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The archive, if there is one.
pub async fn fetch(port: u16) -> Result<Option<Vec<u8>>, FetchSettings> {
    let ask = |why: String| FetchSettings::Ask { why };
    let answer = tokio::time::timeout(ANSWER_WITHIN, get(port)).await;
    let (status, body) = answer
        .map_err(|_| ask(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))?
        .map_err(|error| ask(error.to_string()))?;
    match status {
        StatusCode::OK => Ok(Some(body)),
        StatusCode::NO_CONTENT => Ok(None),
        StatusCode::UNPROCESSABLE_ENTITY => Err(FetchSettings::Refuse {
            message: escape(&String::from_utf8_lossy(&body)),
        }),
        status => Err(ask(format!("it answered {status}"))),
    }
}

async fn get(port: u16) -> io::Result<(StatusCode, Vec<u8>)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::get(SETTINGS_PATH)
        .header(header::HOST, "127.0.0.1")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ARCHIVE).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    Ok((status, body.to_vec()))
}

/// Writes the files of `archive` below `home`; gives how many.
pub fn unpack(archive: &[u8], home: &Path) -> Result<usize, FetchSettings> {
    let folder = home.join(FOLDER);
    let failed = |path: &Path, source| FetchSettings::Write {
        path: path.to_owned(),
        source,
    };
    let mut count = 0;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(|error| failed(&folder, error))? {
        let mut entry = entry.map_err(|error| failed(&folder, error))?;
        let name = entry.path().map_err(|error| failed(&folder, error))?.into_owned();
        let stays_below = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !stays_below || !entry.header().entry_type().is_file() {
            return Err(failed(&name, io::Error::other("no broker sends this")));
        }
        let mode = entry.header().mode().unwrap_or(0o644);
        let path = folder.join(&name);
        write(&path, &mut entry, mode).map_err(|error| failed(&path, error))?;
        count += 1;
    }
    Ok(count)
}

fn write(path: &Path, content: &mut impl Read, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes)?;
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(mode & 0o777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(*mode);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_land_in_the_folder_with_their_modes_and_a_second_run_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let archive = archive(&[
            ("skills/a/SKILL.md", b"s", 0o644),
            ("hooks/check.sh", b"h", 0o755),
        ]);
        for _ in 0..2 {
            assert_eq!(unpack(&archive, home.path()).unwrap(), 2);
        }
        let hook = home.path().join(".claude/hooks/check.sh");
        assert_eq!(fs::read(&hook).unwrap(), b"h");
        assert_eq!(fs::metadata(hook).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(home.path().join(".claude/skills/a/SKILL.md").exists());
    }

    #[test]
    fn what_would_leave_the_folder_is_not_written() {
        let home = tempfile::tempdir().unwrap();
        for name in ["../evil", "/evil", "skills/../../evil"] {
            assert!(
                unpack(&archive(&[(name, b"x", 0o644)]), home.path()).is_err(),
                "{name}"
            );
        }
        assert!(!home.path().join("evil").exists());
    }
}
