use std::path::{Path, PathBuf};

use base64::Engine as _;
use xtask_image::tools::{self, Tool};
use xtask_image::{Architecture, Edition};

use super::*;
use crate::checkout::Checkout;
use crate::keys::{Signer, Verifier};
use crate::plan::{Plan, Wanted};
use crate::registry::{Repository, real};
use crate::statement::{self, Subject};
use crate::{attach, verify};

fn image(name: Name, edition: Edition, digit: char) -> Shipped {
    Shipped {
        repository: name.repository().unwrap(),
        name: name.as_str().to_owned(),
        tags: vec![edition.tag("1.2.3"), edition.tag("latest")],
        edition: Some(edition.as_str().to_owned()),
        digest: digest(digit),
        platforms: Vec::new(),
    }
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn four() -> [Shipped; 4] {
    let [operator, agent] = IMAGES;
    let [community, fips] = Edition::ALL;
    [
        image(operator, community, 'a'),
        image(operator, fips, 'b'),
        image(agent, community, 'c'),
        image(agent, fips, 'd'),
    ]
}

/// A release of version 1.2.3 with those images, whose artefacts are made.
fn release(folder: &Path) -> Release {
    let wanted = Wanted {
        editions: Edition::ALL.to_vec(),
        architectures: vec![Architecture::Amd64],
        is_dev: true,
        registry: None,
        asks_advisories: false,
        is_unsigned: false,
        only: Vec::new(),
    };
    let checkout = Checkout {
        version: "1.2.3".to_owned(),
        ..Checkout::read().unwrap()
    };
    let plan = Plan::new(&checkout, &wanted).unwrap();
    let release = Release {
        plan,
        folder: folder.to_owned(),
        key: None,
        advisories: None,
        previous: None,
        started: "2026-01-01T00:00:00Z".to_owned(),
    };
    fs_err::write(folder.join("images.json"), serde_json::to_vec(&four()).unwrap()).unwrap();
    release.artefacts().unwrap();
    release
}

#[test]
fn a_digest_is_pinned_under_the_tags_of_its_release() {
    let pins = pins(&four());
    assert_eq!(
        pins["operator"],
        json!({ "1.2.3": digest('a'), "1.2.3-fips": digest('b') })
    );
    assert_eq!(
        pins["polecat-agent"],
        json!({ "1.2.3": digest('c'), "1.2.3-fips": digest('d') })
    );
}

#[test]
fn the_definitions_are_those_that_the_chart_installs() {
    let names = |kind: Kind| -> Vec<String> {
        kind.files(&[])
            .unwrap()
            .into_iter()
            .map(|(name, _, _)| name)
            .collect()
    };
    let chart = names(Kind::Chart);
    let definitions = names(Kind::Definitions);
    assert!(
        chart.contains(&"gastown-operator/Chart.yaml".to_owned()),
        "{chart:?}"
    );
    let crds: Vec<_> = definitions
        .iter()
        .filter(|name| name.starts_with("crds/"))
        .collect();
    assert!(crds.len() >= 2, "{definitions:?}");
    for crd in crds {
        assert!(chart.contains(&format!("gastown-operator/{crd}")), "{crd}");
    }
    assert!(
        definitions.iter().any(|name| name.starts_with("templates/")),
        "{definitions:?}"
    );
}

/// What the chart runs, operator and agent, with these values.
fn images_with(helm: &Path, chart: &Path, values: &[&str]) -> Vec<String> {
    let set = values.iter().flat_map(|value| ["--set", value]);
    let text = Command::new(helm)
        .args(["template", "x"])
        .arg(chart)
        .args(set)
        .text()
        .unwrap();
    let images = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("- ");
        line.strip_prefix("image: ")
            .or_else(|| line.strip_prefix("--agent-image="))
    });
    images.map(str::to_owned).collect()
}

/// Pushes a signed chart to a registry, and has helm pull it.
fn pulled(release: &Release, helm: &Path, to: &Path) -> PathBuf {
    let registry = real::start(real::Kind::Distribution, to).unwrap();
    let layout = Layout::open(&release.folder.join("artefacts/chart")).unwrap();
    let manifest = layout.tagged("1.2.3").unwrap().unwrap();
    let signer = Signer::fresh();
    let subject = Subject {
        name: repository("chart").unwrap(),
        digest: manifest.digest.clone(),
    };
    let build = json!({
        "buildDefinition": { "resolvedDependencies": [{ "digest": { "gitCommit": "c0ffee" } }] },
        "runDetails": { "builder": { "id": "me" } },
    });
    let statements = verify::tests::ALL.map(|kind| statement::new(&subject, kind, &build));
    attach::sign(
        &layout,
        &signer,
        &subject.name,
        &manifest,
        &statements,
        "2026-01-01T00:00:00Z",
    )
    .unwrap();
    let at = format!("{}/charts/gastown-operator", registry.host);
    Repository::open(&at).unwrap().push(&layout).unwrap();

    let arguments = [
        "pull",
        &format!("oci://{at}"),
        "--version",
        "1.2.3",
        "--plain-http",
        "--destination",
    ];
    Command::new(helm).args(arguments).arg(to).output().unwrap();
    let back = Layout::create(&to.join("back")).unwrap();
    Repository::open(&at)
        .unwrap()
        .pull(&back, Some("1.2.3"), None, "wanted")
        .unwrap();
    let verifier = Verifier::from_pem(signer.public()).unwrap();
    let found = verify::image(&back, "wanted", &verifier, verify::Depth::Manifests).unwrap();
    assert_eq!((found.len(), found[0].platform.as_str()), (1, "chart"));
    assert_eq!(found[0].digest, manifest.digest);
    to.join("gastown-operator-1.2.3.tgz")
}

#[test]
fn helm_pulls_the_chart_and_a_digest_applies_to_its_own_tag_alone() {
    let [helm] = tools::ensure([Tool::Helm]).unwrap();
    let (made, got) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let release = release(made.path());
    let chart = pulled(&release, &helm, got.path());
    let packed = made.path().join("artefacts").join(Kind::Chart.archive("1.2.3"));
    assert_eq!(fs_err::read(&chart).unwrap(), fs_err::read(packed).unwrap());

    let [operator, agent] = IMAGES.map(|name| name.repository().unwrap());
    let by_digest = |one: char, other: char| {
        vec![
            format!("{operator}@{}", digest(one)),
            format!("{agent}@{}", digest(other)),
        ]
    };
    let with = |values: &[&str]| images_with(&helm, &chart, values);
    assert_eq!(with(&["image.tag=1.2.3"]), by_digest('a', 'c'));
    assert_eq!(
        with(&["image.tag=1.2.3-fips"]),
        by_digest('b', 'd'),
        "the edition that was asked for"
    );
    for tag in ["1.2.4", "latest", "latest-fips"] {
        assert_eq!(
            with(&[&format!("image.tag={tag}")]),
            [format!("{operator}:{tag}"), format!("{agent}:{tag}")],
            "a tag of which the chart knows no digest"
        );
    }
    let own = digest('e');
    let given = with(&[
        "image.tag=1.2.3",
        &format!("image.digest={own}"),
        "agentImage.repository=mirror/agent",
    ]);
    assert_eq!(
        given,
        [
            format!("{operator}@{own}"),
            format!("mirror/agent@{}", digest('c'))
        ]
    );
}

/// What the chart of the checkout renders for admission controllers with these values.
fn policies(helm: &Path, values: &Value) -> Result<Vec<Value>> {
    use serde::Deserialize as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), values.to_string()).unwrap();
    let chart = workspace::root().join(CHART_FOLDER);
    let text = Command::new(helm)
        .args(["template", "x"])
        .arg(chart)
        .arg("--values")
        .arg(file.path())
        .text()?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap());
    Ok(documents
        .filter(|one| one["kind"].as_str().is_some_and(|kind| kind.contains("Image")))
        .collect())
}

#[test]
fn admission_controllers_get_the_image_policy_that_the_operator_has_and_only_where_it_is_asked_for() {
    let [helm] = tools::ensure([Tool::Helm]).unwrap();
    let key = |name: &str| format!("-----BEGIN PUBLIC KEY-----\n{name}\n-----END PUBLIC KEY-----\n");
    let mut values = json!({ "imagePolicy": {
        "keys": [key("a"), key("b")],
        "requireDigest": true,
        "requireAttestations": ["https://slsa.dev/provenance/v1"],
    } });
    assert!(policies(&helm, &values).unwrap().is_empty(), "off by default");
    values["admissionPolicies"] = json!({ "kyverno": true, "policyController": true, "openshift": true });
    let mut all = policies(&helm, &values).unwrap();
    all.sort_by_key(|one| one["apiVersion"].to_string());
    let [openshift, kyverno, sigstore] = all.try_into().unwrap();

    assert_eq!(kyverno["kind"], "ImageValidatingPolicy");
    let spec = &kyverno["spec"];
    assert_eq!(
        (
            &spec["validationActions"],
            &spec["failurePolicy"],
            &spec["validationConfigurations"]["verifyDigest"]
        ),
        (&json!(["Deny"]), &json!("Fail"), &json!(true))
    );
    assert_eq!(spec["attestors"][1]["cosign"]["key"]["data"], key("b"));
    let rules = spec["validations"].as_array().unwrap();
    for containers in ["containers", "initContainers", "ephemeralContainers"] {
        let of = |word: &str| {
            rules.iter().any(|rule| {
                let text = rule["expression"].as_str().unwrap();
                text.starts_with(&format!("images.?{containers}.")) && text.contains(word)
            })
        };
        assert!(
            of("[attestors.key0, attestors.key1]) > 0") && of("attestations.statement0"),
            "{containers}"
        );
    }

    let authority = &sigstore["spec"]["authorities"][1];
    assert_eq!(authority["key"]["data"], key("b"));
    assert_eq!(
        authority["attestations"][0]["predicateType"],
        "https://slsa.dev/provenance/v1"
    );
    let selector = &sigstore["spec"]["match"][0]["selector"];
    assert_eq!(
        selector, &kyverno["spec"]["matchConstraints"]["objectSelector"],
        "the pods of polecats"
    );

    let first = base64::engine::general_purpose::STANDARD.encode(key("a"));
    let trust = &openshift["spec"]["policy"]["rootOfTrust"];
    assert_eq!(trust["publicKey"]["keyData"], first);

    values["imagePolicy"] = json!({ "requireDigest": true });
    let refused = policies(&helm, &values).unwrap_err().to_string();
    assert!(
        refused.contains("admissionPolicies needs imagePolicy.keys"),
        "{refused}"
    );
}
