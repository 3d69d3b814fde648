//! Builds a release again from its commit, as somebody else would, and compares every byte.
//!
//! The folder, the umask, the time zone and the hour differ, and no layer, library or program that was made before is used;
//! downloads are, each by its hash. `CARGO_HOME` must have the same path: AWS-LC's C code names its source files in messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use xtask_image::process::Command;
use xtask_image::{progress, workspace};

use crate::bundle;
use crate::explain::{self, Difference};
use crate::folder;
use crate::keys::{Signer, Verifier};
use crate::layout::digest;
use crate::statement::{self, Subject};

/// What a second build of the same bytes proves: <https://slsa.dev/spec/v1.2/verification_summary>.
const VERIFICATION_SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// By this level the summary says that another builder made the same bytes.
const REPRODUCED: &str = "SLSA_BUILD_REPRODUCED";

/// Where the summary and the public key of whoever built again are, in the release's folder.
const SUMMARY: &str = "rebuilt.sigstore.json";
const PUBLIC: &str = "rebuilt.pub";

/// The folders of a release that a second build must make again, byte for byte.
const COMPARED: [&str; 5] = ["programs", "boms", "unsigned", "artefacts", "files"];

/// What was released, as its signed provenance says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Released {
    commit: String,
    is_dev: bool,
    /// Edition and architecture.
    targets: Vec<(String, String)>,
}

/// Builds the release in `folder` again, compares, and signs what was found with a key that is not that of the release.
pub fn rebuild(folder: &Path, verifier: &Verifier, key: &Path) -> Result<Vec<String>> {
    let signer = Signer::read(key)?;
    let released_by = fs_err::read_to_string(folder.join("cosign.pub"))?;
    ensure!(
        signer.public() != released_by,
        "{key:?} is the key of the release; whoever builds again signs with a key of their own"
    );
    folder::everything(folder, verifier)?;
    let released = Released::read(folder, verifier)?;
    let place = tempfile::tempdir().context("failed to make a folder to build in")?;
    let again = released.build(place.path())?;
    let differences = compare(folder, &again)?;
    if !differences.is_empty() {
        // For whoever wants to look at them with other tools.
        let kept = place.keep();
        let lines: Vec<_> = differences.iter().map(ToString::to_string).collect();
        bail!("the second build, in {kept:?}, differs:\n{}", lines.join("\n"));
    }
    let subjects = subjects(folder)?;
    let summary = summary(
        &subjects,
        &digest(released_by.as_bytes()),
        &jiff::Timestamp::now().to_string(),
    );
    let signature = bundle::of_statement(&signer, &summary)?;
    workspace::write_whole(&folder.join(SUMMARY), &serde_json::to_vec(&signature)?)?;
    workspace::write_whole(&folder.join(PUBLIC), signer.public().as_bytes())?;
    Ok(subjects
        .iter()
        .map(|one| format!("{}@{} reproduced", one.name, one.digest))
        .collect())
}

/// Fails unless the folder has a summary, signed with the key `by`, that everything in it was reproduced.
pub fn verify(folder: &Path, by: &Verifier) -> Result<String> {
    let file = folder.join(SUMMARY);
    let signed =
        serde_json::from_slice(&fs_err::read(&file)?).with_context(|| format!("{file:?} is no JSON"))?;
    let summary = bundle::verify_statement(by, &signed)?;
    let predicate = &summary["predicate"];
    let levels = predicate["verifiedLevels"].as_array().into_iter().flatten();
    ensure!(
        summary["predicateType"] == VERIFICATION_SUMMARY
            && predicate["verificationResult"] == "PASSED"
            && levels.into_iter().any(|level| level == REPRODUCED),
        "{file:?} does not say that the release was reproduced"
    );
    let subjects = subjects(folder)?;
    for subject in &subjects {
        ensure!(
            statement::is_about(&summary, &subject.digest),
            "the summary is not about {} {}",
            subject.name,
            subject.digest
        );
    }
    Ok(format!(
        "{} artefacts reproduced by another builder",
        subjects.len()
    ))
}

impl Released {
    /// Reads it from the signed provenance of the plugin, of which each target has one.
    fn read(folder: &Path, verifier: &Verifier) -> Result<Self> {
        let mut released: Option<Self> = None;
        for name in folder::names(&folder.join("signatures"))? {
            if !name.ends_with(".provenance.sigstore.json") {
                continue;
            }
            let signed = serde_json::from_slice(&fs_err::read(folder.join("signatures").join(&name))?)?;
            let provenance = bundle::verify_statement(verifier, &signed).with_context(|| name.clone())?;
            let found = Self::of(&provenance).with_context(|| name.clone())?;
            match &mut released {
                None => released = Some(found),
                Some(all) => {
                    ensure!(
                        all.commit == found.commit,
                        "{name} is from another commit than the other files"
                    );
                    all.targets.extend(found.targets);
                }
            }
        }
        let mut released = released.context("the release has no provenance of a file")?;
        released.targets.sort();
        released.targets.dedup();
        Ok(released)
    }

    fn of(provenance: &Value) -> Result<Self> {
        let definition = &provenance["predicate"]["buildDefinition"];
        let parameters = &definition["externalParameters"];
        ensure!(
            parameters["uncommittedChanges"] != true,
            "it was built from a checkout with changes that are in no commit: nobody else can build it"
        );
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let target = |target: &Value| Some((text(&target["edition"])?, text(&target["architecture"])?));
        let targets = parameters["targets"].as_array().into_iter().flatten().map(target);
        Ok(Self {
            commit: text(&definition["resolvedDependencies"][0]["digest"]["gitCommit"])
                .context("the provenance names no commit")?,
            is_dev: parameters["profile"] == "dev",
            targets: targets
                .collect::<Option<_>>()
                .context("the provenance names no targets")?,
        })
    }

    /// Builds below `place`, and returns the folder with what was made.
    fn build(&self, place: &Path) -> Result<PathBuf> {
        // A path of another length, with what an unquoted name would stumble over.
        let source = place.join("built again, elsewhere");
        let git = |arguments: &[&str]| Command::new("git").args(arguments);
        git(&["clone", "--quiet", "--no-checkout"])
            .arg(workspace::root())
            .arg(&source)
            .output()?;
        git(&["checkout", "--quiet", "--detach", &self.commit])
            .current_dir(&source)
            .output()?;
        let made = place.join("made");
        let build = self.command(&source, &made, &downloads(place)?);
        progress::step(
            format!("build commit {} again in {source:?}", self.commit),
            || build.run(),
        )?;
        Ok(made)
    }

    fn command(&self, source: &Path, made: &Path, cache: &Path) -> Command {
        // Files that only their owner may read, and a day that is tomorrow.
        let shell = Command::new("sh").args(["-c", r#"umask 077 && exec "$@""#, "sh"]);
        let mut build = shell
            .args(["cargo", "xtask", "release", "--out"])
            .arg(made)
            .args(["--only", "files", "--only", "indexes", "--only", "artefacts"])
            .args(self.is_dev.then_some("--dev"))
            .env("TZ", "Pacific/Kiritimati")
            .env("XDG_CACHE_HOME", cache)
            .env("CARGO_TARGET_DIR", source.join("target"))
            .current_dir(source);
        let mut targets = self.targets.clone();
        for (at, name) in [(0, "--edition"), (1, "--arch")] {
            targets.sort_by_key(|(edition, architecture)| {
                if at == 0 {
                    edition.clone()
                } else {
                    architecture.clone()
                }
            });
            let mut values: Vec<_> = targets
                .iter()
                .map(|(one, other)| if at == 0 { one } else { other })
                .collect();
            values.dedup();
            build = values
                .into_iter()
                .fold(build, |build, value| build.args([name, value]));
        }
        build
    }
}

/// A cache with the machine's downloads, and nothing that was made of them.
fn downloads(place: &Path) -> Result<PathBuf> {
    let cache = place.join("cache/gastown-operator");
    fs_err::create_dir_all(&cache)?;
    for name in ["debs", "npm", "apt", "tools"] {
        let there = workspace::cache()?.join(name);
        fs_err::create_dir_all(&there)?;
        std::os::unix::fs::symlink(&there, cache.join(name))
            .with_context(|| format!("failed to link {name:?}"))?;
    }
    Ok(place.join("cache"))
}

/// Compares the files of two releases.
fn compare(one: &Path, other: &Path) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for folder in COMPARED {
        let (left, right) = (files(one, folder)?, files(other, folder)?);
        for name in left
            .keys()
            .chain(right.keys().filter(|name| !left.contains_key(*name)))
        {
            differences.extend(match (left.get(name), right.get(name)) {
                (Some(_), None) => Some(Difference::new(name, "was not made again".to_owned())),
                (None, _) => Some(Difference::new(name, "was made only the second time".to_owned())),
                (Some(one), Some(other)) => explain::files(name, one, other)?,
            });
        }
    }
    Ok(differences)
}

/// The files below a folder of a release, by their paths below the release.
fn files(release: &Path, folder: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![release.join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(release).context("a file is below its folder")?;
                found.insert(name.display().to_string(), path);
            }
        }
    }
    Ok(found)
}

/// Everything that ships: indexes and images, the other artefacts, files.
fn subjects(folder: &Path) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for shipped in folder::shipped(folder)? {
        let digests = shipped.platforms.iter().map(|platform| &platform.digest);
        subjects.extend(
            std::iter::once(&shipped.digest)
                .chain(digests)
                .map(|digest| Subject {
                    name: shipped.repository.clone(),
                    digest: digest.clone(),
                }),
        );
    }
    for name in folder::names(&folder.join("files"))? {
        let digest = digest(&fs_err::read(folder.join("files").join(&name))?);
        subjects.push(Subject { name, digest });
    }
    Ok(subjects)
}

fn summary(subjects: &[Subject], policy: &str, now: &str) -> Value {
    let named: Vec<_> = subjects
        .iter()
        .map(|one| json!({ "name": one.name, "digest": { "sha256": one.digest.trim_start_matches("sha256:") } }))
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": named,
        "predicateType": VERIFICATION_SUMMARY,
        "predicate": {
            "verifier": { "id": "https://github.com/boshu2/gastown-operator/blob/main/docs/release.md#rebuilding" },
            "timeVerified": now,
            "resourceUri": "https://github.com/boshu2/gastown-operator/releases",
            // What decides is that the bytes are equal, and that the first builder signed them with this key.
            "policy": {
                "uri": "https://github.com/boshu2/gastown-operator/blob/main/docs/release.md#rebuilding",
                "digest": { "sha256": policy.trim_start_matches("sha256:") },
            },
            "verificationResult": "PASSED",
            "verifiedLevels": ["SLSA_BUILD_LEVEL_1", REPRODUCED],
            "slsaVersion": "1.2",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Shipped;

    fn provenance(parameters: &Value) -> Value {
        json!({ "predicate": { "buildDefinition": {
            "externalParameters": parameters,
            "resolvedDependencies": [{ "digest": { "gitCommit": "c0ffee" } }],
        } } })
    }

    #[test]
    fn what_to_build_is_what_the_provenance_says() {
        let targets = json!([{ "edition": "fips", "architecture": "arm64" }, { "edition": "community", "architecture": "arm64" }]);
        let released =
            Released::of(&provenance(&json!({ "profile": "release", "targets": targets }))).unwrap();
        let command = released
            .command(Path::new("/s"), Path::new("/m"), Path::new("/c"))
            .to_string();
        assert!(command.contains("umask 077"), "{command}");
        assert!(
            command.ends_with("--out /m --only files --only indexes --only artefacts --edition community --edition fips --arch arm64"),
            "{command}"
        );
        let dirty = json!({ "uncommittedChanges": true, "targets": targets });
        assert!(
            Released::of(&provenance(&dirty))
                .unwrap_err()
                .to_string()
                .contains("in no commit")
        );
        assert!(Released::of(&provenance(&json!({ "targets": [{}] }))).is_err());
    }

    /// The folder of a release with one file and one image.
    fn release(folder: &Path, content: &str) {
        for name in COMPARED {
            fs_err::create_dir_all(folder.join(name)).unwrap();
        }
        fs_err::write(folder.join("files/kubectl-gt"), content).unwrap();
        let shipped = |digest: &str| Shipped {
            repository: "x/operator".to_owned(),
            name: "operator".to_owned(),
            tags: vec!["1".to_owned()],
            edition: None,
            digest: digest.to_owned(),
            platforms: Vec::new(),
        };
        fs_err::write(
            folder.join("images.json"),
            serde_json::to_vec(&[shipped("sha256:ab")]).unwrap(),
        )
        .unwrap();
        fs_err::write(folder.join("artefacts.json"), "[]").unwrap();
    }

    #[test]
    fn a_byte_a_missing_file_and_another_one_are_differences() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        release(one.path(), "shiny");
        release(other.path(), "shiny");
        assert_eq!(compare(one.path(), other.path()).unwrap().len(), 0);
        release(other.path(), "shinY");
        fs_err::write(one.path().join("boms/a"), "").unwrap();
        fs_err::write(other.path().join("unsigned/b"), "").unwrap();
        let found: Vec<_> = compare(one.path(), other.path())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "boms/a: was not made again",
                "unsigned/b: was made only the second time",
                "files/kubectl-gt: byte 4 of 5 is 0x79, then 0x59",
            ]
        );
    }

    #[test]
    fn a_summary_is_of_everything_and_signed_by_whoever_built_again() {
        let folder = tempfile::tempdir().unwrap();
        release(folder.path(), "shiny");
        let (signer, other) = (Signer::fresh(), Signer::fresh());
        let of = |signer: &Signer| Verifier::from_pem(signer.public()).unwrap();
        let write = |summary: &Value| {
            let signature = bundle::of_statement(&signer, summary).unwrap();
            fs_err::write(folder.path().join(SUMMARY), signature.to_string()).unwrap();
        };
        let good = summary(&subjects(folder.path()).unwrap(), "sha256:cd", "now");
        write(&good);
        assert_eq!(
            verify(folder.path(), &of(&signer)).unwrap(),
            "2 artefacts reproduced by another builder"
        );
        assert!(verify(folder.path(), &of(&other)).is_err());
        let mut failed = good.clone();
        failed["predicate"]["verificationResult"] = "FAILED".into();
        write(&failed);
        assert!(
            verify(folder.path(), &of(&signer))
                .unwrap_err()
                .to_string()
                .contains("does not say")
        );
        write(&summary(
            &subjects(folder.path()).unwrap()[..1],
            "sha256:cd",
            "now",
        ));
        let error = verify(folder.path(), &of(&signer)).unwrap_err().to_string();
        assert!(error.contains("not about kubectl-gt"), "{error}");
    }
}
