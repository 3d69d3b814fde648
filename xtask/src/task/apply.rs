//! `cargo xtask deploy`: the chart of this checkout onto the cluster of the current context.

use anyhow::{Context as _, Result};

use crate::process::Command;
use crate::tools::{self, Tool};
use crate::{machine, workspace};

const CHART: &str = "helm/gastown-operator";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the custom resource definitions.
    #[arg(long, conflicts_with = "image")]
    crds: bool,
    /// The operator's image, `REPOSITORY:TAG` or `REPOSITORY@sha256:…`; by default the chart's.
    #[arg(long)]
    image: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    if args.crds {
        let kubectl = machine::find("kubectl").context("kubectl is not on the PATH")?;
        let apply = Command::new(kubectl).args(["apply", "--server-side", "--filename"]);
        return apply.arg(workspace::root().join(CHART).join("crds")).run();
    }
    let values = args.image.as_deref().map(values).transpose()?;
    let helm = match machine::find("helm") {
        Some(helm) => helm,
        None => tools::ensure([Tool::Helm]).map(|[helm]| helm)?,
    };
    let chart = workspace::root().join(CHART);
    let upgrade = Command::new(helm).args(["upgrade", "--install", "gastown-operator"]);
    upgrade
        .arg(chart)
        .args(["--namespace", "gastown-system", "--create-namespace"])
        .args(values.into_iter().flatten())
        .run()
}

/// The chart's values for an image.
fn values(image: &str) -> Result<[String; 4]> {
    let (repository, key, value) = match image.split_once('@') {
        Some((name, digest)) => (name, "digest", digest),
        None => image
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map(|(name, tag)| (name, "tag", tag))
            .with_context(|| format!("image {image:?} has neither tag nor digest; add one"))?,
    };
    let set = || "--set-string".to_owned();
    Ok([
        set(),
        format!("image.repository={repository}"),
        set(),
        format!("image.{key}={value}"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_becomes_values_of_the_chart() {
        let of = |image| values(image).map(|[_, repository, _, rest]| (repository, rest));
        let named = |name: &str, rest: &str| (format!("image.repository={name}"), rest.to_owned());
        assert_eq!(
            of("ghcr.io/boshu2/gastown-operator:0.4.1").unwrap(),
            named("ghcr.io/boshu2/gastown-operator", "image.tag=0.4.1")
        );
        assert_eq!(
            of("localhost:5000/a@sha256:b").unwrap(),
            named("localhost:5000/a", "image.digest=sha256:b")
        );
        assert!(of("localhost:5000/a").is_err());
    }
}
