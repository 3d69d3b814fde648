//! SPDX 2.3: <https://spdx.github.io/spdx-spec/v2.3/>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Artefact, Part};
use crate::licences;

impl Artefact<'_> {
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
