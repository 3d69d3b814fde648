//! The programs of a release: compiled, stripped, with the list of their crates inside, and checked.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use xtask_image::process::Command;
use xtask_image::{
    Architecture, Edition, Profile, Programs, compile, compile_edition, compile_fips, progress, stripped,
    workspace,
};

use crate::cryptography;
use crate::dependencies::Graph;
use crate::plan::{PROGRAMS, Target, binaries};

/// The file with what was found in the programs of a folder.
const FACTS: &str = "facts.json";

/// The newest glibc that programs may need: that of UBI 9.
const CEILING: (u32, u32) = (2, 34);

/// What was found in a program: evidence for whoever asks what its cryptography is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The newest glibc whose symbols it needs.
    pub glibc: String,
    /// How many symbols it has of the edition's module; of others it has none, or it would not have been made.
    pub module_symbols: usize,
    /// In the FIPS edition, the bytes of the file that the module's integrity test covers.
    pub module_code: Option<Range<usize>>,
}

/// Makes the programs of `target` in `folder`.
pub fn make(target: Target, is_dev: bool, folder: &Path) -> Result<()> {
    let Target {
        edition,
        architecture,
    } = target;
    let binaries = binaries();
    let compiled = progress::step("compile the programs", || match edition {
        Edition::Community if is_dev && architecture.is_native() => compile(&[], Profile::Dev),
        Edition::Fips if is_dev && architecture.is_native() => compile_fips(),
        _ => {
            let profile = if is_dev { Profile::Dev } else { Profile::Release };
            compile_edition(&binaries.each_ref(), profile, edition, architecture)
        }
    })?;
    let graph = Graph::resolve(&PROGRAMS, edition, architecture)?;
    let denied = cryptography::denied()?;
    let mut facts = BTreeMap::new();
    for binary in &binaries {
        let what = || format!("program {:?}", binary.name);
        let crates = graph.of(&binary.package)?.linked(edition);
        cryptography::check_crates(&crates, &denied).with_context(what)?;
        let symbols = Command::new(architecture.gnu("nm"))
            .arg(compiled.get(binary)?)
            .text()?;
        let count = cryptography::check_symbols(&symbols, edition, &denied).with_context(what)?;
        let program = with_audit_data(
            &stripped(compiled.get(binary)?, architecture)?,
            &crates.audit_data(&binary.package)?,
            architecture,
        )?;
        let file = folder.join(&binary.name);
        workspace::write_whole(&file, &program)?;
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        let (major, minor) = check(&file, architecture).with_context(what)?;
        let found = Facts {
            glibc: format!("{major}.{minor}"),
            module_symbols: count,
            module_code: module_code(&symbols, &file, architecture).with_context(what)?,
        };
        progress::record(&format!(
            "{} needs glibc {}, has {count} symbols of its module and none of another",
            binary.name, found.glibc
        ));
        facts.insert(&binary.name, found);
    }
    workspace::write_whole(&folder.join(FACTS), &serde_json::to_vec_pretty(&facts)?)
}

/// What [`make`] found in a program.
pub fn facts(folder: &Path, program: &str) -> Result<Facts> {
    let mut facts: BTreeMap<String, Facts> = serde_json::from_slice(&fs_err::read(folder.join(FACTS))?)
        .with_context(|| format!("{FACTS} in {folder:?} is damaged"))?;
    facts
        .remove(program)
        .with_context(|| format!("nothing is known of program {program:?}"))
}

/// Where the code of the validated module is in a file, by its symbols; the community edition has no such.
fn module_code(symbols: &str, file: &Path, architecture: Architecture) -> Result<Option<Range<usize>>> {
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.ends_with(name))?;
        usize::from_str_radix(line.split_whitespace().next()?, 16).ok()
    };
    let bounds = address("BORINGSSL_bcm_text_start").zip(address("BORINGSSL_bcm_text_end"));
    let Some((start, end)) = bounds else {
        return Ok(None);
    };
    let headers = Command::new(architecture.gnu("objdump"))
        .args(["--section-headers", "--wide"])
        .arg(file)
        .text()?;
    let moved = headers.lines().find_map(|line| {
        // Number, name, size, address, load address, place in the file.
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| usize::from_str_radix(words.get(at)?, 16).ok();
        let (size, section, place) = (number(2)?, number(3)?, number(5)?);
        (section <= start && end <= section + size).then(|| start - section + place)
    });
    let start_in_file = moved.context("its module is in no section")?;
    Ok(Some(start_in_file..start_in_file + (end - start)))
}

/// The programs that [`make`] left in `folder`.
pub fn made(folder: &Path) -> Programs {
    let programs = PROGRAMS.map(|name| (name.to_owned(), folder.join(name)));
    Programs::of(BTreeMap::from(programs))
}

/// Adds the section `.dep-v0`, which scanners read.
fn with_audit_data(program: &[u8], data: &[u8], architecture: Architecture) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("failed to make a folder for a program")?;
    let (section, input) = (folder.path().join("section"), folder.path().join("program"));
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::new(6));
    compressed
        .write_all(data)
        .context("failed to compress a list of crates")?;
    fs_err::write(
        &section,
        compressed
            .finish()
            .context("failed to compress a list of crates")?,
    )?;
    fs_err::write(&input, program)?;
    let add = format!("--add-section=.dep-v0={}", section.display());
    Command::new(architecture.gnu("objcopy"))
        .arg(add)
        .arg(&input)
        .output()?;
    Ok(fs_err::read(input)?)
}

/// Fails unless the program is dynamic and runs with the oldest glibc that is promised; says which it needs.
fn check(file: &Path, architecture: Architecture) -> Result<(u32, u32)> {
    let symbols = Command::new(architecture.gnu("objdump"))
        .arg("--dynamic-syms")
        .arg(file)
        .text()?;
    // By the rules of https://github.com/openshift/check-payload (internal/validations): an executable must be dynamic, and one
    // that loads libcrypto is one with OpenSSL, whose provider the image would need.
    let libraries = Command::new(architecture.gnu("objdump"))
        .arg("--private-headers")
        .arg(file)
        .text()?;
    let loads = |name: &str| {
        libraries
            .lines()
            .any(|line| line.contains("NEEDED") && line.contains(name))
    };
    for name in ["libcrypto.so", "libssl.so"] {
        ensure!(!loads(name), "it loads {name}, so it has OpenSSL");
    }
    let newest = newest_glibc(&symbols)
        .context("it needs no glibc, so it is static; Red Hat's check-payload refuses it")?;
    ensure!(
        newest <= CEILING,
        "it needs glibc {}.{}, newer than {}.{} of UBI 9; build on an older system",
        newest.0,
        newest.1,
        CEILING.0,
        CEILING.1
    );
    Ok(newest)
}

/// The newest version that a table of dynamic symbols asks glibc for.
fn newest_glibc(symbols: &str) -> Option<(u32, u32)> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let version: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let mut numbers = version.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides_by_number_not_by_text() {
        let table = "0000 DF *UND* 0000 (GLIBC_2.9) a\n0000 DF *UND* 0000 (GLIBC_2.34) b\n (GLIBC_2.2.5) c";
        assert_eq!(newest_glibc(table), Some((2, 34)));
        assert_eq!(newest_glibc("no dynamic symbols"), None);
    }

    #[test]
    fn the_list_of_crates_survives_in_a_stripped_program() {
        let architecture = Architecture::ALL.into_iter().find(|one| one.is_native()).unwrap();
        let program = fs_err::read(std::env::current_exe().unwrap()).unwrap();
        let labelled = with_audit_data(&program, br#"{"packages":[]}"#, architecture).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        fs_err::write(&file, labelled).unwrap();
        let again = stripped(&file, architecture).unwrap();
        fs_err::write(&file, again).unwrap();
        let section = folder.path().join("section");
        let dump = format!("--dump-section=.dep-v0={}", section.display());
        Command::new("objcopy")
            .arg(dump)
            .arg(&file)
            .arg("/dev/null")
            .output()
            .unwrap();
        let mut text = String::new();
        let compressed = fs_err::read(section).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(&*compressed), &mut text).unwrap();
        assert_eq!(text, r#"{"packages":[]}"#);
        check(&file, architecture).unwrap();
    }
}
