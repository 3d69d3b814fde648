//! The output of commands: data on standard output, in the format of `-o`.

pub mod detail;
pub mod fold;
mod format;
mod jsonpath;
pub mod style;
pub mod table;

use std::io::{self, IsTerminal as _, Write};

use clap::Args;
use gastown_api::yaml;
use serde_json::{Value, json};

pub use self::format::Format;
pub use self::jsonpath::JsonPath;
use self::style::Style;
use crate::cluster::Resource;
use crate::exit::Exit;

/// The flag `-o`.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Output format: table, wide, json, yaml, name or jsonpath=TEMPLATE.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    pub output: Format,
}

/// Why a result could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum Output {
    /// Standard output cannot be written.
    #[error("failed to write the result: {0}; free space, or write somewhere else")]
    Write(#[from] io::Error),
    /// An object cannot be put into YAML.
    #[error("failed to write YAML: {0}; use -o json")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// The template does not fit the result.
    #[error("failed to evaluate the jsonpath {template:?}: {why}; compare it with -o json")]
    Evaluate {
        /// The template.
        template: String,
        /// The error.
        why: String,
    },
}

impl Output {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            _ => Exit::Failure,
        }
    }
}

/// Standard output.
pub struct Out {
    stream: Box<dyn Write>,
    /// How text is styled.
    pub style: Style,
    /// Whether standard output is a terminal.
    pub is_terminal: bool,
    /// The number of columns of the terminal.
    pub width: Option<usize>,
}

impl Out {
    /// The process's own; coloured only on a terminal.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self {
            stream: Box::new(io::LineWriter::new(stdout)),
            style: Style::on(is_terminal),
            width: terminal_size::terminal_size()
                .filter(|_| is_terminal)
                .map(|(width, _)| usize::from(width.0)),
            is_terminal,
        }
    }

    /// Somewhere else, without colour.
    #[cfg(test)]
    pub fn into(stream: Box<dyn Write>) -> Self {
        Self {
            stream,
            style: Style::on(false),
            is_terminal: false,
            width: None,
        }
    }

    /// Writes a line.
    pub fn line(&mut self, text: &str) -> Result<(), Output> {
        self.stream.write_all(text.as_bytes())?;
        self.stream.write_all(b"\n")?;
        Ok(())
    }

    /// Writes as it is.
    pub fn text(&mut self, text: &str) -> Result<(), Output> {
        self.stream.write_all(text.as_bytes())?;
        self.stream.flush()?;
        Ok(())
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Output> {
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        Ok(())
    }

    /// One result. `human` writes what a person reads; `name` is what `-o name` prints.
    pub fn object(
        &mut self,
        format: &Format,
        value: &Value,
        name: &str,
        human: impl FnOnce(&mut Self, bool) -> Result<(), Output>,
    ) -> Result<(), Output> {
        match format {
            Format::Table => human(self, false),
            Format::Wide => human(self, true),
            Format::Json => {
                let text = serde_json::to_string_pretty(&clean(value.clone())).unwrap_or_default();
                self.line(&text)
            }
            Format::Yaml => {
                let yaml = yaml::to_string(&clean(value.clone()))?;
                self.text(&yaml)
            }
            Format::Name => self.line(name),
            Format::JsonPath(path) => {
                let text = path.evaluate(value)?;
                self.line(&text)
            }
        }
    }
}

/// What nobody reads in a terminal: kubectl leaves it out too.
fn clean(mut value: Value) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value
}

/// Prints a list page by page, so that output starts before the last page is read.
pub struct ListPrinter<'a> {
    out: &'a mut Out,
    format: &'a Format,
    count: usize,
    /// Output that is not written yet.
    text: String,
    /// Elements that the template has not processed yet.
    kept: Vec<Value>,
    /// Results of a template that processes each element separately.
    found: Vec<String>,
}

impl<'a> ListPrinter<'a> {
    /// Starts a list; for `table` and `wide` the table printer is used instead.
    pub fn start(out: &'a mut Out, format: &'a Format) -> Self {
        Self {
            out,
            format,
            count: 0,
            text: String::new(),
            kept: Vec::new(),
            found: Vec::new(),
        }
    }

    /// One more element; `name` is what `-o name` prints.
    pub fn element(&mut self, value: Value, name: &str) -> Result<(), Output> {
        match self.format {
            Format::Json => {
                let text = serde_json::to_string_pretty(&clean(value)).unwrap_or_default();
                let before = if self.count == 0 { "[\n  " } else { ",\n  " };
                self.text.push_str(before);
                self.text.push_str(&text.replace('\n', "\n  "));
            }
            Format::Yaml => {
                // Each with its separator, so that several make a stream.
                self.text.push_str("---\n");
                self.text.push_str(&yaml::to_string(&clean(value))?);
            }
            Format::Name => {
                self.text.push_str(name);
                self.text.push('\n');
            }
            Format::JsonPath(_) => self.kept.push(clean(value)),
            Format::Table | Format::Wide => {}
        }
        self.count += 1;
        Ok(())
    }

    /// Ends a page: its elements are written, and forgotten.
    pub fn page(&mut self) -> Result<(), Output> {
        if let Format::JsonPath(path) = self.format
            && path.is_of_each()
        {
            let list = list_of(std::mem::take(&mut self.kept));
            self.found.extend(path.find(&list)?);
        }
        self.out.text(&self.text)?;
        self.text.clear();
        Ok(())
    }

    /// Ends the list.
    pub fn end(mut self) -> Result<(), Output> {
        self.page()?;
        match self.format {
            Format::Json if self.count == 0 => self.out.line("[]"),
            Format::Json => self.out.line("\n]"),
            Format::JsonPath(path) if path.is_of_each() => {
                let text = path.write(&self.found);
                self.out.line(&text)
            }
            Format::JsonPath(path) => {
                let text = path.evaluate(&list_of(self.kept))?;
                self.out.line(&text)
            }
            _ => Ok(()),
        }
    }
}

/// A list in kubectl's form, for templates.
fn list_of(items: Vec<Value>) -> Value {
    let mut list = json!({"apiVersion": "v1", "kind": "List"});
    list["items"] = Value::Array(items);
    list
}

/// `polecat.gastown.gastown.io/furiosa`.
pub fn name_of(resource: Resource, object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{}/{name}", resource.qualified())
}

/// Standard output that a test can read.
#[cfg(test)]
pub mod testing {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    /// The output.
    #[derive(Clone, Default)]
    pub struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        /// The text so far.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Shared;
    use super::*;

    fn print(format: &str, names: &[&str]) -> String {
        let shared = Shared::default();
        let mut out = Out::into(Box::new(shared.clone()));
        let format = format.parse().unwrap();
        let mut list = ListPrinter::start(&mut out, &format);
        for name in names {
            let object = json!({"kind": "Polecat", "metadata": {"name": name, "managedFields": []}});
            let name = name_of(Resource::POLECATS, &object);
            list.element(object, &name).unwrap();
        }
        list.end().unwrap();
        shared.text()
    }

    #[test]
    fn a_list_in_json_is_an_array_also_when_empty() {
        let value: Value = serde_json::from_str(&print("json", &["a", "b"])).unwrap();
        assert_eq!(value[1]["metadata"], json!({"name": "b"}));
        assert_eq!(print("json", &[]), "[]\n");
    }

    #[test]
    fn a_list_in_yaml_is_a_stream_of_documents() {
        assert_eq!(
            print("yaml", &["a", "b"]),
            "---\nkind: Polecat\nmetadata:\n  name: a\n---\nkind: Polecat\nmetadata:\n  name: b\n"
        );
    }

    #[test]
    fn names_and_paths_are_as_kubectl_prints_them() {
        assert_eq!(print("name", &["a"]), "polecat.gastown.gastown.io/a\n");
        assert_eq!(print("jsonpath={.items[*].metadata.name}", &["a", "b"]), "a b\n");
    }
}
