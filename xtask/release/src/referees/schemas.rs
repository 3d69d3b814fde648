//! kubeconform: whether everything that the chart renders, and the templates, are what the API server's definitions say.
//!
//! The definitions are those of the pinned sources: Kubernetes' own, the chart's, and Kyverno's and policy-controller's of their
//! policies. kubeconform would download them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use xtask_image::process::Command;
use xtask_image::tools::{self, Module, Tool};
use xtask_image::workspace;

use super::Bench;

/// The definitions of other projects' policies, below the sources of their modules.
const FOREIGN: [(Module, &str); 2] = [
    (
        Module::Kyverno,
        "config/crds/policies.kyverno.io/policies.kyverno.io_imagevalidatingpolicies.yaml",
    ),
    (Module::PolicyController, "config/300-clusterimagepolicy.yaml"),
];

/// Kubernetes' definitions, below its sources.
const OPENAPI: &str = "api/openapi-spec/swagger.json";

/// Values of the chart with which it renders all that it can; OpenShift's policy has no definition that could be had here.
const EVERYTHING: [&str; 6] = [
    "podPolicy.enabled=true",
    "admissionPolicies.kyverno=true",
    "admissionPolicies.policyController=true",
    "imagePolicy.requireAttestations={https://slsa.dev/provenance/v1}",
    "registrySecret=registry",
    "replicaCount=2",
];

/// kubeconform of the chart as it is and with everything on, and of the templates.
pub fn kubeconform(bench: &Bench) -> Result<Vec<String>> {
    let [helm, kubeconform] = tools::ensure([Tool::Helm, Tool::Kubeconform])?;
    let schemas = bench.place.path().join("schemas");
    write_schemas(&schemas)?;
    let chart = bench.chart()?;
    let version = chart.tags.first().context("the chart has a version")?;
    let template = || {
        let command = Command::new(&helm).args(["template", "gastown", "--include-crds"]);
        command.arg(bench.folder.join(format!("files/gastown-operator-{version}.tgz")))
    };
    let set = EVERYTHING.iter().flat_map(|value| ["--set", value]);
    let key = format!("imagePolicy.keys[0]={}", bench.key.display());
    let rendered = [
        template().output()?,
        template().args(set).args(["--set-file", &key]).output()?,
    ];
    let mut files = vec![workspace::root().join("templates")];
    for (at, text) in rendered.iter().enumerate() {
        let file = bench.place.path().join(format!("rendered-{at}.yaml"));
        fs_err::write(&file, text)?;
        files.push(file);
    }
    let check = Command::new(kubeconform).args(["-strict", "-summary", "-schema-location"]);
    let check = check.arg(schemas.join("{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"));
    let check = check.args(&files);
    let shown = check.to_string();
    let output = check
        .into_inner()
        .output()
        .with_context(|| format!("failed to start `{shown}`"))?;
    // It says on its standard output what is wrong.
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success(),
        "`{shown}` ended with {}: {said}",
        output.status
    );
    Ok(said.lines().map(str::to_owned).collect())
}

/// Writes a schema for each kind that has a definition.
fn write_schemas(folder: &Path) -> Result<()> {
    let kubernetes = Module::Kubernetes.source_folder()?.join(OPENAPI);
    let openapi: Value = serde_json::from_slice(&fs_err::read(&kubernetes)?)
        .with_context(|| format!("{kubernetes:?} is no JSON"))?;
    let definitions = openapi["definitions"]
        .as_object()
        .context("OpenAPI has definitions")?;
    for (name, definition) in definitions {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds
            .into_iter()
            .flatten()
            .filter(|_| definition.get("properties").is_some())
        {
            write(folder, kind, &standalone(definitions, name))?;
        }
    }
    let mut crds = Vec::new();
    for (module, file) in FOREIGN {
        crds.push(module.source_folder()?.join(file));
    }
    for entry in fs_err::read_dir(workspace::root().join("helm/gastown-operator/crds"))? {
        crds.push(entry?.path());
    }
    for file in crds {
        let text = fs_err::read_to_string(&file)?;
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let crd = Value::deserialize(document).with_context(|| format!("{file:?} is no YAML"))?;
            for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
                let kind = json!({
                    "group": crd["spec"]["group"], "kind": crd["spec"]["names"]["kind"], "version": version["name"],
                });
                let mut schema = version["schema"]["openAPIV3Schema"].clone();
                complete(&mut schema);
                tighten(&mut schema);
                write(folder, &kind, &schema)?;
            }
        }
    }
    Ok(())
}

fn write(folder: &Path, kind: &Value, schema: &Value) -> Result<()> {
    let text = |key: &str| kind[key].as_str().unwrap_or_default();
    // kubeconform says `v1` where the core group has no name.
    let group = if text("group").is_empty() {
        text("version")
    } else {
        text("group")
    };
    let name = format!("{}_{}.json", text("kind").to_lowercase(), text("version"));
    workspace::write_whole(&folder.join(group).join(name), schema.to_string().as_bytes())
}

/// A definition with those that it refers to.
fn standalone(definitions: &Map<String, Value>, name: &str) -> Value {
    let (mut open, mut needed) = (vec![name.to_owned()], BTreeSet::new());
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            references(&definitions[&name], &mut open);
        }
    }
    let mut kept = Map::new();
    for name in needed {
        let mut definition = definitions[&name].clone();
        loosen(&name, &mut definition);
        tighten(&mut definition);
        kept.insert(name, definition);
    }
    json!({ "$ref": format!("#/definitions/{name}"), "definitions": kept })
}

/// Names of the definitions that a schema refers to.
fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str);
            found.extend(
                name.and_then(|name| name.strip_prefix("#/definitions/"))
                    .map(str::to_owned),
            );
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// `OpenAPI` 2 has no word for what is a string or a number.
fn loosen(name: &str, definition: &mut Value) {
    let either = match name {
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => json!(["string", "integer"]),
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => json!(["string", "number"]),
        _ => return,
    };
    definition["type"] = either;
}

/// Adds what every object has, whether its definition says so or not.
fn complete(schema: &mut Value) {
    for (key, kind) in [
        ("apiVersion", "string"),
        ("kind", "string"),
        ("metadata", "object"),
    ] {
        schema["properties"][key] = json!({ "type": kind });
    }
}

/// Makes fields that are not defined an error, as the API server does with `fieldValidation=Strict`.
fn tighten(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let is_open = map.contains_key("additionalProperties")
        || map.get("x-kubernetes-preserve-unknown-fields") == Some(&true.into());
    if map.contains_key("properties") && !is_open {
        map.insert("additionalProperties".to_owned(), false.into());
    }
    if map.get("x-kubernetes-int-or-string") == Some(&true.into()) {
        map.remove("type");
    }
    for key in ["properties", "additionalProperties", "items"] {
        match map.get_mut(key) {
            Some(Value::Object(children)) if key == "properties" => {
                children.values_mut().for_each(tighten);
            }
            Some(child) => tighten(child),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_what_it_refers_to_and_takes_no_field_that_is_not_defined() {
        let openapi = json!({
            "Pod": { "properties": { "spec": { "$ref": "#/definitions/Spec" }, "metadata": { "$ref": "#/definitions/Meta" } } },
            "Spec": { "properties": { "labels": { "type": "object", "additionalProperties": { "type": "string" } } } },
            "Meta": { "properties": {} },
            "Other": {},
        });
        let schema = standalone(openapi.as_object().unwrap(), "Pod");
        assert_eq!(schema["$ref"], "#/definitions/Pod");
        let names: Vec<_> = schema["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["Meta", "Pod", "Spec"]);
        let spec = &schema["definitions"]["Spec"];
        assert_eq!(spec["additionalProperties"], false);
        assert_eq!(
            spec["properties"]["labels"]["additionalProperties"]["type"],
            "string"
        );
    }

    #[test]
    fn fields_that_a_definition_leaves_open_stay_open() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {} },
                "port": { "type": "integer", "x-kubernetes-int-or-string": true },
            },
        });
        complete(&mut schema);
        tighten(&mut schema);
        assert_eq!(schema["additionalProperties"], false);
        for key in ["apiVersion", "kind", "metadata", "spec"] {
            assert!(schema["properties"].get(key).is_some(), "{key}");
        }
        assert!(
            schema["properties"]["metadata"]
                .get("additionalProperties")
                .is_none()
        );
        assert!(schema["properties"]["spec"].get("additionalProperties").is_none());
        assert!(schema["properties"]["port"].get("type").is_none());
    }
}
