//! Puts an image together from three layers: packages, files of npm packages, and what is our own.

use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::definition::{Definition, NpmFiles};
use crate::lock::Lock;
use crate::oci::{Image, Parts};
use crate::recipe::layer::{self, Layer};
use crate::recipe::tree::{Tree, TreePath};
use crate::recipe::{npm, packages};
use crate::{BuiltImage, Name, Profile, Programs, Variant, binary};
use crate::{progress, workspace};

/// The code that decides what a cached layer holds, every file of `recipe/`: when it changes, the layer is stale.
const RECIPE: &[&str] = include!(concat!(env!("OUT_DIR"), "/recipe.rs"));

/// The libraries that decide about a layer's bytes.
const LIBRARIES: [&str; 3] = ["flate2", "miniz_oxide", "tar"];

/// What the last build left: the image, and the hash of what it was made of.
#[derive(Serialize, Deserialize)]
struct Receipt {
    inputs: String,
    #[serde(flatten)]
    image: BuiltImage,
}

/// What is known of an image before anything is compiled or unpacked.
struct Context {
    name: Name,
    variant: Variant,
    definition: Definition,
    lock: Lock,
    repository: String,
    version: String,
    source: String,
    recipe: String,
}

/// Makes the layers of packages, which need no compiled program; see [`crate::prepare`].
pub fn prepare(name: Name) -> Result<()> {
    let context = Context::load(name, Variant::local(Profile::Dev))?;
    let _lock = workspace::lock(&context.folder()?.join("lock"))?;
    context.foreign_layers().map(drop)
}

/// Builds an image; see [`crate::assemble`].
pub fn build(name: Name, variant: &Variant, programs: &Programs) -> Result<BuiltImage> {
    let context = Context::load(name, variant.clone())?;
    let folder = context.folder()?;
    let _lock = workspace::lock(&folder.join("lock"))?;
    let binary = programs.get(&context.definition.binary)?;
    let folder = folder.join(variant.folder());
    let inputs = context.inputs(binary)?;
    if let Some(image) = last(&folder, &inputs) {
        return Ok(image);
    }
    progress::step(format!("put image {name} together"), || {
        context.assemble(binary, &folder, inputs)
    })
}

fn last(folder: &Path, inputs: &str) -> Option<BuiltImage> {
    let text = fs_err::read(folder.join("image.json")).ok()?;
    let receipt: Receipt = serde_json::from_slice(&text).ok()?;
    (receipt.inputs == inputs && receipt.image.archive.exists()).then_some(receipt.image)
}

impl Context {
    fn load(name: Name, variant: Variant) -> Result<Self> {
        Ok(Self {
            name,
            variant,
            definition: Definition::load(name)?,
            lock: Lock::load()?,
            repository: name.repository()?,
            version: workspace::package("version")?,
            source: workspace::package("repository")?,
            recipe: recipe(include_str!("../../Cargo.lock"))?,
        })
    }

    /// The folder of everything that is made for this image.
    fn folder(&self) -> Result<PathBuf> {
        let folder = workspace::root().join("target/image").join(self.name.as_str());
        fs_err::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The layers of packages, and what each holds.
    fn foreign_layers(&self) -> Result<Vec<(Layer, &'static str)>> {
        let mut layers = vec![(self.packages_layer()?, "Debian packages")];
        if self.npm().next().is_some() {
            layers.push((self.npm_layer()?, "npm packages"));
        }
        Ok(layers)
    }

    fn assemble(self, binary: &Path, folder: &Path, inputs: String) -> Result<BuiltImage> {
        let mut layers = self.foreign_layers()?;
        layers.push((self.own_layer(binary, &inputs)?, "gastown-operator"));
        let image = Image::assemble(Parts {
            definition: &self.definition,
            layers,
            version: &self.version,
            source: &self.source,
            edition: self.variant.edition,
            revision: self.variant.revision.as_deref(),
            architecture: self.variant.architecture.as_str(),
            epoch: self.lock.epoch,
        })?;
        let built = BuiltImage {
            name: self.repository,
            tag: self.variant.edition.tag(&self.version),
            digest: image.manifest.digest.clone(),
            size: image.size(),
            archive: folder.join("image.tar"),
        };
        fs_err::create_dir_all(folder)?;
        let receipt = folder.join("image.json");
        if receipt.exists() {
            // A build that is killed leaves no receipt that would make a half-written archive be trusted.
            fs_err::remove_file(&receipt)?;
        }
        let output = BufWriter::new(fs_err::File::create(&built.archive)?);
        image.write_archive(&[built.tagged(), built.reference()], self.lock.epoch, output)?;
        let text = serde_json::to_vec_pretty(&Receipt {
            inputs,
            image: built.clone(),
        })?;
        workspace::write_whole(&receipt, &text)?;
        Ok(built)
    }

    /// A hash of all that the image is made of.
    fn inputs(&self, binary: &Path) -> Result<String> {
        let mut hash = Hash::new(&self.recipe);
        for source in [
            include_str!("assemble.rs"),
            include_str!("binary.rs"),
            include_str!("oci.rs"),
        ] {
            hash.add(source);
        }
        hash.add(self.lock.render()?);
        hash.add(format!("{:?} {:?}", self.definition, self.variant));
        hash.add([&*self.repository, &self.version, &self.source].join("\n"));
        hash.add(fs_err::read(binary)?);
        for (path, mode, content) in self.own_files()? {
            hash.add(format!("{path} {mode:o}"));
            hash.add(content);
        }
        Ok(hash.finish())
    }

    fn npm(&self) -> impl Iterator<Item = (&str, &NpmFiles)> {
        self.definition.npm(self.variant.architecture)
    }

    fn packages_layer(&self) -> Result<Layer> {
        let packages = self.lock.packages_of(self.name, self.variant.architecture)?;
        let mut hash = Hash::new(&self.recipe);
        hash.add(self.lock.epoch.to_string());
        hash.add(format!("{packages:?}"));
        let Definition {
            account,
            links,
            mount_points,
            ..
        } = &self.definition;
        hash.add(format!("{account:?} {links:?} {mount_points:?}"));
        self.cached(&hash.finish(), || {
            packages::tree(&self.lock, &packages, &self.definition, self.variant.architecture)
        })
    }

    fn npm_layer(&self) -> Result<Layer> {
        let mut hash = Hash::new(&self.recipe);
        hash.add(self.lock.epoch.to_string());
        for (name, files) in self.npm() {
            hash.add(format!("{:?} {files:?}", self.lock.npm_package(name)?));
        }
        self.cached(&hash.finish(), || {
            let mut tree = Tree::default();
            for (name, files) in self.npm() {
                tree.merge(npm::tree(self.lock.npm_package(name)?, files)?)?;
            }
            Ok(tree)
        })
    }

    fn cached(&self, key: &str, tree: impl FnOnce() -> Result<Tree>) -> Result<Layer> {
        layer::cached(
            &workspace::cache()?.join("layers").join(key),
            self.lock.epoch,
            tree,
        )
    }

    /// The layer that changes with every build; of these only the last is kept.
    fn own_layer(&self, binary: &Path, inputs: &str) -> Result<Layer> {
        let layers = workspace::root()
            .join("target/image")
            .join(self.name.as_str())
            .join("layer");
        if layers.exists() {
            fs_err::remove_dir_all(&layers)?;
        }
        layer::cached(&layers.join(inputs), self.lock.epoch, || {
            let mut tree = Tree::default();
            let name = &self.definition.binary.name;
            tree.file(
                TreePath::parse(&format!("usr/bin/{name}"))?,
                0o755,
                binary::stripped(binary, self.variant.architecture)?,
            )?;
            for (path, mode, content) in self.own_files()? {
                tree.file(TreePath::parse(&path)?, mode, content)?;
            }
            Ok(tree)
        })
    }

    /// Path, mode and content of the licence and of the files below `rootfs`.
    fn own_files(&self) -> Result<Vec<(String, u32, Vec<u8>)>> {
        let licence = fs_err::read(workspace::root().join("LICENSE"))?;
        let mut files = vec![("licenses/LICENSE".to_owned(), 0o644, licence)];
        let rootfs = Definition::folder(self.name).join("rootfs");
        if rootfs.exists() {
            collect(&rootfs, "", &mut files)?;
        }
        files.sort();
        Ok(files)
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, u32, Vec<u8>)>) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else {
            // Of the mode only what git keeps too: the rest depends on the umask of whoever checked out.
            let is_executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
            files.push((
                path,
                if is_executable { 0o755 } else { 0o644 },
                fs_err::read(entry.path())?,
            ));
        }
    }
    Ok(())
}

fn recipe(lock: &str) -> Result<String> {
    let lock: toml::Table = toml::from_str(lock).context("the lock file of xtask is damaged")?;
    let packages = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .context("the lock file of xtask is empty")?;
    let mut hash = Hash::new("");
    for package in packages {
        if package
            .get("name")
            .and_then(toml::Value::as_str)
            .is_some_and(|name| LIBRARIES.contains(&name))
        {
            hash.add(package.to_string());
        }
    }
    for source in RECIPE {
        hash.add(source);
    }
    Ok(hash.finish())
}

/// A hash of several values, each told apart from its neighbours by its length.
struct Hash(Sha256);

impl Hash {
    fn new(first: &str) -> Self {
        let mut hash = Self(Sha256::new());
        hash.add(first);
        hash
    }

    fn add(&mut self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.update((value.len() as u64).to_be_bytes());
        self.0.update(value);
    }

    fn finish(self) -> String {
        format!("{:x}", self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_values_are_told_apart() {
        let of = |values: [&str; 2]| {
            let mut hash = Hash::new("");
            for value in values {
                hash.add(value);
            }
            hash.finish()
        };
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
        assert_eq!(of(["ab", "c"]), of(["ab", "c"]));
    }

    #[test]
    fn another_compressor_makes_cached_layers_stale() {
        let lock = |version: &str| format!("[[package]]\nname = \"miniz_oxide\"\nversion = \"{version}\"\n");
        assert_ne!(recipe(&lock("1")).unwrap(), recipe(&lock("2")).unwrap());
        let other = format!("{}\n[[package]]\nname = \"other\"\n", lock("1"));
        assert_eq!(recipe(&lock("1")).unwrap(), recipe(&other).unwrap());
    }
}
