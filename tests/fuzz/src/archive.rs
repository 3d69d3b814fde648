use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use gastown_broker::parsers::settings_archive;

use super::first;

/// What may stand at the top of the folder that the archive becomes.
const TOP: &[&str] = &[
    "CLAUDE.md",
    "agents",
    "commands",
    "hooks",
    "output-styles",
    "settings.json",
    "skills",
];

/// The archive of a `.claude` folder in a credentials secret: whatever its entries are named and whatever they are, only plain
/// paths of the list pass. The first byte says whether the rest is the archive itself, what is to be compressed, or
/// entries (type, name, content, between zero bytes) whose headers are to be made whole.
pub fn archive(data: &[u8]) {
    let (kind, rest) = first(data);
    let gzipped = match kind % 4 {
        0 => rest.to_vec(),
        1 => gzip(rest),
        _ => gzip(&tar(rest)),
    };
    let Ok(paths) = settings_archive(&gzipped) else {
        return;
    };
    for path in &paths {
        let parts: Vec<_> = path.split('/').collect();
        assert!(TOP.contains(&parts[0]), "{path:?}");
        assert!(
            parts.iter().all(|part| !matches!(*part, "" | "." | "..")),
            "{path:?}"
        );
        assert!(!path.contains(|c: char| c.is_control() || c == '\\'), "{path:?}");
        assert!(!path.ends_with("credentials.json"), "{path:?}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// Entries with the checksums that no mutation finds.
fn tar(bytes: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut pieces = bytes.split(|byte| *byte == 0);
    while let (Some(head), Some(content)) = (pieces.next(), pieces.next()) {
        let (kind, name) = first(head);
        let mut header = [0; 512];
        let length = name.len().min(100);
        header[..length].copy_from_slice(&name[..length]);
        header[100..107].copy_from_slice(b"0000755");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = kind;
        header[157..157 + length].copy_from_slice(&name[..length]);
        header[257..265].copy_from_slice(b"ustar  \0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
