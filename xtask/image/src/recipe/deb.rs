//! Reads a Debian package: an `ar` archive with one tar archive of files and one about the package.
//!
//! <https://manpages.debian.org/trixie/dpkg-dev/deb.5.en.html>

use std::io::Read;

use anyhow::{Context as _, Result, bail, ensure};

use super::tree::{Tree, TreePath};

/// What is taken from a package; its maintainer scripts are not.
#[derive(Debug)]
pub struct Deb {
    /// The `control` file: name, version, dependencies.
    pub control: String,
    /// The `md5sums` file, which scanners use to tell a package's files from others.
    pub checksums: String,
    /// The files that an image keeps.
    pub files: Tree,
}

/// Reads the bytes of a `.deb`.
pub fn read(bytes: &[u8]) -> Result<Deb> {
    let mut members = ar::Archive::new(bytes);
    let mut about = None;
    let mut files = None;
    let mut format = None;
    while let Some(member) = members.next_entry() {
        let mut member = member.context("the ar archive is damaged")?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        let mut content = Vec::new();
        member
            .read_to_end(&mut content)
            .with_context(|| format!("member {name:?} is cut short"))?;
        match name.split_once('.') {
            _ if name == "debian-binary" => format = Some(content),
            Some(("control", kind)) => about = Some(read_about(&content, kind)?),
            Some(("data", kind)) => files = Some(read_files(&content, kind)?),
            _ => bail!("member {name:?} is not one of a Debian package"),
        }
    }
    let format = format.context("the ar archive has no member \"debian-binary\"")?;
    ensure!(
        format.starts_with(b"2."),
        "the package format is {:?}, not 2",
        String::from_utf8_lossy(&format)
    );
    let (control, checksums) = about.context("the ar archive has no member \"control.tar\"")?;
    let files = files.context("the ar archive has no member \"data.tar\"")?;
    Ok(Deb {
        control,
        checksums,
        files,
    })
}

/// Whether an image keeps this file: translations and documentation are left out, licences stay.
fn is_kept(path: &TreePath) -> bool {
    const LEFT_OUT: [&str; 9] = [
        "usr/share/man/",
        "usr/share/info/",
        "usr/share/locale/",
        "usr/share/lintian/",
        "usr/share/bug/",
        "usr/share/bash-completion/",
        "usr/share/doc-base/",
        "usr/share/gitweb/",
        "usr/lib/systemd/",
    ];
    let path = path.as_str();
    match path.strip_prefix("usr/share/doc/") {
        Some(document) => document.ends_with("/copyright") || !document.contains('/'),
        None => !LEFT_OUT
            .iter()
            .any(|folder| format!("{path}/").starts_with(folder)),
    }
}

fn unpacked<'a>(bytes: &'a [u8], kind: &str) -> Result<Box<dyn Read + 'a>> {
    match kind {
        "tar" => Ok(Box::new(bytes)),
        "tar.gz" => Ok(Box::new(flate2::read::GzDecoder::new(bytes))),
        "tar.xz" => Ok(Box::new(liblzma::read::XzDecoder::new(bytes))),
        "tar.zst" => Ok(Box::new(
            zstd::Decoder::new(bytes).context("the zstd stream is damaged")?,
        )),
        kind => bail!("a package member is packed as {kind:?}; tar, tar.gz, tar.xz and tar.zst can be read"),
    }
}

fn read_about(bytes: &[u8], kind: &str) -> Result<(String, String)> {
    let mut control = String::new();
    let mut checksums = String::new();
    let mut archive = tar::Archive::new(unpacked(bytes, kind)?);
    for entry in archive.entries().context("control.tar is damaged")? {
        let mut entry = entry.context("control.tar is damaged")?;
        let name = text(&entry.path_bytes())?.trim_start_matches("./").to_owned();
        let into = match name.as_str() {
            "control" => &mut control,
            "md5sums" => &mut checksums,
            _ => continue,
        };
        entry
            .read_to_string(into)
            .with_context(|| format!("control.tar holds no readable {name:?}"))?;
    }
    ensure!(!control.is_empty(), "control.tar holds no \"control\"");
    Ok((control, checksums))
}

fn read_files(bytes: &[u8], kind: &str) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut archive = tar::Archive::new(unpacked(bytes, kind)?);
    for entry in archive.entries().context("data.tar is damaged")? {
        let mut entry = entry.context("data.tar is damaged")?;
        let path = TreePath::parse(&text(&entry.path_bytes())?)?.merged();
        if is_kept(&path) {
            add(&mut tree, path.clone(), &mut entry).with_context(|| format!("data.tar entry {path}"))?;
        }
    }
    Ok(tree)
}

fn add(tree: &mut Tree, path: TreePath, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
    let mode = entry.header().mode().context("the mode is no octal number")?;
    match entry.header().entry_type() {
        // A package from before the merge ships the directory; base-files ships the link.
        tar::EntryType::Directory if path.is_merged_root() || path.as_str().is_empty() => Ok(()),
        tar::EntryType::Directory => tree.directory(path, mode),
        tar::EntryType::Regular => {
            let mut content = Vec::new();
            entry
                .read_to_end(&mut content)
                .context("the content is cut short")?;
            tree.file(path, mode, content)
        }
        tar::EntryType::Symlink => tree.link(path, link_target(entry)?),
        tar::EntryType::Link => {
            let target = TreePath::parse(&link_target(entry)?)?.merged();
            tree.hard_link(path, &target)
        }
        kind => bail!("its kind {kind:?} is neither file, directory nor link"),
    }
}

fn link_target(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    text(&entry.link_name_bytes().context("the link names no target")?)
}

fn text(bytes: &[u8]) -> Result<String> {
    Ok(std::str::from_utf8(bytes)
        .with_context(|| format!("{bytes:?} is no UTF-8"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::tree::Entry;

    fn tarball(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            // Not `set_path`: it refuses what the reader must refuse by itself.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            let body = if *kind == tar::EntryType::Regular {
                content.as_bytes()
            } else {
                b""
            };
            if body.is_empty() && !content.is_empty() {
                header.set_link_name(content).unwrap();
            }
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn package(files: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
        let control = tarball(&[(tar::EntryType::Regular, "./control", "Package: x\n")]);
        let data = tarball(files);
        let members = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", control),
            ("data.tar", data),
        ];
        let mut builder = ar::Builder::new(Vec::new());
        for (name, content) in members {
            builder
                .append(
                    &ar::Header::new(name.into(), content.len() as u64),
                    content.as_slice(),
                )
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn shown(error: &anyhow::Error) -> String {
        format!("{error:#}")
    }

    #[test]
    fn files_links_and_control_are_read_and_manuals_left_out() {
        let deb = read(&package(&[
            (tar::EntryType::Directory, "./bin/", ""),
            (tar::EntryType::Regular, "./bin/x", "program"),
            (tar::EntryType::Link, "./usr/bin/y", "./bin/x"),
            (tar::EntryType::Symlink, "./usr/bin/z", "y"),
            (tar::EntryType::Regular, "./usr/share/man/x.1", "manual"),
            (tar::EntryType::Regular, "./usr/share/doc/x/copyright", "licence"),
            (
                tar::EntryType::Regular,
                "./usr/share/doc/x/README",
                "documentation",
            ),
        ]))
        .unwrap();
        assert_eq!(deb.control, "Package: x\n");
        let paths: Vec<_> = deb.files.entries().map(|(path, _)| path.to_string()).collect();
        let folders = [
            "/usr",
            "/usr/bin",
            "/usr/bin/x",
            "/usr/bin/y",
            "/usr/bin/z",
            "/usr/share",
            "/usr/share/doc",
        ];
        assert_eq!(paths[..7], folders);
        assert_eq!(paths[7..], ["/usr/share/doc/x", "/usr/share/doc/x/copyright"]);
        let y = deb.files.get(&TreePath::parse("usr/bin/y").unwrap());
        assert!(matches!(y, Some(Entry::File { content, .. }) if &**content == b"program"));
    }

    #[test]
    fn an_entry_that_climbs_out_of_the_root_is_refused() {
        let error = read(&package(&[(
            tar::EntryType::Regular,
            "./../../etc/cron.d/x",
            "evil",
        )]))
        .unwrap_err();
        assert_eq!(shown(&error), r#"path "./../../etc/cron.d/x" contains "..""#);
    }

    #[test]
    fn a_device_is_refused() {
        let error = read(&package(&[(tar::EntryType::Char, "./dev/mem", "")])).unwrap_err();
        assert_eq!(
            shown(&error),
            "data.tar entry /dev/mem: its kind Char is neither file, directory nor link"
        );
    }

    #[test]
    fn a_package_that_is_no_ar_archive_is_refused() {
        let error = read(b"<html>not found</html>").unwrap_err();
        assert!(
            shown(&error).starts_with("the ar archive is damaged: "),
            "{error:#}"
        );
    }

    #[test]
    fn a_package_without_files_is_refused() {
        let mut builder = ar::Builder::new(Vec::new());
        builder
            .append(
                &ar::Header::new(b"debian-binary".to_vec(), 4),
                b"2.0\n".as_slice(),
            )
            .unwrap();
        let error = read(&builder.into_inner().unwrap()).unwrap_err();
        assert_eq!(shown(&error), r#"the ar archive has no member "control.tar""#);
    }

    #[test]
    fn a_package_that_is_cut_short_is_refused() {
        let whole = package(&[(tar::EntryType::Regular, "./usr/bin/x", "program")]);
        assert!(read(&whole[..whole.len() - 900]).is_err());
    }
}
