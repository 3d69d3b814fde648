//! Bills of materials: `CycloneDX` 1.6, which BSI TR-03183-2 asks for, and SPDX 2.3.
//!
//! No vulnerability is in here: those are told apart from what a thing is made of.

mod cyclonedx;
mod spdx;

use std::collections::{BTreeMap, BTreeSet};

use xtask_image::{Edition, NpmPackage, Package};

use crate::dependencies::{Graph, Id, is_linked};
use crate::folder::Shipped;
use crate::licences;

/// What kind of thing a bill of materials is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Class {
    /// A container image.
    #[default]
    Image,
    /// A program.
    Program,
    /// An archive of files in a registry: the chart, the definitions.
    Archive,
}

/// What a bill of materials is of.
#[derive(Default)]
pub struct Artefact<'a> {
    /// Its name: a repository or a file.
    pub name: String,
    pub version: String,
    /// `sha256:…`
    pub digest: String,
    pub class: Class,
    /// The cryptography of its programs, if it has any.
    pub edition: Option<Edition>,
    /// RFC 3339, of the commit.
    pub created: String,
    /// Its crates, those included of which nothing is linked.
    pub crates: Graph,
    pub debian: Vec<&'a Package>,
    pub npm: Vec<&'a NpmPackage>,
    /// What Debian and npm packages declare as their licences, in words of their own, by package.
    pub licences: BTreeMap<String, BTreeSet<String>>,
    /// The images that it names by digest.
    pub images: Vec<&'a Shipped>,
}

/// A component of an artefact, before either format.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    purl: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Licences in other words than SPDX's.
    named: BTreeSet<String>,
    sha256: Option<String>,
    supplier: &'static str,
    is_linked: bool,
    uses: Vec<String>,
}

impl Part {
    /// What it declares, as an expression of SPDX.
    fn spdx_licence(&self) -> String {
        match &self.license {
            Some(license) => license.clone(),
            None if self.named.is_empty() => "NOASSERTION".to_owned(),
            None => {
                let names: Vec<_> = self.named.iter().map(|name| licences::reference(name)).collect();
                names.join(" AND ")
            }
        }
    }
}

/// A package URL of a crate.
pub fn crate_purl(id: &Id) -> String {
    format!("pkg:cargo/{}@{}", id.0, id.1.replace('+', "%2B"))
}

/// A package URL of a Debian package.
pub fn debian_purl(package: &Package) -> String {
    let Package {
        name,
        version,
        architecture,
        ..
    } = package;
    let version = version.replace(':', "%3A").replace('+', "%2B");
    let name = name.replace('+', "%2B");
    format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro=debian-13")
}

/// A package URL of an npm package.
pub fn npm_purl(package: &NpmPackage) -> String {
    // The name of one of several platforms ends with it, as in `@openai/codex@linux-x64`.
    let name = match package.name.rsplit_once('@') {
        Some((name, _)) if !name.is_empty() => name,
        _ => &package.name,
    };
    format!("pkg:npm/{}@{}", name.replacen('@', "%40", 1), package.version)
}

impl Artefact<'_> {
    fn parts(&self) -> Vec<Part> {
        let crates = self.crates.0.iter().map(|(id, one)| Part {
            purl: crate_purl(id),
            name: id.0.clone(),
            version: id.1.clone(),
            license: Some(one.license.replace('/', " OR ")).filter(|license| !license.is_empty()),
            named: BTreeSet::new(),
            sha256: None,
            supplier: if one.is_ours {
                "gastown-operator"
            } else {
                "crates.io"
            },
            is_linked: self.edition.is_none_or(|edition| is_linked(edition, &id.0)),
            uses: one.uses.iter().map(crate_purl).collect(),
        });
        let debian = self.debian.iter().map(|package| Part {
            purl: debian_purl(package),
            name: package.name.clone(),
            version: package.version.clone(),
            license: None,
            named: self.declared(&package.name),
            sha256: Some(package.sha256.clone()),
            supplier: "Debian",
            is_linked: true,
            uses: Vec::new(),
        });
        let npm = self.npm.iter().map(|package| Part {
            purl: npm_purl(package),
            name: package.name.clone(),
            version: package.version.clone(),
            license: None,
            named: self.declared(&package.name),
            sha256: None,
            supplier: "npm",
            is_linked: true,
            uses: Vec::new(),
        });
        let images = self.images.iter().map(|image| Part {
            purl: image.purl(),
            name: image.repository.clone(),
            version: image.tags.first().cloned().unwrap_or_default(),
            license: Some("Apache-2.0".to_owned()),
            named: BTreeSet::new(),
            sha256: Some(image.digest.trim_start_matches("sha256:").to_owned()),
            supplier: "gastown-operator",
            is_linked: true,
            uses: Vec::new(),
        });
        crates.chain(debian).chain(npm).chain(images).collect()
    }

    fn declared(&self, package: &str) -> BTreeSet<String> {
        self.licences.get(package).cloned().unwrap_or_default()
    }

    /// The artefact's package URL.
    pub fn purl(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or(&self.name);
        let digest = self.digest.replace(':', "%3A");
        match self.class {
            Class::Image | Class::Archive => format!("pkg:oci/{name}@{digest}?repository_url={}", self.name),
            Class::Program => format!("pkg:generic/{name}@{}?checksum={}", self.version, self.digest),
        }
    }

    /// The artefact's own reference in a bill.
    fn reference(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dependencies::Crate;

    fn package() -> Package {
        Package {
            name: "libstdc++6".to_owned(),
            version: "1:14.2.0-19+b1".to_owned(),
            architecture: "amd64".to_owned(),
            path: String::new(),
            sha256: "ab".repeat(32),
            size: 1,
        }
    }

    fn graph() -> Graph {
        let one = |license: &str, uses: &[(&str, &str)]| Crate {
            license: license.to_owned(),
            is_ours: uses.len() > 1,
            uses: uses
                .iter()
                .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
                .collect(),
        };
        let fips = ("aws-lc-fips-sys", "0.13.11");
        let plain = ("aws-lc-sys", "0.40.0");
        let id = |(name, version): (&str, &str)| (name.to_owned(), version.to_owned());
        Graph(
            [
                (id(("operator", "0.5.0")), one("Apache-2.0", &[fips, plain])),
                (id(fips), one("MIT/Apache-2.0", &[])),
                (id(plain), one("", &[])),
            ]
            .into(),
        )
    }

    fn artefact(package: &Package) -> Artefact<'_> {
        Artefact {
            name: "x/operator".to_owned(),
            version: "0.5.0".to_owned(),
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            class: Class::Image,
            edition: Some(Edition::Fips),
            created: "2026-01-02T03:04:05Z".to_owned(),
            crates: graph(),
            debian: vec![package],
            licences: [(
                "libstdc++6".to_owned(),
                ["GPL-3+".to_owned(), "GFDL-1.2".to_owned()].into(),
            )]
            .into(),
            ..Artefact::default()
        }
    }

    #[test]
    fn package_urls_are_escaped() {
        assert_eq!(
            debian_purl(&package()),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2.0-19%2Bb1?arch=amd64&distro=debian-13"
        );
        let npm = |name: &str| {
            npm_purl(&NpmPackage {
                name: name.to_owned(),
                version: "1.2.3".to_owned(),
                integrity: String::new(),
            })
        };
        assert_eq!(npm("@openai/codex@linux-x64"), "pkg:npm/%40openai/codex@1.2.3");
        assert_eq!(npm("@a/b"), "pkg:npm/%40a/b@1.2.3");
        assert_eq!(npm("plain"), "pkg:npm/plain@1.2.3");
    }

    #[test]
    fn the_bill_of_the_fips_edition_names_the_module_and_excludes_what_is_not_linked() {
        let package = package();
        let document = artefact(&package).cyclonedx().unwrap();
        assert_eq!(document["specVersion"], "1.6");
        assert_eq!(
            document["serialNumber"],
            "urn:uuid:01234567-89ab-8def-8123-456789abcdef"
        );
        assert_eq!(document["metadata"]["timestamp"], "2026-01-02T03:04:05Z");
        let components = document["components"].as_array().unwrap();
        let named = |name: &str| components.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(named("aws-lc-sys")["scope"], "excluded");
        let fips = named("aws-lc-fips-sys");
        assert_eq!(fips["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(fips["licenses"][0]["acknowledgement"], "declared");
        assert_eq!(named("AWS-LC FIPS")["properties"][0]["value"], "5314");
        assert_eq!(named("libstdc++6")["hashes"][0]["alg"], "SHA-256");
        let declared = &named("libstdc++6")["licenses"][1]["license"];
        assert_eq!(
            (&declared["name"], &declared["acknowledgement"]),
            (&json!("GPL-3+"), &json!("declared"))
        );
        // The schema has no null: what is not known is left out.
        assert!(!document.to_string().contains("null"), "{document}");
        let own = document["dependencies"].as_array().unwrap().last().unwrap();
        assert_eq!(
            own["dependsOn"].as_array().unwrap().len(),
            2,
            "the crate that is ours, and the package"
        );
    }

    #[test]
    fn spdx_lists_what_is_linked() {
        let package = package();
        let document = artefact(&package).spdx();
        let names: Vec<_> = document["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["name"])
            .collect();
        assert_eq!(names, ["x/operator", "aws-lc-fips-sys", "operator", "libstdc++6"]);
        assert_eq!(document["relationships"].as_array().unwrap().len(), 4);
        let declared = "LicenseRef-GFDL-1.2 AND LicenseRef-GPL-3-or-later";
        assert_eq!(document["packages"][3]["licenseDeclared"], declared);
        assert_eq!(
            document["hasExtractedLicensingInfos"][0]["licenseId"],
            "LicenseRef-GFDL-1.2"
        );
    }

    #[test]
    fn an_artefact_without_a_module_is_refused() {
        let package = package();
        let mut artefact = artefact(&package);
        artefact.crates.0.retain(|id, _| id.0 != "aws-lc-fips-sys");
        assert!(
            artefact
                .cyclonedx()
                .unwrap_err()
                .to_string()
                .contains("where is its cryptography?")
        );
    }
}
