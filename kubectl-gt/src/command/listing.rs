//! Lists as `kubectl get` prints them: the server's own columns, page by page.

use serde_json::Value;

use crate::cluster::{Call, Cluster, Resource, Selection};
use crate::error::Error;
use crate::output::table::TablePrinter;
use crate::output::{Format, ListPrinter, name_of};
use crate::session::Session;

/// An error when `rig` neither exists nor has polecats: without it, a name that was mistyped looks like a rig with nothing to
/// do. Polecats may name a rig that does not exist.
pub async fn check_rig(cluster: &Cluster, rig: &str, polecats: &Selection) -> Result<(), Error> {
    match cluster.find(Resource::RIGS, rig).await {
        Ok(None) if cluster.list(Resource::POLECATS, polecats).await?.is_empty() => {
            cluster.get_named(Resource::RIGS, rig).await?;
            Ok(())
        }
        // Who may not look at rigs may still list polecats.
        Ok(_) | Err(Call::Forbidden { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is said in place of an empty list of polecats: where was looked, and where else to look.
pub fn no_polecats(namespace: &str, selection: &Selection, rig: Option<&str>) -> String {
    let of = rig.map_or_else(String::new, |rig| format!(" of rig {rig:?}"));
    let dispatch = "dispatch one: kubectl gt sling BEAD RIG";
    if selection.all_namespaces {
        return format!("no polecats{of} in any namespace; {dispatch}");
    }
    format!("no polecats{of} in namespace {namespace:?}; {dispatch}, or look with -A or -n")
}

/// Prints the objects of a kind; `nothing` is said to a person when there are none.
pub async fn list(
    session: &mut Session,
    cluster: &Cluster,
    resource: Resource,
    selection: &Selection,
    format: &Format,
    nothing: &str,
) -> Result<(), Error> {
    if format.is_for_people() {
        table(
            session,
            cluster,
            resource,
            selection,
            matches!(format, Format::Wide),
            nothing,
        )
        .await
    } else {
        let mut printer = ListPrinter::start(&mut session.out, format);
        cluster
            .each_page(resource, selection, |page| {
                for object in page.items {
                    let name = name_of(resource, &object);
                    printer.element(object, &name)?;
                }
                printer.page().map_err(Error::from)
            })
            .await?;
        Ok(printer.end()?)
    }
}

async fn table(
    session: &mut Session,
    cluster: &Cluster,
    resource: Resource,
    selection: &Selection,
    wide: bool,
    nothing: &str,
) -> Result<(), Error> {
    let mut printer: Option<TablePrinter<'_>> = None;
    let mut shown = Vec::new();
    let mut out = Some(&mut session.out);
    cluster
        .each_table(resource, selection, |page| {
            if let Some(out) = out.take() {
                let columns = page.column_definitions.iter().enumerate();
                shown = columns
                    .filter(|(_, column)| wide || column.priority == 0)
                    .map(|(at, _)| at)
                    .collect();
                let mut names: Vec<&str> = shown
                    .iter()
                    .map(|at| page.column_definitions[*at].name.as_str())
                    .collect();
                if selection.all_namespaces {
                    names.insert(0, "namespace");
                }
                printer = Some(TablePrinter::start(out, &names));
            }
            let rows: Vec<Vec<String>> = page
                .rows
                .iter()
                .map(|row| {
                    let namespace = row.object["metadata"]["namespace"].as_str();
                    let namespace = selection
                        .all_namespaces
                        .then(|| namespace.unwrap_or_default().to_owned());
                    let cells = shown
                        .iter()
                        .map(|at| row.cells.get(*at).map_or_else(String::new, cell));
                    namespace.into_iter().chain(cells).collect()
                })
                .collect();
            match &mut printer {
                Some(printer) => printer.rows(&rows).map_err(Error::from),
                None => Ok(()),
            }
        })
        .await?;
    if printer.is_none_or(|printer| printer.is_empty()) {
        session.reporter.note(nothing);
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::{answering, refusal};
    use crate::exit::Exit;

    /// The exit code for a rig that the API server answers with `code`, where polecats name it or none does.
    async fn exit(code: u16, polecats: bool) -> Option<Exit> {
        let cluster = answering(move |request| match request.uri().path() {
            path if path.ends_with("/rigs/demo") && code == 200 => (200, json!({})),
            path if path.ends_with("/rigs/demo") => {
                refusal(code, if code == 403 { "Forbidden" } else { "NotFound" }, "demo")
            }
            _ if polecats => (200, json!({"items": [{"metadata": {"name": "a"}}]})),
            _ => (200, json!({"items": []})),
        });
        let checked = check_rig(&cluster, "demo", &Selection::default()).await;
        checked.err().map(|error| error.exit())
    }

    #[test]
    fn an_empty_list_says_where_else_to_look_if_there_is_an_elsewhere() {
        let words = |all_namespaces: bool, rig: Option<&str>| {
            let selection = Selection {
                fields: None,
                all_namespaces,
            };
            no_polecats("town", &selection, rig)
        };
        let here = words(false, None);
        assert!(here.starts_with("no polecats in namespace \"town\";"), "{here}");
        assert!(here.ends_with("or look with -A or -n"), "{here}");
        let all = words(true, Some("demo"));
        assert!(
            all.starts_with("no polecats of rig \"demo\" in any namespace;"),
            "{all}"
        );
        assert!(!all.contains("-A"), "{all}");
    }

    #[tokio::test]
    async fn only_a_rig_that_nothing_knows_of_is_not_found() {
        assert_eq!(exit(404, false).await, Some(Exit::NotFound));
        assert_eq!(exit(404, true).await, None, "polecats may stand alone");
        assert_eq!(exit(200, false).await, None, "a rig without polecats");
        assert_eq!(exit(403, false).await, None, "who may not look cannot know");
    }
}
