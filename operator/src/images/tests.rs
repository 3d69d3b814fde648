//! Questions to a registry on this machine, with what cosign signed.

use std::collections::BTreeMap;
use std::time::Duration;

use gastown_api::image_policy::ImagePolicy;
use gastown_api::reason::Reason;
use gastown_signatures::PROVENANCE;
use jiff::SignedDuration;
use serde_json::Value;

use self::fake::Fake;
use super::*;
use crate::testing;
use crate::types::{Refusal, later};

#[path = "../../../registry/src/fake.rs"]
mod fake;

fn keys() -> BTreeMap<String, String> {
    let vectors = include_str!("../../../signatures/vectors/cosign-3.1.3.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    serde_json::from_value(vectors["keys"].clone()).unwrap()
}

fn policy(names: &[&str], types: &[&str]) -> ImagePolicy {
    let keys = keys();
    ImagePolicy {
        keys: names.iter().map(|name| keys[*name].clone()).collect(),
        require_digest: false,
        require_attestations: types.iter().map(|&kind| kind.to_owned()).collect(),
    }
}

struct World {
    fake: Fake,
    digests: BTreeMap<String, String>,
    images: Images,
    now: Timestamp,
}

impl World {
    fn new(change: impl FnOnce(&mut Settings, &Fake)) -> Self {
        let (fake, digests) = Fake::with_vectors();
        let mut settings = testing::settings();
        settings.config.registries = vec![fake.host.clone()];
        change(&mut settings, &fake);
        Self {
            fake,
            digests,
            images: Images::new(Arc::new(settings)),
            now: Timestamp::now(),
        }
    }

    fn question(&self, name: &str, policies: &[&ImagePolicy]) -> Result<Option<Question>, Refusal> {
        let image = format!("{}/team/agent{name}", self.fake.host).parse().unwrap();
        let named: Vec<_> = policies.iter().map(|policy| ("the policy", *policy)).collect();
        Question::of("spec.kubernetes.image", image, &named)
    }

    async fn answer_to(&self, question: &Question) -> Answer {
        let me = Key::new("town", "me");
        if let Asked::Errand(errand) = self.images.ask(question, &me, self.now) {
            assert_eq!(errand.await, std::slice::from_ref(&me));
        }
        match self.images.ask(question, &me, self.now) {
            Asked::Known(answer) => answer,
            Asked::Errand(_) | Asked::Joined => panic!("{question} has no answer"),
        }
    }

    async fn answer(&self, name: &str, policies: &[&ImagePolicy]) -> Answer {
        match self.question(name, policies) {
            Ok(question) => self.answer_to(&question.unwrap()).await,
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    async fn reason(&self, name: &str, policies: &[&ImagePolicy]) -> &'static str {
        match self.answer(name, policies).await {
            Answer::Allowed { .. } => "allowed",
            Answer::Refused(refusal) | Answer::Unreachable { refusal, .. } => refusal.reason.as_str(),
        }
    }
}

#[tokio::test]
async fn an_image_runs_only_with_an_allowed_signature_and_is_pinned() {
    let world = World::new(|_, _| {});
    let (a, b) = (policy(&["a"], &[]), policy(&["b"], &[]));
    let pinned = format!("{}/team/agent@{}", world.fake.host, world.digests["signed"]);
    assert_eq!(
        world.answer(":signed", &[&a]).await,
        Answer::Allowed {
            pinned: pinned.clone()
        }
    );
    let by_digest = format!("@{}", world.digests["signed"]);
    assert_eq!(world.answer(&by_digest, &[&a]).await, Answer::Allowed { pinned });
    for (name, policies, wanted) in [
        (":plain", &[&a][..], "allowed"),
        (":bundled", &[&a], "allowed"),
        (":unsigned", &[&a], "ImageUnsigned"),
        (":stranger", &[&a], "ImageSignatureInvalid"),
        (":none", &[&a], "ImagePullFailed"),
        // A Rig asks for its key besides the chart's.
        (":signed", &[&a, &b], "ImageSignatureInvalid"),
        (":signed", &[&a, &policy(&[], &[])], "allowed"),
        (":signed", &[&policy(&["a"], &[PROVENANCE])], "allowed"),
        (":bundled", &[&policy(&["a"], &[PROVENANCE])], "ImageUnsigned"),
    ] {
        assert_eq!(world.reason(name, policies).await, wanted, "{name}");
    }
}

#[tokio::test]
async fn a_digest_that_is_asked_for_must_be_written() {
    let world = World::new(|_, _| {});
    let strict = ImagePolicy {
        require_digest: true,
        ..policy(&["a"], &[])
    };
    assert_eq!(world.reason(":signed", &[&strict]).await, "ImageNotPinned");
    assert!(world.fake.asked().is_empty());
    let name = format!("@{}", world.digests["signed"]);
    assert_eq!(world.reason(&name, &[&strict]).await, "allowed");
    let only_a_digest = ImagePolicy {
        keys: Vec::new(),
        ..strict
    };
    assert_eq!(world.question(&name, &[&only_a_digest]), Ok(None));
    assert_eq!(world.question(":x", &[]), Ok(None));
}

#[tokio::test]
async fn a_signature_of_another_image_and_one_that_was_changed_are_invalid() {
    let world = World::new(|_, _| {});
    let tag = |name: &str| format!("{}.sig", world.digests[name].replace(':', "-"));
    let lists = |name: &str| world.digests[name].replace(':', "-");
    {
        let mut held = world.fake.held.lock().unwrap();
        let of_another = held.manifests[&tag("signed")].clone();
        held.manifests.insert(tag("unsigned"), of_another);
        let text = String::from_utf8(held.manifests[&tag("plain")].clone()).unwrap();
        let changed = text.replace("cosign/signature\":\"MEU", "cosign/signature\":\"MEV");
        let changed = changed.replace("cosign/signature\":\"MEQ", "cosign/signature\":\"MER");
        assert_ne!(text, changed);
        held.manifests.insert(tag("plain"), changed.into_bytes());
        held.manifests.remove(&lists("plain"));
    }
    let a = policy(&["a"], &[]);
    let Answer::Refused(refusal) = world.answer(":unsigned", &[&a]).await else {
        panic!("it may run");
    };
    assert_eq!(refusal.reason, Reason::ImageSignatureInvalid);
    assert!(
        refusal.message.contains(&world.digests["signed"]),
        "{}",
        refusal.message
    );
    assert_eq!(world.reason(":plain", &[&a]).await, "ImageSignatureInvalid");
}

#[tokio::test]
async fn a_tag_that_moves_runs_what_was_verified_or_is_verified_anew() {
    let mut world = World::new(|_, _| {});
    let a = policy(&["a"], &[]);
    let question = world.question(":signed", &[&a]).unwrap().unwrap();
    let Answer::Allowed { pinned } = world.answer_to(&question).await else {
        panic!("it may not run");
    };
    {
        let mut held = world.fake.held.lock().unwrap();
        let other = held.manifests[&world.digests["unsigned"]].clone();
        held.manifests.insert("signed".to_owned(), other);
    }
    assert_eq!(world.answer_to(&question).await, Answer::Allowed { pinned });
    world.now = later(world.now, SignedDuration::from_secs(3600));
    let errand = world.images.ask(&question, &Key::new("town", "me"), world.now);
    let Asked::Errand(errand) = errand else {
        panic!("a tag is believed for an hour");
    };
    errand.await;
    let answer = world
        .images
        .ask(&question, &Key::new("town", "me"), Timestamp::now());
    assert!(
        matches!(answer, Asked::Known(Answer::Refused(refusal)) if refusal.reason == Reason::ImageUnsigned)
    );
}

#[tokio::test]
async fn a_thousand_ask_at_once_and_the_registry_is_asked_once() {
    let world = World::new(|_, _| {});
    let question = world
        .question(":signed", &[&policy(&["a"], &[])])
        .unwrap()
        .unwrap();
    let keys: Vec<_> = (0..1000)
        .map(|index| Key::new("town", format!("p{index}")))
        .collect();
    let asked = keys.iter().map(|key| world.images.ask(&question, key, world.now));
    let mut errands: Vec<_> = asked
        .filter_map(|asked| match asked {
            Asked::Errand(errand) => Some(errand),
            Asked::Known(_) | Asked::Joined => None,
        })
        .collect();
    assert_eq!(errands.len(), 1);
    let mut triggered = errands.remove(0).await;
    triggered.sort();
    let mut all = keys.clone();
    all.sort();
    assert_eq!(triggered, all);
    let first = world.fake.asked();
    assert!(first.len() <= 10, "{first:?}");
    // By tag and, later, by digest: the signature is not asked for again.
    let by_digest = format!("@{}", world.digests["signed"]);
    assert_eq!(world.reason(&by_digest, &[&policy(&["a"], &[])]).await, "allowed");
    assert!(world.fake.asked().is_empty());
}

#[tokio::test]
async fn a_registry_that_cannot_be_asked_is_asked_again_after_a_pause_that_doubles() {
    let mut world = World::new(|_, _| {});
    let question = world
        .question(":signed", &[&policy(&["a"], &[])])
        .unwrap()
        .unwrap();
    world.fake.held.lock().unwrap().fails = Some(503);
    for pause in [10, 20, 40].map(SignedDuration::from_secs) {
        let before = Timestamp::now();
        let Answer::Unreachable { refusal, again } = world.answer_to(&question).await else {
            panic!("it answers");
        };
        assert_eq!(refusal.reason, Reason::RegistryUnreachable);
        assert!(refusal.message.contains("503"), "{}", refusal.message);
        // It counts from the answer, which came between the two.
        let (least, most) = (
            again.duration_since(Timestamp::now()),
            again.duration_since(before),
        );
        assert!(
            least <= pause && pause <= most,
            "{pause} is not in {least} to {most}"
        );
        world.now = again;
    }
    world.fake.held.lock().unwrap().fails = None;
    assert!(matches!(world.answer_to(&question).await, Answer::Allowed { .. }));
}

#[tokio::test]
async fn an_errand_that_is_dropped_leaves_nobody_waiting() {
    let world = World::new(|_, _| {});
    let question = world
        .question(":signed", &[&policy(&["a"], &[])])
        .unwrap()
        .unwrap();
    let who = Key::new("town", "me");
    let first = world.images.ask(&question, &who, world.now);
    assert!(matches!(first, Asked::Errand(_)));
    assert!(matches!(
        world.images.ask(&question, &who, world.now),
        Asked::Joined
    ));
    drop(first);
    let again = world.images.ask(&question, &who, world.now);
    let Asked::Errand(errand) = again else {
        panic!("nobody asks any more");
    };
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(20), errand).await,
        Ok(vec![who])
    );
}

#[tokio::test]
async fn without_a_registry_a_bundle_in_the_folder_speaks_for_an_image_by_digest() {
    let folder = std::env::temp_dir().join(format!("gastown-bundles-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let world = World::new(|settings, fake| {
        settings.config.registries.clear();
        settings.image_bundles = Some(folder.clone());
        for (name, bundle) in &fake.held.lock().unwrap().blobs {
            if bundle.starts_with(b"{\"mediaType\"") {
                std::fs::write(folder.join(name.replace(':', "-") + ".json"), bundle).unwrap();
            }
        }
    });
    let a = policy(&["a"], &[]);
    let name = |image: &str| format!("@{}", world.digests[image]);
    let found = world.reason(&name("bundled"), &[&a]).await;
    let refused = world.reason(&name("stranger"), &[&a]).await;
    let unpinned = world.reason(":bundled", &[&a]).await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        (found, refused, unpinned),
        ("allowed", "ImageSignatureInvalid", "ImageNotPinned")
    );
    assert_eq!(world.reason(&name("unsigned"), &[&a]).await, "ImageUnsigned");
    assert!(world.fake.asked().is_empty());
}

#[tokio::test]
async fn a_policy_of_a_rig_that_cannot_be_used_refuses_every_image() {
    let world = World::new(|_, _| {});
    let broken = ImagePolicy {
        keys: vec!["cosign.pub".to_owned()],
        ..ImagePolicy::default()
    };
    let refusal = world.question(":signed", &[&broken]).unwrap_err();
    assert_eq!(refusal.reason, Reason::SpecIncomplete);
    assert!(
        refusal.message.contains("the policy: keys[0] \"cosign.pub\""),
        "{}",
        refusal.message
    );
}
