//! Finds out whether an image may run: what lies in the folder of bundles first, then what its registry has.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use gastown_api::reason::Reason;
use gastown_api::text::chain;
use gastown_crypto::Digest;
use gastown_registry::{Ask, Credentials, Places, Registries};
use gastown_signatures::{Attached, Refused, decide};

use super::question::Question;
use crate::types::{Refusal, Settings};

/// The longest that all of it may take.
const LONGEST: Duration = Duration::from_mins(1);
/// The certificates of the image.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The most bundles that are read: what a ConfigMap can hold.
const MOST_BUNDLES: usize = 256;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Allowed { pinned: String },
    Refused(Refusal),
    Unreachable(Refusal),
}

/// Finds out, in bounded time; `is_allowed` says whether an image by digest was found to be allowed before.
pub(super) async fn find_out(
    settings: &Settings,
    question: &Question,
    is_allowed: impl Fn(&str) -> bool,
) -> Found {
    let finding = tokio::time::timeout(LONGEST, find(settings, question, is_allowed));
    finding.await.unwrap_or_else(|_| {
        let why = format!("its registry took more than {} s", LONGEST.as_secs());
        Found::Unreachable(question.refuse(Reason::RegistryUnreachable, &why))
    })
}

async fn find(settings: &Settings, question: &Question, is_allowed: impl Fn(&str) -> bool) -> Found {
    let bundles = settings.image_bundles.as_deref().map_or_else(Vec::new, bundles);
    let image = question.image();
    if let Some(digest) = image.digest().and_then(|digest| digest.parse::<Digest>().ok()) {
        let pinned = image.pinned(&digest.to_string());
        if is_allowed(&pinned) || allows(question, &digest, &bundles).is_ok() {
            return Found::Allowed { pinned };
        }
    }
    let registries = match open(settings) {
        Ok(registries) => registries,
        Err(why) => return Found::Unreachable(question.refuse(Reason::RegistryUnreachable, &why)),
    };
    let digest = match registries.digest_of(image).await {
        Ok(digest) => digest,
        Err(error) => return unanswered(question, &error, None),
    };
    let pinned = image.pinned(&digest.to_string());
    if is_allowed(&pinned) {
        return Found::Allowed { pinned };
    }
    let wanted = |kind: &str| question.policies().iter().any(|policy| policy.asks_for(kind));
    let mut attached = match registries.attached_to(image, &digest, &wanted).await {
        Ok(attached) => attached,
        Err(error) => return unanswered(question, &error, Some(allows(question, &digest, &bundles))),
    };
    attached.extend(bundles);
    match allows(question, &digest, &attached) {
        Ok(()) => Found::Allowed { pinned },
        Err(refused) => Found::Refused(question.refuse(refused.reason, &refused.message)),
    }
}

/// Every policy must allow it.
fn allows(question: &Question, digest: &Digest, attached: &[Attached]) -> Result<(), Refused> {
    let mut policies = question.policies().iter();
    policies.try_for_each(|policy| decide(policy, digest, attached))
}

/// What an image is refused for when its registry gave no answer; `bundles` is what they alone decide.
fn unanswered(question: &Question, error: &Ask, bundles: Option<Result<(), Refused>>) -> Found {
    let mut why = error.to_string();
    let (found, reason): (fn(Refusal) -> Found, _) = match error {
        Ask::Unreachable { .. } | Ask::Refused { .. } => (Found::Unreachable, Reason::RegistryUnreachable),
        Ask::NoImage { .. } => (Found::Refused, Reason::ImagePullFailed),
        Ask::Damaged { .. } | Ask::TooLarge { .. } => (Found::Refused, Reason::ImageSignatureInvalid),
        Ask::NotListed { .. } => {
            if let Some(Err(refused)) = bundles {
                why = format!("{}; {why} (the chart's value registries)", refused.message);
                (Found::Refused, refused.reason)
            } else {
                // A tag means nothing that a bundle could be of.
                why += " (the chart's value registries); name the image by its digest, or have the registry listed";
                (Found::Refused, Reason::ImageNotPinned)
            }
        }
    };
    found(question.refuse(reason, &why))
}

/// The registries, with what the mounted secret holds now.
fn open(settings: &Settings) -> Result<Registries, String> {
    let places = Places {
        registries: Some(settings.config.registries.clone()),
        mirrors: settings.config.registry_mirrors.clone(),
    };
    let file = |name: &str| match settings
        .registry_secret
        .as_deref()
        .map(|folder| folder.join(name))
    {
        None => Ok(None),
        Some(path) => read(&path),
    };
    let told = |error: &dyn std::error::Error| {
        format!(
            "{}; the secret that the chart's value registrySecret names holds it",
            chain(error)
        )
    };
    let credentials = match file(".dockerconfigjson")? {
        None => Credentials::default(),
        Some(json) => Credentials::read(&json).map_err(|error| told(&error))?,
    };
    let system = read(Path::new(SYSTEM_ROOTS))?.unwrap_or_default();
    let extra = file("ca.crt")?;
    Registries::open(places, credentials, &system, extra.as_deref()).map_err(|error| told(&error))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!(
            "failed to read {:?}: {error}",
            path.display().to_string()
        )),
    }
}

/// What lies in the folder. One that cannot be read is as good as one that is not there: it allows nothing.
fn bundles(folder: &Path) -> Vec<Attached> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot read the bundles of images");
            return Vec::new();
        }
    };
    // Mounted ConfigMaps hold folders of their own beside the keys.
    let files = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    let read = files.take(MOST_BUNDLES).filter_map(|path| {
        let bytes = std::fs::read(&path);
        bytes
            .inspect_err(
                |error| tracing::warn!(path = %path.display(), %error, "cannot read a bundle of an image"),
            )
            .ok()
    });
    read.map(Attached::Bundle).collect()
}
