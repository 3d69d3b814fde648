//! Puts the images of the control plane into the node image, with the names that kubeadm asks for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tar::{Archive, Builder, Header};

use super::super::engine::Engine;
use super::BUILD_CONTAINER;
use crate::progress;
use crate::tools::{self, Module, Tool};

/// The programs that kube-proxy runs in its image; whatever they load is copied too.
const PROXY_PROGRAMS: [&str; 9] = [
    "/usr/sbin/iptables",
    "/usr/sbin/iptables-save",
    "/usr/sbin/iptables-restore",
    "/usr/sbin/ip6tables",
    "/usr/sbin/ip6tables-save",
    "/usr/sbin/ip6tables-restore",
    "/usr/sbin/nft",
    "/usr/sbin/conntrack",
    "/usr/sbin/xtables-nft-multi",
];

/// Makes the image `name` from `base`, with the control plane's images in its containerd.
pub fn add(engine: &Engine, base: &str, name: &str) -> Result<()> {
    let images = progress::step("make the images of the control plane", || {
        make_images(engine, base)
    })?;
    let container = progress::step("start the node's base", || start(engine, base))?;
    progress::step("put the control plane into the node", || {
        write_runtime_spec(engine, &container)?;
        import(engine, &container, &images)
    })?;
    progress::step("commit the node image", || {
        engine
            .docker()
            .args([
                "commit",
                "--change",
                r#"ENTRYPOINT [ "/usr/local/bin/entrypoint", "/sbin/init" ]"#,
            ])
            .args(["--change", "CMD []", "--change", "ENV container=docker"])
            .args([&container, name])
            .output()
            .map(drop)
    })?;
    for image in images {
        engine.docker().args(["rmi", &image]).output()?;
    }
    Ok(())
}

fn start(engine: &Engine, image: &str) -> Result<String> {
    engine
        .docker()
        .args([
            "run",
            "--detach",
            "--name",
            BUILD_CONTAINER,
            "--security-opt",
            "seccomp=unconfined",
        ])
        // The committed image inherits this: systemd shuts down on that signal.
        .args(["--stop-signal", "SIGRTMIN+3"])
        .args(["--network", "none", "--entrypoint", "sleep", image, "infinity"])
        .text()
}

/// Writes the base spec of the node's containers: containerd's default, with the hook of kind's Dockerfile and without
/// resource limits of the process.
fn write_runtime_spec(engine: &Engine, container: &str) -> Result<()> {
    let default = engine
        .docker()
        .args(["exec", container, "ctr", "oci", "spec"])
        .output()?;
    let spec = runtime_spec(&default)?;
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), spec)?;
    let target = format!("{container}:/etc/containerd/cri-base.json");
    engine
        .docker()
        .arg("cp")
        .arg(file.path())
        .arg(target)
        .output()
        .map(drop)
}

fn runtime_spec(default: &[u8]) -> Result<Vec<u8>> {
    let mut spec: Value = serde_json::from_slice(default).context("`ctr oci spec` printed no JSON")?;
    spec["hooks"] = json!({ "createContainer": [{ "path": "/kind/bin/mount-product-files.sh" }] });
    spec["process"]
        .as_object_mut()
        .context("`ctr oci spec` printed no process")?
        .remove("rlimits");
    Ok(serde_json::to_vec(&spec)?)
}

/// Imports `images` of the engine into the containerd of `container`; containerd only runs for that.
fn import(engine: &Engine, container: &str, images: &[String]) -> Result<()> {
    let ctr = |args: &[&str]| {
        engine
            .docker()
            .args(["exec", "--interactive", container, "ctr", "-n", "k8s.io"])
            .args(args)
    };
    engine
        .docker()
        .args(["exec", "--detach", container, "containerd"])
        .output()?;
    let limit = Duration::from_secs(30);
    progress::wait_until(
        "containerd's first answer",
        limit,
        Duration::from_millis(200),
        || Ok(ctr(&["version"]).succeeds()),
    )?;
    let archive = tempfile::NamedTempFile::new()?;
    engine
        .docker()
        .args(["save", "--output"])
        .arg(archive.path())
        .args(images)
        .output()?;
    let target = format!("{container}:/images.tar");
    engine
        .docker()
        .arg("cp")
        .arg(archive.path())
        .arg(target)
        .output()?;
    let pinned = "--label=io.cri-containerd.pinned=pinned";
    ctr(&[
        "images",
        "import",
        pinned,
        "--all-platforms",
        "--no-unpack",
        "--digests",
        "/images.tar",
    ])
    .output()?;
    let exec = |args: &[&str]| engine.docker().args(["exec", container]).args(args);
    exec(&["rm", "/images.tar"]).output()?;
    // containerd's database is complete only after containerd has ended.
    exec(&["pkill", "-x", "containerd"]).output()?;
    progress::wait_until("the end of containerd", limit, Duration::from_millis(200), || {
        Ok(!exec(&["pgrep", "-x", "containerd"]).succeeds())
    })
}

/// Makes the images that kubeadm asks for, in the engine, and returns their names.
fn make_images(engine: &Engine, base: &str) -> Result<Vec<String>> {
    let [kubeadm] = tools::ensure([Tool::Kubeadm])?;
    let version = Module::Kubernetes.version()?;
    let list = crate::process::Command::new(kubeadm)
        .args(["config", "images", "list", "--kubernetes-version", &version])
        .text()?;
    let names: Vec<String> = list.lines().map(str::to_owned).collect();
    for name in &names {
        make_image(engine, base, name)?;
    }
    Ok(names)
}

fn make_image(engine: &Engine, base: &str, name: &str) -> Result<()> {
    let component = component(name)?;
    let [program] = tools::ensure([component.tool])?;
    let folder = tempfile::tempdir()?;
    let layer = folder.path().join("layer.tar");
    let mut tar = Builder::new(fs_err::File::create(&layer)?);
    if component.tool == Tool::KubeProxy {
        append_proxy_programs(&mut tar, engine, base)?;
    }
    append_program(&mut tar, &program, &component.path)?;
    tar.into_inner()?;
    let path = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let entrypoint = format!("ENTRYPOINT {}", json!([component.path]));
    let mut import = engine.docker().args(["import", "--change", path]);
    // The programs of the other images are named in kubeadm's manifests.
    if component.is_entrypoint {
        import = import.args(["--change", &entrypoint]);
    }
    import.arg(&layer).arg(name).output().map(drop)
}

/// The program that one image of the control plane holds.
#[derive(Debug, PartialEq, Eq)]
struct Component {
    tool: Tool,
    /// Where the program is in the image.
    path: PathBuf,
    is_entrypoint: bool,
}

/// The program that the image with kubeadm's name `name` holds.
fn component(name: &str) -> Result<Component> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let image = last.split(':').next().unwrap_or(last);
    let in_path = |tool| Component {
        tool,
        path: format!("/usr/local/bin/{image}").into(),
        is_entrypoint: false,
    };
    let at_root = |tool| Component {
        tool,
        path: format!("/{image}").into(),
        is_entrypoint: true,
    };
    Ok(match image {
        "kube-apiserver" => in_path(Tool::KubeApiserver),
        "kube-controller-manager" => in_path(Tool::KubeControllerManager),
        "kube-scheduler" => in_path(Tool::KubeScheduler),
        "kube-proxy" => in_path(Tool::KubeProxy),
        "etcd" => in_path(Tool::Etcd),
        "coredns" => at_root(Tool::Coredns),
        "pause" => at_root(Tool::Pause),
        _ => {
            bail!("kubeadm asks for an image {name:?} that nothing here builds; add its program to the tools")
        }
    })
}

fn append_program(tar: &mut Builder<fs_err::File>, program: &Path, path: &Path) -> Result<()> {
    let content = fs_err::read(program)?;
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path.strip_prefix("/")?, content.as_slice())
        .context("failed to pack a program")
}

/// Copies the packet filter's programs, libraries and modules from the image `base`.
fn append_proxy_programs(tar: &mut Builder<fs_err::File>, engine: &Engine, base: &str) -> Result<()> {
    let run = |args: &[&str]| {
        let docker = engine.docker().args(["run", "--rm", "--network", "none"]);
        docker.arg("--entrypoint").arg(args[0]).arg(base).args(&args[1..])
    };
    let find = run(&["find", "/usr/lib", "-path", "*/xtables/*.so"]).text()?;
    let modules: Vec<&str> = find.lines().collect();
    let loaded = run(&[&["ldd"], &PROXY_PROGRAMS[..], &modules[..]].concat()).text()?;
    let libraries = libraries(&loaded);
    // tar follows links, so that the image has each program and library under the name by which it is asked for.
    let files = [
        &["tar", "--create", "--dereference", "--absolute-names"],
        &PROXY_PROGRAMS[..],
        &modules[..],
    ]
    .concat();
    let files = files
        .into_iter()
        .chain(libraries.iter().map(String::as_str))
        .collect::<Vec<_>>();
    let archive = run(&files).output()?;
    for entry in Archive::new(io::Cursor::new(archive)).entries()? {
        let mut entry = entry?;
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        let path = path.strip_prefix("/").unwrap_or(&path);
        if header.entry_type().is_hard_link() {
            let target = entry
                .link_name()?
                .context("a hard link has a target")?
                .into_owned();
            tar.append_link(&mut header, path, target.strip_prefix("/").unwrap_or(&target))?;
        } else {
            tar.append_data(&mut header, path, &mut entry)?;
        }
    }
    Ok(())
}

/// The files that the output of `ldd` names, sorted, without duplicates.
fn libraries(ldd: &str) -> Vec<String> {
    let mut files: Vec<String> = ldd
        .lines()
        .filter(|line| line.starts_with('\t'))
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(str::to_owned)
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_holds_the_program_it_is_named_after() {
        let etcd = component("registry.k8s.io/etcd:3.6.6-0").unwrap();
        assert_eq!(
            (etcd.tool, etcd.path, etcd.is_entrypoint),
            (Tool::Etcd, "/usr/local/bin/etcd".into(), false)
        );
        let dns = component("registry.k8s.io/coredns/coredns:v1.13.1").unwrap();
        assert_eq!(
            (dns.tool, dns.path, dns.is_entrypoint),
            (Tool::Coredns, "/coredns".into(), true)
        );
        assert!(
            component("registry.k8s.io/new-part:v1")
                .unwrap_err()
                .to_string()
                .contains("new-part")
        );
    }

    #[test]
    fn ldd_names_each_library_and_the_loader_once() {
        let ldd = "/usr/sbin/nft:\n\tlinux-vdso.so.1 (0x1)\n\tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x2)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x3)\n/usr/sbin/iptables:\n\tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x2)\n";
        assert_eq!(
            libraries(ldd),
            ["/lib/x/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"]
        );
    }

    #[test]
    fn containers_of_the_node_get_kinds_hook_and_no_limits() {
        let spec = runtime_spec(br#"{"process":{"args":["sh"],"rlimits":[{}]}}"#).unwrap();
        let spec: Value = serde_json::from_slice(&spec).unwrap();
        assert_eq!(spec["process"], json!({"args": ["sh"]}));
        assert_eq!(
            spec["hooks"]["createContainer"][0]["path"],
            "/kind/bin/mount-product-files.sh"
        );
    }
}
