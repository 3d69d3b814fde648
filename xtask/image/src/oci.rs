//! An OCI image layout in a tar archive: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>. A
//! `manifest.json` beside it lets engines that know no layouts load it too.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder,
    ImageIndex, ImageIndexBuilder, ImageManifest, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os,
    PlatformBuilder, RootFsBuilder, Sha256Digest,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::Edition;
use crate::definition::Definition;
use crate::recipe::layer::Layer;
use crate::recipe::system;

/// Containerd's import takes the image's name from here. A pod that names the image by digest is only satisfied by
/// a name with that digest.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An image, ready to be written or pushed.
pub struct Image {
    /// Bytes of the configuration.
    pub configuration: Blob,
    /// Bytes of the manifest; its digest is the image's.
    pub manifest: Blob,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

/// Bytes that others name by their digest.
pub struct Blob {
    /// `sha256:…`
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// What an image is made of besides its definition.
pub struct Parts<'a> {
    /// The definition.
    pub definition: &'a Definition,
    /// Layers, lowest first, and what each holds.
    pub layers: Vec<(Layer, &'static str)>,
    /// Version of the project.
    pub version: &'a str,
    /// Page of the source.
    pub source: &'a str,
    /// The cryptography of its program.
    pub edition: Edition,
    /// The commit that it is built from.
    pub revision: Option<&'a str>,
    /// Debian's name of the processor architecture, which is OCI's too.
    pub architecture: &'a str,
    /// Time of creation, seconds since 1970.
    pub epoch: u64,
}

impl Image {
    /// Puts configuration and manifest together.
    pub fn assemble(parts: Parts<'_>) -> Result<Self> {
        let configuration = Blob::json(&configuration(&parts)?)?;
        let layers: Vec<Layer> = parts.layers.into_iter().map(|(layer, _)| layer).collect();
        let manifest = Blob::json(&manifest(&configuration, &layers)?)?;
        Ok(Self {
            configuration,
            manifest,
            layers,
        })
    }

    /// Bytes that a registry stores for the image.
    pub fn size(&self) -> u64 {
        let own = self.configuration.bytes.len() + self.manifest.bytes.len();
        own as u64 + self.layers.iter().map(|layer| layer.size).sum::<u64>()
    }

    /// Writes the archive. Its index lists the manifest once under each of `names`.
    pub fn write_archive(&self, names: &[String], epoch: u64, output: impl Write) -> Result<()> {
        let mut files: BTreeMap<String, Source<'_>> = BTreeMap::new();
        let layout = OciLayoutBuilder::default()
            .image_layout_version("1.0.0")
            .build()?;
        files.insert("oci-layout".to_owned(), Source::Bytes(canonical(&layout)?));
        files.insert(
            "index.json".to_owned(),
            Source::Bytes(canonical(&self.index(names)?)?),
        );
        files.insert(
            "manifest.json".to_owned(),
            Source::Bytes(canonical(&self.listing(names))?),
        );
        for blob in [&self.configuration, &self.manifest] {
            files.insert(blob_path(&blob.digest), Source::Bytes(blob.bytes.clone()));
        }
        for layer in &self.layers {
            files.insert(blob_path(&layer.digest), Source::Layer(layer));
        }
        let mut archive = tar::Builder::new(output);
        for (path, source) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_mtime(epoch);
            let (size, content): (u64, Box<dyn Read>) = match &source {
                Source::Bytes(bytes) => (bytes.len() as u64, Box::new(bytes.as_slice())),
                Source::Layer(layer) => (layer.size, Box::new(fs_err::File::open(&layer.file)?)),
            };
            header.set_size(size);
            archive
                .append_data(&mut header, &path, content)
                .with_context(|| format!("failed to add {path:?}"))?;
        }
        archive
            .into_inner()?
            .flush()
            .context("failed to write the archive")
    }

    fn index(&self, names: &[String]) -> Result<ImageIndex> {
        let describe = |name: &String| {
            let mut descriptor = self.manifest.descriptor(MediaType::ImageManifest)?;
            descriptor.set_annotations(Some(HashMap::from([(CONTAINERD_NAME.to_owned(), name.clone())])));
            let platform = PlatformBuilder::default()
                .os(Os::Linux)
                .architecture(self.architecture()?)
                .build()?;
            descriptor.set_platform(Some(platform));
            Ok(descriptor)
        };
        let manifests = names.iter().map(describe).collect::<Result<Vec<_>>>()?;
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex);
        Ok(index.manifests(manifests).build()?)
    }

    /// What `docker load` reads. It takes no name with a digest.
    fn listing(&self, names: &[String]) -> serde_json::Value {
        let tags: Vec<_> = names.iter().filter(|name| !name.contains('@')).collect();
        let layers: Vec<_> = self.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        serde_json::json!([{"Config": blob_path(&self.configuration.digest), "RepoTags": tags, "Layers": layers}])
    }

    fn architecture(&self) -> Result<Arch> {
        let configuration = ImageConfiguration::from_reader(self.configuration.bytes.as_slice())?;
        Ok(configuration.architecture().clone())
    }
}

enum Source<'a> {
    Bytes(Vec<u8>),
    Layer(&'a Layer),
}

impl Blob {
    fn json(value: &impl Serialize) -> Result<Self> {
        let bytes = canonical(value)?;
        Ok(Self {
            digest: format!("sha256:{:x}", Sha256::digest(&bytes)),
            bytes,
        })
    }

    fn descriptor(&self, media_type: MediaType) -> Result<Descriptor> {
        descriptor(media_type, self.bytes.len() as u64, &self.digest)
    }
}

fn descriptor(media_type: MediaType, size: u64, digest: &str) -> Result<Descriptor> {
    let hash = digest
        .strip_prefix("sha256:")
        .with_context(|| format!("digest {digest:?} is no sha256"))?;
    Ok(Descriptor::new(media_type, size, Sha256Digest::from_str(hash)?))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// JSON whose objects are sorted: the library keeps annotations and labels in hash maps.
fn canonical(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

fn manifest(configuration: &Blob, layers: &[Layer]) -> Result<ImageManifest> {
    let describe = |layer: &Layer| descriptor(MediaType::ImageLayerGzip, layer.size, &layer.digest);
    let layers = layers.iter().map(describe).collect::<Result<Vec<_>>>()?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest);
    Ok(manifest
        .config(configuration.descriptor(MediaType::ImageConfig)?)
        .layers(layers)
        .build()?)
}

fn configuration(parts: &Parts<'_>) -> Result<ImageConfiguration> {
    let definition = parts.definition;
    let second = i64::try_from(parts.epoch).context("the lock's epoch is out of range")?;
    let created = jiff::Timestamp::from_second(second)
        .context("the lock's epoch is out of range")?
        .to_string();
    let label = |key: &str, value: &str| (format!("org.opencontainers.image.{key}"), value.to_owned());
    let mut labels = HashMap::from([
        label("title", &definition.title),
        label("description", &definition.description),
        label("version", parts.version),
        label("source", parts.source),
        label("licenses", "Apache-2.0"),
        ("io.gastown.edition".to_owned(), parts.edition.as_str().to_owned()),
    ]);
    labels.extend(parts.revision.map(|revision| label("revision", revision)));
    let environment: Vec<_> = definition
        .environment
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut config = ConfigBuilder::default()
        .user(format!("{}:0", system::UID))
        .env(environment)
        .entrypoint(definition.entrypoint.clone())
        .working_dir("/")
        .labels(labels);
    if !definition.ports.is_empty() {
        config = config.exposed_ports(
            definition
                .ports
                .iter()
                .map(|port| format!("{port}/tcp"))
                .collect::<Vec<_>>(),
        );
    }
    let describe = |what: &&str| {
        HistoryBuilder::default()
            .created(created.clone())
            .created_by(*what)
            .build()
    };
    let history = parts
        .layers
        .iter()
        .map(|(_, what)| describe(what))
        .collect::<Result<Vec<_>, _>>()?;
    let diff_ids: Vec<_> = parts
        .layers
        .iter()
        .map(|(layer, _)| layer.diff_id.clone())
        .collect();
    Ok(ImageConfigurationBuilder::default()
        .created(created.clone())
        .architecture(Arch::from(parts.architecture))
        .os(Os::Linux)
        .config(config.build()?)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers")
                .diff_ids(diff_ids)
                .build()?,
        )
        .history(history)
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = r#"
        title = "Test"
        description = "A test."
        packages = []
        entrypoint = ["/usr/bin/x"]
        binary = { package = "x", name = "x" }
        account = { name = "nonroot", home = "/home/nonroot", shell = "/sbin/nologin" }
        environment = { PATH = "/usr/bin", HOME = "/home/nonroot" }
    "#;

    fn image(folder: &std::path::Path) -> Image {
        let file = folder.join("layer");
        fs_err::write(&file, "layer").unwrap();
        let digest = format!("sha256:{:x}", Sha256::digest("layer"));
        let layer = Layer {
            digest: digest.clone(),
            diff_id: digest,
            size: 5,
            file,
        };
        Image::assemble(Parts {
            definition: &toml::from_str(DEFINITION).unwrap(),
            layers: vec![(layer, "packages")],
            version: "1.2.3",
            source: "https://example.invalid",
            edition: Edition::Fips,
            revision: Some("abc"),
            architecture: "amd64",
            epoch: 1_700_000_000,
        })
        .unwrap()
    }

    fn read(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn the_archive_names_one_manifest_by_digest_and_by_tag() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        let names = ["x/y:1".to_owned(), format!("x/y@{}", image.manifest.digest)];
        let mut archive = Vec::new();
        image.write_archive(&names, 1, &mut archive).unwrap();
        let files = read(&archive);
        let index: serde_json::Value = serde_json::from_slice(&files["index.json"]).unwrap();
        for (at, name) in names.iter().enumerate() {
            let descriptor = &index["manifests"][at];
            assert_eq!(descriptor["digest"], image.manifest.digest.as_str());
            assert_eq!(descriptor["annotations"][CONTAINERD_NAME], name.as_str());
        }
        let listing: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(listing[0]["RepoTags"], serde_json::json!(["x/y:1"]));
        for path in [&listing[0]["Config"], &listing[0]["Layers"][0]] {
            assert!(files.contains_key(path.as_str().unwrap()), "{path}");
        }
        for (path, content) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(*path, format!("blobs/sha256/{:x}", Sha256::digest(content)));
        }
    }

    #[test]
    fn equal_parts_give_equal_digests_and_run_as_no_fixed_group() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (image(folder.path()), image(folder.path()));
        assert_eq!(one.manifest.digest, two.manifest.digest);
        let configuration: serde_json::Value = serde_json::from_slice(&one.configuration.bytes).unwrap();
        assert_eq!(configuration["config"]["User"], "65532:0");
        assert_eq!(configuration["created"], "2023-11-14T22:13:20Z");
        assert_eq!(configuration["config"]["Env"][0], "HOME=/home/nonroot");
        let labels = &configuration["config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.version"], "1.2.3");
        assert_eq!(labels["org.opencontainers.image.revision"], "abc");
        assert_eq!(labels["io.gastown.edition"], "fips");
    }
}
