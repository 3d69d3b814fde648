//! Images and their signatures, in a registry on this machine that holds what cosign signed.

use gastown_registry_fake::Fake;

use crate::transcript::Transcript;

#[path = "../../../registry/src/fake.rs"]
mod gastown_registry_fake;

#[test]
fn an_image_is_verified_with_a_key_and_told_who_built_it() {
    let mut t = Transcript::new("verify");
    let (fake, images) = Fake::with_vectors();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_string_lossy().into_owned();
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../signatures/vectors/cosign-3.1.3.json")).unwrap();
    for (name, key) in vectors["keys"].as_object().unwrap() {
        std::fs::write(folder.path().join(format!("{name}.pub")), key.as_str().unwrap()).unwrap();
    }
    let bundles = fake.held.lock().unwrap().blobs.clone();
    for (digest, blob) in &bundles {
        if blob.starts_with(b"{\"mediaType\"") {
            std::fs::write(folder.path().join(&digest[7..15]), blob).unwrap();
        }
    }
    t.word(&fake.host, "REGISTRY");
    t.word(&at, "FOLDER");
    t.environment("KUBECONFIG", "/nowhere/kubeconfig");
    t.environment("HOME", &at);
    let image = |tag: &str| format!("{}/team/agent:{tag}", fake.host);
    t.run(&format!(
        "verify {} --key {at}/a.pub --signature-only",
        image("signed")
    ));
    t.run(&format!(
        "verify {} --key {at}/a.pub --signature-only -o json",
        image("signed")
    ));
    // It has provenance, and no bill of materials.
    t.run(&format!("verify {} --key {at}/a.pub", image("signed")));
    t.run(&format!(
        "verify {} --key {at}/b.pub --key {at}/rsa.pub --signature-only",
        image("plain")
    ));
    t.run(&format!("verify {} --key {at}/b.pub", image("signed")));
    t.run(&format!("verify {} --key {at}/a.pub", image("unsigned")));
    t.run(&format!("verify {} --key {at}/a.pub", image("none")));
    t.run(&format!("verify {} --key {at}/p384.pub", image("signed")));
    t.run(&format!("verify {} --key {at}/missing.pub", image("signed")));
    t.run(&format!("verify {}", image("signed")));
    t.run("verify https://ghcr.io/team/agent --key a.pub");
    t.run(&format!("verify 127.0.0.1:1/team/agent:1 --key {at}/a.pub"));
    let by_digest = format!("{}/team/agent@{}", fake.host, images["bundled"]);
    fake.asked();
    let mut bundles: Vec<_> = bundles
        .keys()
        .filter(|digest| folder.path().join(&digest[7..15]).exists())
        .collect();
    bundles.sort();
    let given: Vec<_> = bundles
        .iter()
        .map(|digest| format!("--bundle {at}/{}", &digest[7..15]))
        .collect();
    t.run(&format!(
        "verify {by_digest} --key {at}/a.pub --signature-only {}",
        given.join(" ")
    ));
    t.run(&format!(
        "verify {} --key {at}/a.pub {}",
        image("bundled"),
        given[0]
    ));
    assert!(fake.asked().is_empty(), "a bundle needs no registry");
    std::fs::create_dir(folder.path().join(".docker")).unwrap();
    std::fs::write(folder.path().join(".docker/config.json"), "hunter2").unwrap();
    t.run(&format!("verify {} --key {at}/a.pub", image("signed")));
    t.end();
}
