//! A credential in an environment variable, where no other process can read it.

use crate::error::CommandError;

/// The value of the variable `name`, without the white space around it. `holds` says what else than its name it is to hold.
pub fn value(
    name: &str,
    holds: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<String, CommandError> {
    let value = environment(name);
    let found = if value.is_some() { "empty" } else { "not set" };
    let value = value.unwrap_or_default();
    let value = value.trim();
    if value.is_empty() {
        let with = if name == holds {
            String::new()
        } else {
            format!(" with {holds}")
        };
        return Err(CommandError::Invalid(format!(
            "the environment variable {name:?} is {found}; export it first{with}"
        )));
    }
    Ok(value.to_owned())
}

/// The value of a variable in the environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_is_told_from_one_that_is_empty() {
        let of = |name: &str, found: Option<&str>| {
            let value = value(name, "ANTHROPIC_API_KEY", |_| found.map(str::to_owned));
            value.map_err(|error| error.to_string())
        };
        assert_eq!(
            of("ANTHROPIC_API_KEY", None).unwrap_err(),
            "the environment variable \"ANTHROPIC_API_KEY\" is not set; export it first"
        );
        for empty in ["", " \n"] {
            assert_eq!(
                of("MY_KEY", Some(empty)).unwrap_err(),
                "the environment variable \"MY_KEY\" is empty; export it first with ANTHROPIC_API_KEY"
            );
        }
        assert_eq!(of("MY_KEY", Some("key\n")).as_deref(), Ok("key"));
    }
}
