//! An apt of our own: another Debian release than the machine's, nothing installed, mirrors as the machine has them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::process::Command;
use crate::workspace;

/// Debian's keyring; apt checks every index against it.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian releases by which the machine's own sources are recognised.
const RELEASES: [&str; 9] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// A folder with apt's configuration, indexes and state.
pub struct Apt {
    folder: PathBuf,
    /// Keeps other runs away from the folder.
    _lock: fs_err::File,
}

/// One version of a package, as the archive's index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub provides: Option<String>,
    pub path: String,
    pub sha256: String,
    pub size: u64,
}

/// Roots of the machine's Debian archives.
#[derive(Debug, PartialEq, Eq)]
struct Sites {
    archive: String,
    security: String,
}

impl Apt {
    /// Sets apt up for `suite`, and brings its indexes up to date.
    pub fn current(suite: &str, architecture: &str) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).exists(),
            "{KEYRING} is missing, with which Debian's packages are verified; `apt-get install debian-archive-keyring`"
        );
        let folder = workspace::cache()?
            .join("apt")
            .join(format!("{suite}-{architecture}"));
        fs_err::create_dir_all(&folder)?;
        let apt = Self {
            _lock: workspace::lock(&folder.join("lock"))?,
            folder,
        };
        for folder in [
            "lists/partial",
            "cache/archives/partial",
            "state",
            "log",
            "sources",
        ] {
            fs_err::create_dir_all(apt.folder.join(folder))?;
        }
        let targets = [
            "indextargets",
            "--format",
            "$(ORIGIN) $(RELEASE) $(REPO_URI)",
            "Created-By: Packages",
        ];
        let sites = sites(&Command::new("apt-get").args(targets).text()?)?;
        fs_err::write(apt.folder.join("sources/debian.sources"), sources(&sites, suite))?;
        let machine = Command::new("apt-config").arg("dump").text()?;
        fs_err::write(
            apt.configuration(),
            configuration(&apt.folder, architecture, &machine),
        )?;
        let update =
            apt.command("apt-get")
                .args(["--quiet=2", "-o", "APT::Update::Error-Mode=any", "update"]);
        update.run().with_context(|| {
            format!(
                "the indexes of {suite} cannot be read; {KEYRING} must hold its keys and a mirror must answer"
            )
        })?;
        Ok(apt)
    }

    /// The packages that installing `roots` on an empty system would install, `without` taken as installed.
    pub fn closure(&self, roots: &[String], without: &[String]) -> Result<Vec<(String, String)>> {
        let installed: String = self.candidates(without)?.iter().map(installed).collect();
        let status = tempfile::NamedTempFile::new().context("failed to make a file for apt")?;
        fs_err::write(status.path(), installed)?;
        let option = format!("Dir::State::status={}", status.path().display());
        let install = self
            .command("apt-get")
            .args(["-o", &option, "--simulate", "install"])
            .args(roots);
        parse_simulation(&install.text()?)
    }

    /// The version of each package that would be installed.
    pub fn candidates(&self, names: &[String]) -> Result<Vec<Record>> {
        self.show(names, &["--no-all-versions"])
    }

    /// Every version of each package that the archive has; a package that it does not have has none.
    pub fn versions(&self, names: &[String]) -> Result<Vec<Record>> {
        self.show(names, &["--all-versions"])
    }

    /// Downloads packages, each `name=version`, into `folder`.
    pub fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        self.command("apt-get")
            .args(["--quiet=2", "download"])
            .args(packages)
            .current_dir(folder)
            .run()
    }

    fn show(&self, names: &[String], how: &[&str]) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        // apt-cache fails when it knows none of the names, but not when it knows some.
        let known = self
            .command("apt-cache")
            .args(["--generate", "pkgnames"])
            .text()?;
        let known: std::collections::HashSet<_> = known.lines().collect();
        let names: Vec<_> = names
            .iter()
            .filter(|name| known.contains(name.as_str()))
            .collect();
        if !names.is_empty() {
            let text = self
                .command("apt-cache")
                .arg("show")
                .args(how)
                .args(names)
                .text()?;
            for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
                records.push(parse_record(stanza)?);
            }
        }
        Ok(records)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    fn command(&self, program: &str) -> Command {
        Command::new(program)
            .env("APT_CONFIG", self.configuration())
            .env("LC_ALL", "C.UTF-8")
    }
}

/// Finds the machine's Debian archives in lines of origin, release and address.
fn sites(targets: &str) -> Result<Sites> {
    let find = |is_wanted: fn(&str) -> bool| {
        let rows = targets
            .lines()
            .filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
                [origin, release, address] if is_wanted(release) => Some((origin == "Debian", address)),
                _ => None,
            });
        // The origin is only known once the machine has indexes of its own.
        rows.max_by_key(|(is_debian, _)| *is_debian)
            .map(|(_, address)| address.to_owned())
    };
    let remedy = "apt of this machine names no Debian archive; add one to its sources";
    let archive = find(|release| RELEASES.contains(&release)).context(remedy)?;
    let is_security = |release: &str| {
        release
            .strip_suffix("-security")
            .is_some_and(|name| RELEASES.contains(&name))
    };
    let security =
        find(is_security).context("apt of this machine names no Debian security archive; add one")?;
    Ok(Sites { archive, security })
}

fn sources(sites: &Sites, suite: &str) -> String {
    let Sites { archive, security } = sites;
    let source = |address: &str, suites: &str| {
        format!("Types: deb\nURIs: {address}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n\n")
    };
    source(archive, &format!("{suite} {suite}-updates")) + &source(security, &format!("{suite}-security"))
}

/// How to reach the network is the machine's; everything else, hooks above all, is ours.
fn configuration(folder: &Path, architecture: &str, machine: &str) -> String {
    let inherited = machine.lines().filter(|line| line.starts_with("Acquire::"));
    let folder = folder.display();
    let own = format!(
        r#"Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Get::AllowUnauthenticated "false";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{folder}/cache";
Dir::Log "{folder}/log";
"#
    );
    inherited
        .flat_map(|line| [line, "\n"])
        .chain([own.as_str()])
        .collect()
}

/// A line of dpkg's status that makes apt believe that a package is there, and leave it as it is.
fn installed(record: &Record) -> String {
    let Record {
        name,
        version,
        architecture,
        provides,
        ..
    } = record;
    let provides = provides
        .as_ref()
        .map(|list| format!("Provides: {list}\n"))
        .unwrap_or_default();
    format!(
        "Package: {name}\nStatus: hold ok installed\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: nobody\nDescription: left out\n{provides}\n"
    )
}

/// Reads names and versions from lines such as `Inst libc6 (2.41-12 Debian:13.1/stable [amd64])`.
fn parse_simulation(text: &str) -> Result<Vec<(String, String)>> {
    let parse = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        let version = rest.strip_prefix('(')?.split(' ').next()?;
        Some((name.to_owned(), version.to_owned()))
    };
    let lines = text.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines
        .map(|line| {
            parse(line).with_context(|| format!("apt would install {line:?}, which is not understood"))
        })
        .collect()
}

fn parse_record(stanza: &str) -> Result<Record> {
    let optional = |field: &str| {
        let value = |line: &str| line.strip_prefix(field)?.strip_prefix(": ").map(str::to_owned);
        stanza.lines().find_map(value)
    };
    let required = |field: &str| {
        optional(field)
            .with_context(|| format!("the archive describes a package without {field:?}: {stanza:?}"))
    };
    Ok(Record {
        name: required("Package")?,
        version: required("Version")?,
        architecture: required("Architecture")?,
        provides: optional("Provides"),
        path: required("Filename")?,
        sha256: required("SHA256")?,
        size: required("Size")?
            .parse()
            .context("the archive gives a size that is no number")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_those_of_the_machine() {
        let targets = "x bookworm http://other/\nDebian bookworm http://mirror/debian/\n\
                       Debian bookworm-updates http://wrong/\nDebian bookworm-security http://mirror/security/\n\
                       y nodistro http://wrong/";
        let sites = sites(targets).unwrap();
        let wanted = ("http://mirror/debian/", "http://mirror/security/");
        assert_eq!((&*sites.archive, &*sites.security), wanted);
        let sources = sources(&sites, "trixie");
        assert!(
            sources.contains("URIs: http://mirror/debian/\nSuites: trixie trixie-updates\n"),
            "{sources}"
        );
        assert!(
            sources.contains("URIs: http://mirror/security/\nSuites: trixie-security\n"),
            "{sources}"
        );
    }

    #[test]
    fn a_machine_without_a_debian_archive_is_told_what_to_add() {
        let error = sites("Ubuntu noble http://mirror/ubuntu/").unwrap_err();
        assert_eq!(
            error.to_string(),
            "apt of this machine names no Debian archive; add one to its sources"
        );
    }

    #[test]
    fn only_the_way_to_the_network_is_taken_from_the_machine() {
        let machine = "Acquire::http::Proxy \"http://proxy/\";\nAPT::Update::Post-Invoke:: \"rm\";";
        let configuration = configuration(Path::new("/cache"), "amd64", machine);
        assert!(
            configuration.starts_with("Acquire::http::Proxy \"http://proxy/\";\n"),
            "{configuration}"
        );
        assert!(!configuration.contains("rm"), "{configuration}");
        assert!(
            configuration.contains("Dir::State::lists \"/cache/lists\";\n"),
            "{configuration}"
        );
    }

    #[test]
    fn the_closure_is_read_from_a_simulation() {
        let text = "The following NEW packages will be installed:\n  libc6\n\
                    Inst libc6 (2.41-12+deb13u5 Debian:13.8/stable, Debian-Security:13 [amd64]) []\n\
                    Conf libc6 (2.41-12+deb13u5 Debian:13.8/stable [amd64])\n";
        assert_eq!(
            parse_simulation(text).unwrap(),
            [("libc6".to_owned(), "2.41-12+deb13u5".to_owned())]
        );
    }

    #[test]
    fn an_upgrade_in_a_simulation_is_an_error() {
        let error = parse_simulation("Inst openssl [3.5.9] (3.6.0 Debian:13 [amd64])").unwrap_err();
        assert!(error.to_string().contains("which is not understood"), "{error}");
    }

    #[test]
    fn a_record_without_a_hash_is_refused() {
        let stanza = "Package: x\nVersion: 1\nArchitecture: all\nFilename: pool/x.deb\nSize: 1";
        let error = parse_record(stanza).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the archive describes a package without \"SHA256\""),
            "{error}"
        );
        let record = parse_record(&format!("{stanza}\nSHA256: ab\nProvides: awk")).unwrap();
        assert_eq!(
            (record.sha256.as_str(), record.provides.as_deref()),
            ("ab", Some("awk"))
        );
    }
}
