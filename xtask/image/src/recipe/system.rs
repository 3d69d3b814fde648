//! What Debian's maintainer scripts would have done, as far as an image needs it: done here, the same every time.

use anyhow::{Context as _, Result};

use super::tree::{Entry, Tree, TreePath};
use crate::definition::{Account, Definition};

/// The UID of the image's account.
pub const UID: u32 = 65_532;

/// Completes a tree of unpacked packages.
pub fn complete(tree: &mut Tree, definition: &Definition) -> Result<()> {
    accounts(tree, &definition.account)?;
    certificates(tree)?;
    time_zone(tree)?;
    for folder in ["tmp", "var/tmp"] {
        tree.directory(TreePath::parse(folder)?, 0o1777)?;
    }
    // Group 0, because OpenShift gives a random UID and that group.
    for folder in definition.mount_points.iter().chain([&definition.account.home]) {
        tree.directory(TreePath::parse(folder)?, 0o775)?;
    }
    for (path, target) in &definition.links {
        tree.link(TreePath::parse(path)?, target)?;
    }
    Ok(())
}

/// The record of a package where scanners look for it in an image without dpkg.
pub fn record(tree: &mut Tree, name: &str, control: &str, checksums: &str) -> Result<()> {
    let kept = |line: &&str| match line.split_once("  ").map(|(_, path)| TreePath::parse(path)) {
        Some(Ok(path)) => tree.get(&path.merged()).is_some(),
        _ => false,
    };
    let checksums: String = checksums
        .lines()
        .filter(kept)
        .flat_map(|line| [line, "\n"])
        .collect();
    let folder = "var/lib/dpkg/status.d";
    tree.file(
        TreePath::parse(&format!("{folder}/{name}"))?,
        0o644,
        control.as_bytes(),
    )?;
    tree.file(
        TreePath::parse(&format!("{folder}/{name}.md5sums"))?,
        0o644,
        checksums.as_bytes(),
    )
}

fn accounts(tree: &mut Tree, account: &Account) -> Result<()> {
    let Account { name, home, shell } = account;
    let passwd = format!(
        "root:x:0:0:root:/root:/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n\
         {name}:x:{UID}:0:{name}:{home}:{shell}\n"
    );
    let group = format!("root:x:0:\ntty:x:5:\nstaff:x:50:\nnogroup:x:65534:\n{name}:x:{UID}:\n");
    let lookup = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                  protocols: files\nservices: files\nethers: files\nrpc: files\n";
    for (path, content) in [
        ("etc/passwd", &*passwd),
        ("etc/group", &group),
        ("etc/nsswitch.conf", lookup),
    ] {
        tree.replace_file(TreePath::parse(path)?, content.as_bytes())?;
    }
    Ok(())
}

/// The bundle that `update-ca-certificates` writes, of Mozilla's certificates, sorted by file name.
fn certificates(tree: &mut Tree) -> Result<()> {
    let mut bundle = Vec::new();
    for (path, entry) in tree.entries() {
        let name = path.as_str().strip_prefix("usr/share/ca-certificates/mozilla/");
        if let (Some(_), Entry::File { content, .. }) = (name, entry) {
            bundle.extend_from_slice(content);
            if !content.ends_with(b"\n") {
                bundle.push(b'\n');
            }
        }
    }
    if bundle.is_empty() {
        return Ok(());
    }
    tree.file(
        TreePath::parse("etc/ssl/certs/ca-certificates.crt")?,
        0o644,
        bundle,
    )
    .context("failed to add the certificate bundle")
}

fn time_zone(tree: &mut Tree) -> Result<()> {
    let zone = TreePath::parse("usr/share/zoneinfo/Etc/UTC")?;
    if tree.get(&zone).is_some() {
        tree.link(TreePath::parse("etc/localtime")?, zone.to_string())?;
        tree.file(TreePath::parse("etc/timezone")?, 0o644, *b"Etc/UTC\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn content(tree: &Tree, name: &str) -> String {
        match tree.get(&path(name)) {
            Some(Entry::File { content, .. }) => String::from_utf8(content.to_vec()).unwrap(),
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn the_bundle_holds_every_certificate_on_lines_of_its_own() {
        let mut tree = Tree::default();
        tree.file(path("usr/share/ca-certificates/mozilla/B.crt"), 0o644, *b"B")
            .unwrap();
        tree.file(path("usr/share/ca-certificates/mozilla/A.crt"), 0o644, *b"A\n")
            .unwrap();
        certificates(&mut tree).unwrap();
        assert_eq!(content(&tree, "etc/ssl/certs/ca-certificates.crt"), "A\nB\n");
    }

    #[test]
    fn the_account_has_a_line_in_passwd_and_group_0() {
        let mut tree = Tree::default();
        let account = Account {
            name: "git".to_owned(),
            home: "/home/git".to_owned(),
            shell: "/bin/bash".to_owned(),
        };
        accounts(&mut tree, &account).unwrap();
        let passwd = content(&tree, "etc/passwd");
        assert_eq!(
            passwd.lines().last(),
            Some("git:x:65532:0:git:/home/git:/bin/bash")
        );
    }

    #[test]
    fn checksums_of_left_out_files_are_left_out() {
        let mut tree = Tree::default();
        tree.file(path("usr/bin/x"), 0o755, *b"").unwrap();
        record(
            &mut tree,
            "x",
            "Package: x\n",
            "00  bin/x\n11  usr/share/man/x.1\n",
        )
        .unwrap();
        assert_eq!(content(&tree, "var/lib/dpkg/status.d/x.md5sums"), "00  bin/x\n");
    }
}
