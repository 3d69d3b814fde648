//! Bills of materials: `CycloneDX` 1.6, which BSI TR-03183-2 asks for, and SPDX 2.3.
//!
//! The library writes and validates `CycloneDX` 1.5; what 1.6 adds (acknowledged licences, cryptographic assets) is added
//! to its JSON. No vulnerability is in here: those are told apart from what a thing is made of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow, ensure};
use cyclonedx_bom::external_models::date_time::DateTime;
use cyclonedx_bom::external_models::spdx::SpdxExpression;
use cyclonedx_bom::external_models::uri::Purl;
use cyclonedx_bom::models::bom::UrnUuid;
use cyclonedx_bom::models::component::{Classification, Scope};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{License, LicenseChoice, Licenses};
use cyclonedx_bom::models::lifecycle::{Lifecycle, Lifecycles, Phase};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::models::organization::OrganizationalEntity;
use cyclonedx_bom::models::tool::{Tool, Tools};
use cyclonedx_bom::prelude::{Bom, Component, Components, NormalizedString, SpecVersion, Validate as _};
use serde_json::{Value, json};
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

    /// The module that does the cryptography, by name and version.
    fn module(&self, edition: Edition) -> Result<(&'static str, String)> {
        let (name, package) = match edition {
            Edition::Community => ("AWS-LC", "aws-lc-sys"),
            Edition::Fips => ("AWS-LC FIPS", "aws-lc-fips-sys"),
        };
        let mut ids = self.crates.0.keys();
        let (_, version) = ids
            .find(|(crate_name, _)| crate_name == package)
            .with_context(|| {
                format!(
                    "{} has no crate {package:?}: where is its cryptography?",
                    self.name
                )
            })?;
        Ok((name, version.clone()))
    }

    /// The bill in `CycloneDX` 1.6.
    pub fn cyclonedx(&self) -> Result<Value> {
        let module = self
            .edition
            .map(|edition| self.module_asset(edition))
            .transpose()?;
        let bom = self.bom()?;
        let outcome = bom.validate_version(SpecVersion::V1_5);
        ensure!(
            outcome.passed(),
            "the bill of {} is no CycloneDX 1.5: {outcome:?}",
            self.name
        );
        let mut text = Vec::new();
        bom.output_as_json_v1_5(&mut text)
            .with_context(|| format!("failed to write the bill of {}", self.name))?;
        let mut document: Value = serde_json::from_slice(&text)?;
        Self::lift(&mut document, module)?;
        Ok(document)
    }

    fn bom(&self) -> Result<Bom> {
        let class = match self.class {
            Class::Image => Classification::Container,
            Class::Program => Classification::Application,
            Class::Archive => Classification::Data,
        };
        let reference = self.reference();
        let mut own = Component::new(class, &self.name, &self.version, Some(reference.clone()));
        own.hashes = Some(sha256(&self.digest));
        own.purl = self.purl().parse().ok();
        own.supplier = Some(OrganizationalEntity::new("gastown-operator"));
        own.licenses = Some(Licenses(vec![LicenseChoice::expression("Apache-2.0")]));
        let parts = self.parts();
        let mut dependencies: Vec<_> = parts
            .iter()
            .map(|part| Dependency {
                dependency_ref: part.purl.clone(),
                dependencies: part.uses.clone(),
            })
            .collect();
        dependencies.push(Dependency {
            dependency_ref: reference,
            dependencies: roots(&parts),
        });
        let components: Result<Vec<_>> = parts.iter().map(component).collect();
        Ok(Bom {
            serial_number: Some(UrnUuid::new(serial(&self.digest)).map_err(|error| anyhow!("{error:?}"))?),
            metadata: Some(Metadata {
                timestamp: Some(DateTime::try_from(self.created.clone())?),
                tools: Some(Tools::List(vec![Tool::new(
                    "gastown-operator",
                    "cargo xtask release",
                    &self.version,
                )])),
                component: Some(own),
                supplier: Some(OrganizationalEntity::new("gastown-operator")),
                lifecycles: Some(Lifecycles(vec![Lifecycle::Phase(Phase::Build)])),
                ..Metadata::default()
            }),
            components: Some(Components(components?)),
            dependencies: Some(Dependencies(dependencies)),
            ..Bom::default()
        })
    }

    /// Adds what 1.6 has and 1.5 has not.
    fn lift(document: &mut Value, module: Option<Value>) -> Result<()> {
        document["specVersion"] = "1.6".into();
        document["$schema"] = "http://cyclonedx.org/schema/bom-1.6.schema.json".into();
        let components = document["components"]
            .as_array_mut()
            .context("a bill has components")?;
        for component in components.iter_mut() {
            let licenses = component.get_mut("licenses").and_then(Value::as_array_mut);
            for license in licenses.into_iter().flatten() {
                // As the package's own manifest says it; nobody has read its files for it.
                let place = match license.get_mut("license") {
                    Some(named) => named,
                    None => license,
                };
                place["acknowledgement"] = "declared".into();
            }
        }
        components.extend(module);
        document.sort_all_objects();
        Ok(())
    }

    /// The component that stands for the module.
    fn module_asset(&self, edition: Edition) -> Result<Value> {
        let (name, version) = self.module(edition)?;
        let mut module = json!({
            "type": "cryptographic-asset", "bom-ref": "crypto-module", "name": name, "version": version,
            "cryptoProperties": { "assetType": "algorithm", "algorithmProperties": {
                "executionEnvironment": "software-plain-ram",
                "implementationPlatform": "generic",
            } },
        });
        if edition == Edition::Fips {
            // The crate of version 0.13.11 is the module of this version, byte for byte.
            module["version"] = "3.1.0".into();
            module["cryptoProperties"]["algorithmProperties"]["certificationLevel"] = json!(["fips140-3-l1"]);
            module["properties"] = json!([{ "name": "gastown:cmvp-certificate", "value": "5314" }]);
        }
        Ok(module)
    }

    /// The bill in SPDX 2.3.
    pub fn spdx(&self) -> Value {
        let parts: Vec<_> = self.parts().into_iter().filter(|part| part.is_linked).collect();
        let hash = self.digest.trim_start_matches("sha256:");
        let own = json!({
            "SPDXID": "SPDXRef-artefact", "name": self.name, "versionInfo": self.version,
            "supplier": "Organization: gastown-operator", "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0", "copyrightText": "NOASSERTION",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": hash }],
        });
        let packages = parts.iter().enumerate().map(|(at, part)| spdx_package(at, part));
        let packages: Vec<_> = std::iter::once(own).chain(packages).collect();
        let contains = |at| {
            json!({
                "spdxElementId": "SPDXRef-artefact", "relationshipType": "CONTAINS",
                "relatedSpdxElement": format!("SPDXRef-{at}"),
            })
        };
        let describes = json!({
            "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-artefact",
        });
        let relationships: Vec<_> = std::iter::once(describes)
            .chain((0..parts.len()).map(contains))
            .collect();
        json!({
            "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "dataLicense": "CC0-1.0",
            "name": self.reference(),
            "documentNamespace": format!("https://github.com/boshu2/gastown-operator/sbom/{hash}"),
            "creationInfo": {
                "created": self.created,
                "creators": ["Organization: gastown-operator", format!("Tool: cargo-xtask-release-{}", self.version)],
            },
            "hasExtractedLicensingInfos": extracted(&parts),
            "packages": packages,
            "relationships": relationships,
        })
    }
}

/// The licences that parts declare in words of their own; their texts are in the image.
fn extracted(parts: &[Part]) -> Vec<Value> {
    let mut found = BTreeMap::new();
    for name in parts.iter().flat_map(|part| &part.named) {
        // Two spellings of one licence may have one identifier.
        found.entry(licences::reference(name)).or_insert(name);
    }
    let one = |(id, name): (String, &String)| {
        json!({
            "licenseId": id, "name": name,
            "extractedText": "The text is in the image, below /usr/share/doc or /licenses.",
        })
    };
    found.into_iter().map(one).collect()
}

fn spdx_package(at: usize, part: &Part) -> Value {
    let mut package = json!({
        "SPDXID": format!("SPDXRef-{at}"), "name": part.name, "versionInfo": part.version,
        "supplier": format!("Organization: {}", part.supplier), "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
        "licenseDeclared": part.spdx_licence(),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part.purl,
        }],
    });
    if let Some(sha256) = &part.sha256 {
        package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]);
    }
    package
}

/// The parts that no other part uses.
fn roots(parts: &[Part]) -> Vec<String> {
    let is_used = |part: &&Part| !parts.iter().any(|other| other.uses.contains(&part.purl));
    parts
        .iter()
        .filter(is_used)
        .map(|part| part.purl.clone())
        .collect()
}

fn component(part: &Part) -> Result<Component> {
    let mut component = Component::new(
        Classification::Library,
        &part.name,
        &part.version,
        Some(part.purl.clone()),
    );
    component.purl = part.purl.parse::<Purl>().ok();
    component.supplier = Some(OrganizationalEntity::new(part.supplier));
    component.publisher = Some(NormalizedString::new(part.supplier));
    component.hashes = part.sha256.as_deref().map(sha256);
    component.scope = Some(if part.is_linked {
        Scope::Required
    } else {
        Scope::Excluded
    });
    if let Some(license) = &part.license {
        let expression = SpdxExpression::parse_lax(license.clone()).with_context(|| {
            format!(
                "crate {} has licence {license:?}, which is no SPDX expression",
                part.name
            )
        })?;
        component.licenses = Some(Licenses(vec![LicenseChoice::Expression(expression)]));
    } else if !part.named.is_empty() {
        let names = part
            .named
            .iter()
            .map(|name| LicenseChoice::License(License::named_license(name)));
        component.licenses = Some(Licenses(names.collect()));
    }
    Ok(component)
}

fn sha256(digest: &str) -> Hashes {
    Hashes(vec![Hash {
        alg: HashAlgorithm::SHA_256,
        content: HashValue(digest.trim_start_matches("sha256:").to_owned()),
    }])
}

/// A UUID that is the same for the same artefact, in the form of version 8: <https://www.rfc-editor.org/rfc/rfc9562>.
fn serial(digest: &str) -> String {
    let hash = digest.trim_start_matches("sha256:");
    let part = |range: std::ops::Range<usize>| hash.get(range).unwrap_or_default();
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0..8),
        part(8..12),
        part(13..16),
        part(17..20),
        part(20..32)
    )
}

#[cfg(test)]
mod tests {
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
