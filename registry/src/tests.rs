//! The client against a registry on this machine.

use gastown_signatures::PROVENANCE;
use serde_json::json;

use super::fake::Fake;
use super::*;

fn registries(hosts: &[&str], docker_config: &str) -> Registries {
    let places = Places {
        registries: Some(hosts.iter().map(|&host| host.to_owned()).collect()),
        mirrors: BTreeMap::new(),
    };
    let credentials = Credentials::read(docker_config.as_bytes()).unwrap();
    Registries::open(places, credentials, b"", None).unwrap()
}

fn image(fake: &Fake, tag: &str) -> ImageReference {
    format!("{}/team/agent:{tag}", fake.host).parse().unwrap()
}

fn auth(host: &str, pair: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    json!({"auths": {host: {"auth": pair}}}).to_string()
}

fn kinds(attached: &[Attached]) -> (usize, usize, usize) {
    let count = |is: fn(&Attached) -> bool| attached.iter().filter(|one| is(one)).count();
    (
        count(|one| matches!(one, Attached::Bundle(_))),
        count(|one| matches!(one, Attached::Simple { .. })),
        count(|one| matches!(one, Attached::Envelope(_))),
    )
}

#[tokio::test]
async fn a_tag_is_resolved_and_what_is_attached_is_found_with_and_without_the_referrers_api() {
    for lists_referrers in [false, true] {
        let (fake, images) = Fake::with_vectors();
        fake.held.lock().unwrap().lists_referrers = lists_referrers;
        let (registries, image) = (registries(&[&fake.host], "{}"), image(&fake, "signed"));
        let digest = registries.digest_of(&image).await.unwrap();
        assert_eq!(digest.to_string(), images["signed"]);
        let all = registries.attached_to(&image, &digest, &|_| true).await.unwrap();
        assert_eq!(kinds(&all), (2, 1, 1), "{lists_referrers}");
        let provenance = registries.attached_to(&image, &digest, &|kind| kind == PROVENANCE);
        assert_eq!(kinds(&provenance.await.unwrap()), (2, 1, 1));
        fake.asked();
        let signatures = registries.attached_to(&image, &digest, &|_| false).await.unwrap();
        assert_eq!(kinds(&signatures), (1, 1, 0));
        assert_eq!(
            fake.asked()
                .iter()
                .filter(|path| path.contains("/blobs/"))
                .count(),
            2
        );
    }
}

#[tokio::test]
async fn a_moved_tag_leads_elsewhere_and_an_image_that_is_not_there_is_told() {
    let (fake, images) = Fake::with_vectors();
    let registries = registries(&[&fake.host], "{}");
    let moved = fake.held.lock().unwrap().manifests[&images["unsigned"]].clone();
    fake.held
        .lock()
        .unwrap()
        .manifests
        .insert("signed".to_owned(), moved);
    let digest = registries.digest_of(&image(&fake, "signed")).await.unwrap();
    assert_eq!(digest.to_string(), images["unsigned"]);
    let none = registries
        .attached_to(&image(&fake, "signed"), &digest, &|_| true)
        .await;
    assert_eq!(none, Ok(Vec::new()));
    let missing = registries.digest_of(&image(&fake, "none")).await;
    assert!(matches!(missing, Err(Ask::NoImage { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_registry_that_is_not_listed_is_never_asked() {
    let (fake, _) = Fake::with_vectors();
    let outcome = registries(&["ghcr.io"], "{}")
        .digest_of(&image(&fake, "signed"))
        .await;
    assert_eq!(
        outcome,
        Err(Ask::NotListed {
            registry: fake.host.clone()
        })
    );
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_mirror_is_asked_in_the_registrys_place_and_the_registry_where_the_mirror_has_nothing() {
    let (mirror, images) = Fake::with_vectors();
    let (source, _) = Fake::with_vectors();
    let places = Places {
        registries: Some(vec![source.host.clone()]),
        mirrors: BTreeMap::from([(
            format!("{}/team", source.host),
            vec![format!("{}/copies", mirror.host)],
        )]),
    };
    let registries = Registries::open(places, Credentials::default(), b"", None).unwrap();
    let image = image(&source, "signed");
    assert_eq!(
        registries.digest_of(&image).await.unwrap().to_string(),
        images["signed"]
    );
    assert_eq!(mirror.asked(), ["/v2/copies/agent/manifests/signed"]);
    assert!(source.asked().is_empty());
    mirror.held.lock().unwrap().manifests.clear();
    registries.digest_of(&image).await.unwrap();
    mirror.held.lock().unwrap().fails = Some(503);
    registries.digest_of(&image).await.unwrap();
    assert_eq!(source.asked().len(), 2);
}

#[tokio::test]
async fn a_credential_is_shown_when_asked_for_and_follows_no_redirect() {
    let (fake, _) = Fake::with_vectors();
    let (elsewhere, _) = Fake::with_vectors();
    let basic = "Basic dXNlcjpodW50ZXIy";
    {
        let mut held = fake.held.lock().unwrap();
        held.wants = Some((basic.to_owned(), "Basic realm=\"r\"".to_owned()));
        held.blobs_at = Some(format!("http://{}", elsewhere.host));
    }
    let registries = registries(&[&fake.host], &auth(&fake.host, "user:hunter2"));
    let image = image(&fake, "plain");
    let digest = registries.digest_of(&image).await.unwrap();
    assert!(
        !registries
            .attached_to(&image, &digest, &|_| true)
            .await
            .unwrap()
            .is_empty()
    );
    let asked = std::mem::take(&mut fake.held.lock().unwrap().asked);
    assert_eq!(asked[0].1, "", "nothing is shown before it is asked for");
    assert!(asked[1..].iter().any(|(_, shown)| shown == basic));
    let led = std::mem::take(&mut elsewhere.held.lock().unwrap().asked);
    assert!(
        !led.is_empty() && led.iter().all(|(_, shown)| shown.is_empty()),
        "{led:?}"
    );
}

#[tokio::test]
async fn a_token_is_fetched_once_for_a_repository() {
    let (fake, _) = Fake::with_vectors();
    let realm = format!("http://{}/token", fake.host);
    {
        let mut held = fake.held.lock().unwrap();
        held.wants = Some((
            "Bearer t0ken".to_owned(),
            format!("Bearer realm=\"{realm}\",service=\"a b\""),
        ));
        held.token = Some(("Basic dTpw".to_owned(), r#"{"token": "t0ken"}"#.to_owned()));
    }
    let registries = registries(&[&fake.host], &auth(&fake.host, "u:p"));
    let image = image(&fake, "signed");
    let digest = registries.digest_of(&image).await.unwrap();
    registries.attached_to(&image, &digest, &|_| true).await.unwrap();
    let asked = fake.asked();
    let tokens: Vec<_> = asked.iter().filter(|path| path.starts_with("/token")).collect();
    assert_eq!(tokens, ["/token?scope=repository:team/agent:pull&service=a%20b"]);
}

#[tokio::test]
async fn a_credential_goes_to_no_token_service_without_tls() {
    for realm in [
        "http://auth.example/token",
        "https://user:word@auth.example/",
        "file:///etc/passwd",
        "",
    ] {
        let (fake, _) = Fake::with_vectors();
        fake.held.lock().unwrap().wants = Some(("x".to_owned(), format!("Bearer realm=\"{realm}\"")));
        let registries = registries(&[&fake.host], &auth(&fake.host, "u:p"));
        let outcome = registries.digest_of(&image(&fake, "signed")).await.unwrap_err();
        assert!(outcome.to_string().contains("no https URL"), "{outcome}");
    }
}

#[tokio::test]
async fn a_registry_that_refuses_fails_or_is_away_is_told_apart() {
    let (fake, _) = Fake::with_vectors();
    let ask = async || {
        let outcome = registries(&[&fake.host], "{}")
            .digest_of(&image(&fake, "signed"))
            .await;
        outcome.unwrap_err()
    };
    fake.held.lock().unwrap().wants = Some(("x".to_owned(), "Basic realm=\"r\"".to_owned()));
    let error = ask().await.to_string();
    assert!(
        error.contains("401") && error.contains("no credential"),
        "{error}"
    );
    for status in [429, 500, 503] {
        fake.held.lock().unwrap().fails = Some(status);
        assert!(matches!(ask().await, Ask::Unreachable { .. }), "{status}");
    }
    let away: ImageReference = "127.0.0.1:1/team/agent:1".parse().unwrap();
    let error = registries(&["127.0.0.1:1"], "{}")
        .digest_of(&away)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Ask::Unreachable { host, .. } if host == "127.0.0.1:1"),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_too_large_or_is_not_what_was_asked_for_is_refused() {
    let (fake, images) = Fake::with_vectors();
    let (registries, image) = (registries(&[&fake.host], "{}"), image(&fake, "plain"));
    let digest = images["plain"].parse().unwrap();
    let tag = tag_of(&digest, ".sig");
    let blob = {
        let held = fake.held.lock().unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&held.manifests[&tag]).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
    };
    fake.held
        .lock()
        .unwrap()
        .blobs
        .insert(blob.clone(), b"{}".to_vec());
    let outcome = registries
        .attached_to(&image, &digest, &|_| true)
        .await
        .unwrap_err();
    assert!(outcome.to_string().contains("has another digest"), "{outcome}");
    fake.held
        .lock()
        .unwrap()
        .blobs
        .insert(blob.clone(), vec![b' '; BLOB + 1]);
    let outcome = registries
        .attached_to(&image, &digest, &|_| true)
        .await
        .unwrap_err();
    assert!(
        matches!(outcome, Ask::TooLarge { limit: BLOB, .. }),
        "{outcome:?}"
    );
    fake.held.lock().unwrap().blobs.remove(&blob);
    let outcome = registries
        .attached_to(&image, &digest, &|_| true)
        .await
        .unwrap_err();
    assert!(outcome.to_string().contains("is missing"), "{outcome}");
    fake.held.lock().unwrap().manifests.insert(tag, b"{".to_vec());
    let outcome = registries
        .attached_to(&image, &digest, &|_| true)
        .await
        .unwrap_err();
    assert!(matches!(outcome, Ask::Damaged { .. }), "{outcome:?}");
}

#[tokio::test]
async fn the_images_of_an_index_are_told_with_their_platforms_and_an_image_has_none() {
    let (fake, images) = Fake::with_vectors();
    let entry = |os: &str, name: &str| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": images[name], "size": 1,
            "platform": {"os": os, "architecture": "amd64"}})
    };
    let index =
        json!({"schemaVersion": 2, "manifests": [entry("linux", "signed"), entry("unknown", "plain")]});
    let index = index.to_string().into_bytes();
    let digest = sha256(&index);
    for name in ["index".to_owned(), digest.to_string()] {
        fake.held.lock().unwrap().manifests.insert(name, index.clone());
    }
    let registries = registries(&[&fake.host], "{}");
    let image = image(&fake, "index");
    assert_eq!(registries.digest_of(&image).await, Ok(digest));
    let signed: Digest = images["signed"].parse().unwrap();
    let platforms = registries.platforms_of(&image, &digest).await;
    assert_eq!(platforms, Ok(vec![("linux/amd64".to_owned(), signed)]));
    assert_eq!(registries.platforms_of(&image, &signed).await, Ok(Vec::new()));
    let missing = registries.platforms_of(&image, &sha256(b"none")).await;
    assert!(matches!(missing, Err(Ask::NoImage { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_bundle_is_found_whatever_type_a_registry_lists_for_it() {
    let found_as = async |lists_referrers: bool, kind: &'static str| {
        let (fake, _) = Fake::with_vectors();
        {
            let mut held = fake.held.lock().unwrap();
            held.lists_referrers = lists_referrers;
            held.lists_as = Some(kind);
            for (name, list) in &mut held.manifests {
                if name.starts_with("sha256-") {
                    let text = String::from_utf8(std::mem::take(list)).unwrap();
                    let named = |kind: &str| format!("\"artifactType\":\"{kind}\"");
                    *list = text.replace(&named(BUNDLE), &named(kind)).into_bytes();
                }
            }
        }
        let (registries, image) = (registries(&[&fake.host], "{}"), image(&fake, "signed"));
        let digest = registries.digest_of(&image).await.unwrap();
        let all = registries.attached_to(&image, &digest, &|_| true).await;
        kinds(&all.unwrap())
    };
    for lists_referrers in [false, true] {
        for kind in [
            "application/vnd.oci.empty.v1+json",
            "application/vnd.oci.image.config.v1+json",
            "",
            BUNDLE,
        ] {
            let found = found_as(lists_referrers, kind).await;
            assert_eq!(found, (2, 1, 1), "{lists_referrers} {kind:?}");
        }
        let other = found_as(lists_referrers, "application/vnd.cyclonedx+json").await;
        assert_eq!(other, (0, 1, 1), "{lists_referrers}");
    }
}
