//! The value of `-o`.

use std::str::FromStr;

use super::JsonPath;

/// How a result is printed.
#[derive(Clone, Debug)]
pub enum Format {
    /// For people.
    Table,
    /// For people with wide terminals.
    Wide,
    /// For programs; a list is an array.
    Json,
    /// For `kubectl apply`; a list is a stream of documents.
    Yaml,
    /// `kind.group/name`.
    Name,
    /// A template of kubectl.
    JsonPath(JsonPath),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" | "" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            other => match other.strip_prefix("jsonpath=") {
                Some(template) => template.parse().map(Self::JsonPath),
                None => Err(format!(
                    "{text:?} is no format; choose table, wide, json, yaml, name or jsonpath=TEMPLATE"
                )),
            },
        }
    }
}

impl Format {
    /// Whether a person is to read it.
    pub fn is_for_people(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
