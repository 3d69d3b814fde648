//! `kubectl gt validate`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use gastown_api::kinds::Kind;
use serde_json::{Value, json};

use crate::cluster::{Call, Cluster, DryRun, Resource};
use crate::error::{CommandError, Error};
use crate::output::{ListPrinter, OutputArgs};
use crate::session::Session;
use crate::validate::{Verdict, check, documents};
use crate::view::escape;

/// Flags of `validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders; - reads standard input.
    #[arg(
        short,
        long = "filename",
        value_name = "FILE",
        required_unless_present = "files"
    )]
    filename: Vec<PathBuf>,
    /// Same as -f.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also have the API server check the manifests in a dry run; =URL asks another server.
    // It is kubectl's flag of the same name, and fills the same field: both must have one type.
    #[arg(short, long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    server: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// One document and what became of it.
struct Checked {
    file: String,
    kind: String,
    name: String,
    problems: Option<Vec<String>>,
}

impl Args {
    /// Checks every document, and fails when one is invalid.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let cluster = if self.server.is_some() {
            Some(session.cluster().await?)
        } else {
            None
        };
        let mut all = Vec::new();
        for path in self.filename.iter().chain(&self.files) {
            for file in manifests(path)? {
                let name = file.to_string_lossy().into_owned();
                all.extend(look(&name, &read(&file)?, cluster.as_ref()).await?);
            }
        }
        if all.is_empty() {
            return Err(CommandError::Invalid(
                "there is no manifest in what was named; pass a file with -f".to_owned(),
            )
            .into());
        }
        self.print(session, &all)?;
        let bad = all
            .iter()
            .filter(|checked| checked.problems.as_ref().is_some_and(|p| !p.is_empty()))
            .count();
        if bad == 0 {
            Ok(())
        } else {
            let why = format!(
                "{bad} of {} manifests are invalid; correct the fields that are named",
                all.len()
            );
            Err(CommandError::Invalid(why).into())
        }
    }

    fn print(&self, session: &mut Session, all: &[Checked]) -> Result<(), Error> {
        let format = &self.output.output;
        if !format.is_for_people() {
            let mut printer = ListPrinter::start(&mut session.out, format);
            for checked in all {
                printer.element(checked.value(), &checked.title())?;
            }
            return Ok(printer.end()?);
        }
        for checked in all {
            let style = session.out.style;
            let title = escape(&checked.title());
            match &checked.problems {
                None => session
                    .reporter
                    .note(&format!("{title}: not checked: it is no kind of this operator")),
                Some(problems) if problems.is_empty() => {
                    session.out.line(&format!("{title}: {}", style.good("valid")))?;
                }
                Some(problems) => {
                    session.out.line(&format!("{title}: {}", style.bad("invalid")))?;
                    for problem in problems {
                        session.out.line(&format!("  {}", escape(problem)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Checked {
    fn title(&self) -> String {
        format!("{}: {}/{}", self.file, self.kind, self.name)
    }

    fn value(&self) -> Value {
        json!({
            "file": self.file,
            "kind": self.kind,
            "name": self.name,
            "checked": self.problems.is_some(),
            "valid": self.problems.as_ref().is_none_or(Vec::is_empty),
            "problems": self.problems.clone().unwrap_or_default(),
        })
    }
}

async fn look(file: &str, text: &str, cluster: Option<&Cluster>) -> Result<Vec<Checked>, Error> {
    let documents = match documents(text) {
        Ok(documents) => documents,
        Err(why) => {
            return Ok(vec![Checked {
                file: file.to_owned(),
                kind: "document".to_owned(),
                name: "?".to_owned(),
                problems: Some(vec![format!("it is no YAML: {why}")]),
            }]);
        }
    };
    let mut all = Vec::new();
    for object in documents {
        let text = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_owned();
        let mut problems = match check(&object) {
            Verdict::Valid => Some(Vec::new()),
            Verdict::Invalid(problems) => Some(problems.iter().map(ToString::to_string).collect()),
            Verdict::NotOurs => None,
        };
        if let (Some(cluster), Some(problems)) = (cluster, &mut problems) {
            problems.extend(ask(cluster, &object).await?);
        }
        all.push(Checked {
            file: file.to_owned(),
            kind: text(&object["kind"], "?"),
            name: text(&object["metadata"]["name"], "?"),
            problems,
        });
    }
    Ok(all)
}

/// What the cluster says of an object; only its verdict is a problem of the manifest.
async fn ask(cluster: &Cluster, object: &Value) -> Result<Option<String>, Error> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let resource = match Kind::named(kind) {
        Some(kind) => Resource::of(&kind),
        None if kind == "Secret" => Resource::SECRETS,
        None => return Ok(None),
    };
    let Some(name) = object["metadata"]["name"].as_str() else {
        return Ok(None);
    };
    let namespace = object["metadata"]["namespace"].as_str();
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    let within = namespace.map_or_else(
        || cluster.clone(),
        |namespace| cluster.within_namespace(namespace),
    );
    match within.apply(resource, name, object, true, DryRun::Server).await {
        Ok(_) => Ok(None),
        Err(
            error @ (Call::Invalid { .. } | Call::Skew { .. } | Call::NotFound { .. } | Call::NoName { .. }),
        ) => Ok(Some(format!("server: {error}"))),
        Err(error) => Err(error.into()),
    }
}

/// The manifests that `path` names: itself, or the YAML and JSON files of a folder.
fn manifests(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |source| CommandError::ReadFile {
        path: path.to_string_lossy().into_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        let known = file
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if known && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, CommandError> {
    let fail = |source| CommandError::ReadFile {
        path: path.to_string_lossy().into_owned(),
        source,
    };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(fail)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::answering;

    #[tokio::test]
    async fn an_empty_namespace_is_none() {
        for (namespace, path) in [("", "/namespaces/town/"), ("city", "/namespaces/city/")] {
            let cluster = answering(move |request| {
                let right = request.uri().path().contains(path);
                (if right { 200 } else { 500 }, json!({}))
            });
            let object = json!({"kind": "Polecat", "metadata": {"name": "a", "namespace": namespace}});
            assert!(matches!(ask(&cluster, &object).await, Ok(None)), "{namespace:?}");
        }
    }
}
