//! The programs of others that are run here, a cluster's above all, built from pinned Go modules into the machine's cache.
//!
//! Each module stands in `tests/cluster/<module>` or `release/tools/<module>` with a `go.sum`, so what is fetched is verified. A build goes to
//! a temporary folder and is renamed when whole: a folder with its final name can be trusted.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sha2::{Digest as _, Sha256};

use crate::process::Command;
use crate::{progress, workspace};

/// A program that the cluster, those who use it, or the release need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    KubeProxy,
    Kubelet,
    Kubeadm,
    Kubectl,
    Etcd,
    Coredns,
    Kind,
    Helm,
    Cosign,
    /// The major version before, whose layout of signatures oc-mirror reads.
    Cosign2,
    /// A registry without the referrers API.
    Registry,
    /// A registry with it.
    Referrers,
    Oras,
    Kyverno,
    Kubeconform,
    Actionlint,
    Pause,
}

/// What a tool is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// All tools of one Go module.
    Go(Module),
    /// The C program of the Kubernetes module that holds a pod's namespaces open.
    Pause,
}

/// A Go module that pins tools, under `tests/cluster`, or `release/tools` for those of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    Kubernetes,
    Coredns,
    Kind,
    Helm,
    Cosign,
    Cosign2,
    Distribution,
    Referrers,
    Oras,
    Kyverno,
    /// Only its sources are used: they have the definition of its policies.
    PolicyController,
    Kubeconform,
    Actionlint,
}

impl Tool {
    /// What it is built from, and the name of the built file.
    fn built(self) -> (Source, &'static str) {
        use Module as Of;
        let (module, file) = match self {
            Self::KubeApiserver => (Of::Kubernetes, "kube-apiserver"),
            Self::KubeControllerManager => (Of::Kubernetes, "kube-controller-manager"),
            Self::KubeScheduler => (Of::Kubernetes, "kube-scheduler"),
            Self::KubeProxy => (Of::Kubernetes, "kube-proxy"),
            Self::Kubelet => (Of::Kubernetes, "kubelet"),
            Self::Kubeadm => (Of::Kubernetes, "kubeadm"),
            Self::Kubectl => (Of::Kubernetes, "kubectl"),
            // etcd's main package is called `server`.
            Self::Etcd => (Of::Kubernetes, "server"),
            Self::Coredns => (Of::Coredns, "coredns"),
            Self::Kind => (Of::Kind, "kind"),
            Self::Helm => (Of::Helm, "helm"),
            Self::Cosign => (Of::Cosign, "cosign"),
            Self::Cosign2 => (Of::Cosign2, "cosign"),
            Self::Registry => (Of::Distribution, "registry"),
            Self::Referrers => (Of::Referrers, "referrers"),
            Self::Oras => (Of::Oras, "oras"),
            Self::Kyverno => (Of::Kyverno, "kubectl-kyverno"),
            Self::Kubeconform => (Of::Kubeconform, "kubeconform"),
            Self::Actionlint => (Of::Actionlint, "actionlint"),
            Self::Pause => return (Source::Pause, "pause"),
        };
        (Source::Go(module), file)
    }
}

impl Module {
    /// The folder of its `go.mod`, and the Go module whose version is the version of its tools.
    fn pinned(self) -> (&'static str, &'static str) {
        match self {
            Self::Kubernetes => ("tests/cluster/kubernetes", "k8s.io/kubernetes"),
            Self::Coredns => ("tests/cluster/coredns", "github.com/coredns/coredns"),
            Self::Kind => ("tests/cluster/kind", "sigs.k8s.io/kind"),
            Self::Helm => ("tests/cluster/helm", "helm.sh/helm/v4"),
            Self::Cosign => ("release/tools/cosign", "github.com/sigstore/cosign/v3"),
            Self::Cosign2 => ("release/tools/cosign2", "github.com/sigstore/cosign/v2"),
            Self::Distribution => (
                "release/tools/distribution",
                "github.com/distribution/distribution/v3",
            ),
            Self::Referrers => (
                "release/tools/referrers",
                "github.com/google/go-containerregistry",
            ),
            Self::Oras => ("release/tools/oras", "oras.land/oras"),
            Self::Kyverno => ("release/tools/kyverno", "github.com/kyverno/kyverno"),
            Self::PolicyController => (
                "release/tools/policy-controller",
                "github.com/sigstore/policy-controller",
            ),
            Self::Kubeconform => ("release/tools/kubeconform", "github.com/yannh/kubeconform"),
            Self::Actionlint => ("release/tools/actionlint", "github.com/rhysd/actionlint"),
        }
    }

    fn name(self) -> &'static str {
        let (folder, _) = self.pinned();
        folder.rsplit('/').next().unwrap_or(folder)
    }

    fn main_dependency(self) -> &'static str {
        self.pinned().1
    }

    /// What `go build` is asked for: the tools that the `go.mod` lists, or a program of ours.
    fn packages(self) -> &'static str {
        if self.is_ours() { "." } else { "tool" }
    }

    /// Whether the folder has a program, `main.go`, beside the pins of what it uses.
    fn is_ours(self) -> bool {
        matches!(self, Self::Coredns | Self::Referrers)
    }

    fn folder(self) -> PathBuf {
        workspace::root().join(self.pinned().0)
    }

    fn manifest(self) -> Result<String> {
        Ok(fs_err::read_to_string(self.folder().join("go.mod"))?)
    }

    /// The pinned version of the tools of this module, such as `v1.35.4`.
    pub fn version(self) -> Result<String> {
        required_version(&self.manifest()?, self.main_dependency())
    }

    /// The folder with the sources of the pinned module, downloaded and verified against `go.sum`.
    pub fn source_folder(self) -> Result<PathBuf> {
        let module = self.main_dependency();
        go(self).args(["mod", "download", module]).output()?;
        Ok(go(self)
            .args(["list", "-m", "-f", "{{.Dir}}", module])
            .text()?
            .into())
    }

    /// Identifies what a build of this module makes: its own program, its pins, flags, compiler and target.
    pub fn key(self) -> Result<String> {
        let compiler = go(self).args(["env", "GOVERSION", "GOOS", "GOARCH"]).text()?;
        let sums = fs_err::read_to_string(self.folder().join("go.sum"))?;
        let program = if self.is_ours() {
            fs_err::read_to_string(self.folder().join("main.go"))?
        } else {
            String::new()
        };
        Ok(key(&[
            &program,
            &self.manifest()?,
            &sums,
            &linker_flags(self, &self.version()?),
            &compiler,
        ]))
    }
}

/// The paths of `tools`, in their order; builds what is not in the cache yet.
pub fn ensure<const N: usize>(tools: [Tool; N]) -> Result<[PathBuf; N]> {
    let mut paths = [const { PathBuf::new() }; N];
    for (path, tool) in paths.iter_mut().zip(tools) {
        let (source, file) = tool.built();
        let folder = match source {
            Source::Go(module) => ensure_module(module)?,
            Source::Pause => ensure_pause()?,
        };
        *path = folder.join(file);
    }
    Ok(paths)
}

/// Identifies what `inputs` make: 16 hexadecimal digits that change with any of them.
pub fn key(inputs: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update((input.as_ref().len() as u64).to_le_bytes());
        hash.update(input);
    }
    let digest = hash.finalize();
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:016x}")
}

fn ensure_module(module: Module) -> Result<PathBuf> {
    let name = module.name();
    publish(&folder()?, &format!("{name}-{}", module.key()?), |folder| {
        let version = module.version()?;
        progress::step(
            format!("build the tools of {name} {version} (minutes, once)"),
            || {
                go(module)
                    .args([
                        "build",
                        "-trimpath",
                        "-ldflags",
                        &linker_flags(module, &version),
                        "-o",
                    ])
                    .arg(folder)
                    .arg(module.packages())
                    .output()
                    .map(drop)
            },
        )
    })
}

fn ensure_pause() -> Result<PathBuf> {
    let version = Module::Kubernetes.version()?;
    publish(
        &folder()?,
        &format!("pause-{}", key(&[&version, std::env::consts::ARCH])),
        |folder| {
            let source = Module::Kubernetes
                .source_folder()?
                .join("build/pause/linux/pause.c");
            crate::machine::ensure(&["gcc"])?;
            progress::step("build pause", || {
                Command::new("gcc")
                    .args([
                        "-Os",
                        "-Wall",
                        "-Werror",
                        "-static",
                        "-s",
                        &format!("-DVERSION={version}"),
                        "-o",
                    ])
                    .arg(folder.join("pause"))
                    .arg(source)
                    .output()
                    .map(drop)
            })
        },
    )
}

/// Where this machine keeps built tools.
fn folder() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("tools"))
}

/// The folder `name` of `cache`, made by `build` in a temporary folder unless it is there.
fn publish(cache: &Path, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let published = cache.join(name);
    if published.is_dir() {
        return Ok(published);
    }
    fs_err::create_dir_all(cache)?;
    let _alone = workspace::lock(&cache.join("lock"))?;
    if !published.is_dir() {
        remove_half_built(cache)?;
        let folder = tempfile::Builder::new().prefix(HALF_BUILT).tempdir_in(cache)?;
        build(folder.path())?;
        fs_err::rename(folder.keep(), &published)?;
    }
    Ok(published)
}

const HALF_BUILT: &str = "half-built-";

/// Removes what killed builds left; only to be called with the lock held.
fn remove_half_built(cache: &Path) -> Result<()> {
    for entry in fs_err::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(HALF_BUILT) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// `go` in the module's folder, deaf to settings that would let it build or fetch something else.
fn go(module: Module) -> Command {
    Command::new("go")
        .current_dir(module.folder())
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOWORK", "off")
        // A toolchain that go would download by itself is pinned nowhere here.
        .env("GOTOOLCHAIN", "local")
}

/// Flags that strip the tools and, for Kubernetes, stamp the version that `kubectl get nodes` shows.
fn linker_flags(module: Module, version: &str) -> String {
    if module != Module::Kubernetes {
        return "-s -w".to_owned();
    }
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    let stamps = [
        ("gitVersion", version),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitTreeState", "clean"),
        ("gitCommit", version),
        ("buildDate", "1970-01-01T00:00:00Z"),
    ];
    stamps.iter().fold("-s -w".to_owned(), |flags, (name, value)| {
        format!("{flags} -X k8s.io/component-base/version.{name}={value}")
    })
}

/// The version at which a `go.mod` requires `module`.
fn required_version(manifest: &str, module: &str) -> Result<String> {
    let required = manifest.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()
    });
    match required {
        Some(version) if version.starts_with('v') => Ok(version.to_owned()),
        _ => bail!("go.mod does not require {module:?} at a version; add it with `go get -tool`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_version_is_not_the_replaced_one() {
        let manifest = "replace (\n\tk8s.io/api => k8s.io/api v0.35.4\n)\nrequire (\n\tk8s.io/kubernetes v1.35.4 // indirect\n)";
        assert_eq!(
            required_version(manifest, "k8s.io/kubernetes").unwrap(),
            "v1.35.4"
        );
        assert!(required_version(manifest, "k8s.io/api").is_err());
    }

    #[test]
    fn kubernetes_is_stamped_with_its_version_and_others_are_not() {
        let flags = linker_flags(Module::Kubernetes, "v1.35.4");
        assert!(flags.contains("version.gitVersion=v1.35.4"), "{flags}");
        assert!(flags.contains("version.gitMinor=35"), "{flags}");
        assert_eq!(linker_flags(Module::Kind, "v0.32.0"), "-s -w");
    }

    #[test]
    fn a_key_tells_where_one_input_ends() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab"]).len(), 16);
    }

    #[test]
    fn a_failed_build_publishes_nothing() {
        let cache = tempfile::tempdir().unwrap();
        publish(cache.path(), "tool", |folder| {
            fs_err::write(folder.join("half"), "")?;
            bail!("killed")
        })
        .unwrap_err();
        assert!(!cache.path().join("tool").exists());
        let built = publish(cache.path(), "tool", |folder| {
            Ok(fs_err::write(folder.join("whole"), "")?)
        });
        assert!(built.unwrap().join("whole").exists());
    }
}
