//! `CycloneDX`: the library writes and validates 1.5; what 1.6 adds (acknowledged licences, cryptographic assets) is added to its JSON.

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
use xtask_image::Edition;

use super::{Artefact, Class, Part};

impl Artefact<'_> {
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
