//! Licences of Debian and npm packages, as the packages themselves declare them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::layout::Layout;

/// What the copyright files of an image's Debian packages declare, by package.
///
/// A file in the machine-readable format (<https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>) names licences; of
/// others nothing is said. Several packages of one source share a file by a link between folders.
pub fn of_debian(layout: &Layout, digest: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let (mut found, mut links) = (BTreeMap::new(), Vec::new());
    let manifest = layout.manifest(digest)?;
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        let bytes = layout.read(layer["digest"].as_str().context("a layer has a digest")?)?;
        let mut archive = tar::Archive::new(GzDecoder::new(&*bytes));
        for entry in archive.entries().context("a layer is damaged")? {
            let mut entry = entry.context("a layer is damaged")?;
            let path = entry.path().context("a layer is damaged")?.display().to_string();
            let Some(document) = path.strip_prefix("usr/share/doc/") else {
                continue;
            };
            if let Some(package) = document.strip_suffix("/copyright") {
                let package = package.to_owned();
                let mut text = Vec::new();
                entry
                    .read_to_end(&mut text)
                    .with_context(|| format!("{path} is cut short"))?;
                found.insert(package, declared(&String::from_utf8_lossy(&text)));
            } else if let Some(target) = entry.link_name().context("a layer is damaged")? {
                links.push((document.to_owned(), target.display().to_string()));
            }
        }
    }
    for (package, target) in links {
        if let Some(names) = found.get(target.rsplit('/').next().unwrap_or_default()).cloned() {
            found.insert(package, names);
        }
    }
    Ok(found)
}

/// The short names of licences in a copyright file, as Debian writes them.
fn declared(text: &str) -> BTreeSet<String> {
    if !text.trim_start().to_lowercase().starts_with("format:") {
        return BTreeSet::new();
    }
    let names = text.lines().filter_map(|line| line.strip_prefix("License:"));
    let names = names.map(|name| name.trim().trim_end_matches(','));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The identifier that SPDX demands for a licence that is not in its list.
pub fn reference(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    format!(
        "LicenseRef-{}",
        name.replace('+', "-or-later")
            .chars()
            .map(plain)
            .collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    const COPYRIGHT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n\n\
                             Files: x\nLicense: LGPL-2.1+ and X11\n text\n\nLicense: GPL-2+\n text";

    #[test]
    fn licences_are_those_of_the_machine_readable_format() {
        assert_eq!(
            declared(COPYRIGHT).into_iter().collect::<Vec<_>>(),
            ["GPL-2+", "LGPL-2.1+ and X11"]
        );
        assert_eq!(declared("This package is free.\nLicense: ask me").len(), 0);
        assert_eq!(
            reference("LGPL-2.1+ and X11"),
            "LicenseRef-LGPL-2.1-or-later-and-X11"
        );
    }

    #[test]
    fn packages_that_share_a_folder_share_its_licences() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path()).unwrap();
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder
            .append_link(&mut link, "usr/share/doc/libgcc-s1", "gcc-14-base")
            .unwrap();
        let mut file = tar::Header::new_gnu();
        file.set_size(COPYRIGHT.len() as u64);
        builder
            .append_data(
                &mut file,
                "usr/share/doc/gcc-14-base/copyright",
                COPYRIGHT.as_bytes(),
            )
            .unwrap();
        let layer = layout
            .add("x", &builder.into_inner().unwrap().finish().unwrap())
            .unwrap();
        let manifest = layout.add_json("y", &json!({ "layers": [layer] })).unwrap();
        let found = of_debian(&layout, &manifest.digest).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["gcc-14-base", "libgcc-s1"]);
        assert_eq!(found["libgcc-s1"], found["gcc-14-base"]);
        assert!(!found["gcc-14-base"].is_empty());
    }
}
