//! Images that polecats name, under a policy: each that is not signed as it must be is refused for its own reason, and one
//! that is signed runs by its digest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gastown_api::polecat::PolecatPhase;
use gastown_api::rig::Rig;
use gastown_tests::harness::{World, condition, node, operator, polecat, reason, stand_in, with_world_alone};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

/// What cosign signed.
struct Vectors {
    images: BTreeMap<String, String>,
    key: String,
    /// What the registry serves, by the testbed's names of files.
    served: BTreeMap<String, String>,
}

fn vectors() -> Vectors {
    let vectors = include_str!("../../signatures/vectors/cosign-3.1.3.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let texts = |part: &str| {
        let texts: BTreeMap<String, String> = serde_json::from_value(vectors[part].clone()).unwrap();
        texts
    };
    let file = |kind: &str, name: &str| format!("{kind}.{}", name.replace(':', "_"));
    let manifests = texts("manifests")
        .into_iter()
        .map(|(name, text)| (file("m", &name), text));
    let blobs = texts("blobs")
        .into_iter()
        .map(|(name, text)| (file("b", &name), text));
    Vectors {
        images: texts("images"),
        key: texts("keys")["a"].clone(),
        served: manifests
            .chain(blobs)
            .filter(|(_, text)| !text.is_empty())
            .collect(),
    }
}

impl Vectors {
    /// What lies beside an image: `.sig`, or nothing for the list of bundles.
    fn beside(&self, image: &str, end: &str) -> String {
        format!("m.{}{end}", self.images[image].replace(':', "-"))
    }

    fn change(&mut self) {
        // The tag was moved to an image that nobody signed.
        let unsigned = self.served["m.unsigned"].clone();
        self.served.insert("m.moved".to_owned(), unsigned);
        // A digit of each signature is another one.
        let (signature, bundles) = (self.beside("plain", ".sig"), self.beside("plain", ""));
        let text = self.served[&signature].replace("cosign/signature\":\"ME", "cosign/signature\":\"MF");
        assert_ne!(text, self.served[&signature]);
        self.served.insert(signature, text);
        self.served.remove(&bundles);
    }

    /// Signs the image with `key` as cosign does, and serves its manifest under the tag `run`.
    async fn sign(&mut self, image: &str, key: &KeyPair) -> String {
        let (_, digest) = image.split_once('@').unwrap();
        let manifest = node::run(&format!("ctr --namespace k8s.io content get {digest}")).await;
        self.served.insert("m.run".to_owned(), manifest);
        let payload = json!({"critical": {
            "identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null})
        .to_string();
        let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
        let blob = gastown_crypto::sha256(payload.as_bytes()).to_string();
        let layer = json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "size": payload.len(), "digest": blob,
            "annotations": {"dev.cosignproject.cosign/signature": signature},
        });
        let list = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
        self.served
            .insert(format!("m.{}.sig", digest.replace(':', "-")), list);
        self.served
            .insert(format!("b.{}", blob.replace(':', "_")), payload);
        digest.to_owned()
    }
}

/// The secret that the operator's chart mounts: the registry's credential, and the certificate of its issuer.
async fn registry_secret(world: &World, host: &str) {
    let secrets = Api::<Secret>::namespaced(world.client.clone(), operator::NAMESPACE);
    let name = "gastown-registry";
    let _ = secrets.delete(name, &DeleteParams::default()).await;
    let pair = STANDARD.encode(format!("git:{}", world.keys.token));
    let auths = json!({"auths": {host: {"auth": pair}}}).to_string();
    let data = BTreeMap::from([
        (".dockerconfigjson".to_owned(), ByteString(auths.into_bytes())),
        (
            "ca.crt".to_owned(),
            ByteString(world.keys.authority.clone().into_bytes()),
        ),
    ]);
    let mut secret = Secret {
        data: Some(data),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    secrets.create(&PostParams::default(), &secret).await.unwrap();
}

/// A rig that wants images by digest.
async fn strict_rig(world: &World, name: &str) {
    let rig = json!({
        "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": name},
        "spec": {"gitURL": "git@testbed:/srv/git/calculator.git", "beadsPrefix": "mp", "imagePolicy": {"requireDigest": true}},
    });
    let rigs = Api::<Rig>::all(world.client.clone());
    rigs.create(&PostParams::default(), &serde_json::from_value(rig).unwrap())
        .await
        .unwrap();
}

fn of_image(name: &str, image: &str) -> Value {
    let mut object = polecat(name, "unused");
    object["spec"]["kubernetes"]["image"] = json!(image);
    object
}

/// Nobody signed it, the tag was moved to it, another key signed it, its signature was changed.
async fn are_refused(world: &World, host: &str) {
    let (unsigned, wrong) = ("ImageUnsigned", "ImageSignatureInvalid");
    for (name, image, why, words) in [
        ("unsigned", "team/agent:unsigned", unsigned, "it has no signature"),
        ("moved", "team/agent:moved", unsigned, "it has no signature"),
        ("stranger", "team/agent:stranger", wrong, "none of the keys"),
        ("tampered", "team/agent:plain", wrong, "none of the keys"),
    ] {
        world.sling(of_image(name, &format!("{host}/{image}"))).await;
        let (polecat, message) = world.is_stuck(name, why).await;
        assert!(
            message.contains(words) && message.contains(image),
            "{name}: {message}"
        );
        assert!(polecat.status.unwrap().attempts.is_empty(), "{name}");
        assert!(world.pods_of(name).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn images_that_are_not_signed_as_they_must_be_are_refused_and_one_that_is_runs() {
    with_world_alone("images", async |world: &World| {
        let host = format!("testbed.{}.svc", world.namespace);
        let (mut vectors, key) = (vectors(), KeyPair::generate().unwrap());
        vectors.change();
        let mut signed = stand_in(
            "dag",
            "echo done > signed.txt; git add . && git commit -qm 'Run signed'",
        );
        let image = signed["spec"]["kubernetes"]["image"].as_str().unwrap().to_owned();
        let digest = vectors.sign(&image, &key).await;
        let served = json!({"metadata": {"name": "testbed-registry"}, "data": vectors.served});
        world.create::<ConfigMap>(served).await;
        world.testbed().await;
        world.credentials().await;
        registry_secret(world, &host).await;
        let rig = format!("{}-strict", world.namespace);
        strict_rig(world, &rig).await;
        // As if the node had pulled it from there.
        let pinned = format!("{host}/team/agent@{digest}");
        node::run(&format!(
            "ctr --namespace k8s.io images tag --force {image} {pinned}"
        ))
        .await;
        let changes = json!({
            "imagePolicy": {"keys": [vectors.key, key.public_key_pem()]},
            "registries": [host, format!("{host}:9")],
        });
        operator::with_configuration(&world.client, changes, async || {
            are_refused(world, &host).await;
            let mut unpinned = of_image("unpinned", &format!("{host}/team/agent:signed"));
            unpinned["spec"]["rig"] = json!(rig);
            world.sling(unpinned).await;
            let (_, message) = world.is_stuck("unpinned", "ImageNotPinned").await;
            assert!(message.contains(&rig), "{message}");

            world
                .sling(of_image("away", &format!("{host}:9/team/agent:1")))
                .await;
            let is_away = |polecat: &_| reason(polecat) == "RegistryUnreachable";
            let away = world.polecat_until("away", "its registry is away", is_away).await;
            assert_eq!(away.status.as_ref().unwrap().phase, Some(PolecatPhase::Working));
            let (parked, _, message) = condition(&away, "Parked").unwrap();
            assert!(parked && message.contains(":9"), "{message}");

            signed["spec"]["kubernetes"]["image"] = json!(format!("{host}/team/agent:run"));
            world.sling(signed).await;
            let done = world.ends("dag", PolecatPhase::Done).await;
            assert_eq!(done.status.unwrap().agent_image.as_deref(), Some(pinned.as_str()));
        })
        .await;
        node::run(&format!("ctr --namespace k8s.io images rm {pinned}")).await;
        let rigs = Api::<Rig>::all(world.client.clone());
        rigs.delete(&rig, &DeleteParams::default()).await.unwrap();
        let secrets = Api::<Secret>::namespaced(world.client.clone(), operator::NAMESPACE);
        secrets
            .delete("gastown-registry", &DeleteParams::default())
            .await
            .unwrap();
    })
    .await;
}
