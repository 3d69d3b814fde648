//! `kubectl gt auth`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::transcript::Transcript;
use crate::world::World;

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_real_claude_folder_syncs_what_it_should_and_says_what_it_left_out() {
    let world = World::new();
    let mut t = Transcript::new("auth_sync");
    let home = tempfile::tempdir().unwrap();
    t.word(&home.path().to_string_lossy(), "HOME");
    t.environment("HOME", &home.path().to_string_lossy());
    t.environment("CLAUDE_CONFIG_DIR", "");
    t.run("auth sync -n town");
    let claude = home.path().join(".claude");
    fs::create_dir(&claude).unwrap();
    t.run("auth sync -n town");
    write(
        &claude,
        ".credentials.json",
        br#"{"claudeAiOauth":{"accessToken":"very-secret","expiresAt":4102444800000}}"#,
    );
    write(&claude, "settings.json", b"{}");
    write(&claude, "skills/review/SKILL.md", b"# review");
    write(&claude, "skills/review/nested/more.md", b"more");
    write(&claude, "skills/review/.env", b"KEY=very-secret");
    write(&claude, "hooks/check.sh", b"#!/bin/sh");
    write(&claude, "projects/p/session.jsonl", &vec![b'x'; 3 * 1024 * 1024]);
    symlink(claude.join("skills"), claude.join("skills/review/loop")).unwrap();
    t.run("auth status -n town");
    t.run("auth sync --dry-run -n town");
    t.run("auth sync -n town");
    t.run("auth sync --dry-run=server -n town");
    assert!(
        world.find_secret("claude-creds").is_none(),
        "nothing was uploaded"
    );
    t.run("auth sync --yes -n town");
    t.run("auth sync --yes -n town -o name");
    t.run("auth status -n town");
    t.environment("MY_KEY", "sk-ant-very-secret");
    t.run("auth sync --api-key-from-env MY_KEY --yes -n town -o 'jsonpath={.data}'");
    t.run("auth sync --api-key-from-env NOT_SET -n town");
    t.environment("MY_KEY", "Bearer very-secret");
    t.run("auth sync --api-key-from-env MY_KEY --yes -n town");
    // A plain sync takes no key away; only who asks for it does.
    fs::remove_file(claude.join("skills/review/nested/more.md")).unwrap();
    t.run("auth sync --yes -n town");
    let keys = || {
        let secret = world.secret("claude-creds");
        let keys = secret["data"].as_object().unwrap().keys().cloned();
        keys.collect::<Vec<_>>()
    };
    assert!(keys().contains(&"ANTHROPIC_API_KEY".to_owned()));
    t.run("auth sync --remove ANTHROPIC_API_KEY --yes -n town");
    assert!(!keys().contains(&"ANTHROPIC_API_KEY".to_owned()));
    let noise: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    write(&claude, "skills/big/a.bin", &noise[..900_000]);
    write(&claude, "skills/big/b.bin", &noise[900_000..1_800_000]);
    t.run("auth sync -n town");
    assert_eq!(
        keys(),
        [".credentials.json", "claude-home.tar.gz", "settings.json"]
    );
    t.end();
}

/// A key as `ssh-keygen` writes it, as far as it is read before ssh; it opens nothing.
fn key(cipher: &str, mark: u8) -> Vec<u8> {
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let parts = [string(cipher.as_bytes()), string(b"none"), string(b"")].concat();
    let halves = [string(&[mark; 51]), string(&[mark; 130])].concat();
    let body = STANDARD.encode([b"openssh-key-v1\0", &parts[..], &[0, 0, 0, 1], &halves].concat());
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n").into_bytes()
}

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

#[test]
fn the_git_secret_is_made_for_one_repository_and_a_bad_one_is_refused() {
    let world = World::new();
    let mut t = Transcript::new("auth_git");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_string_lossy().into_owned();
    t.word(&at, "FOLDER");
    write(folder.path(), "good", &key("none", 7));
    write(folder.path(), "locked", &key("aes256-ctr", 7));
    write(folder.path(), "key.pub", b"ssh-ed25519 AAAA me");
    let host_key = format!("git.example.com {HOST_KEY}\n");
    write(folder.path(), "known_hosts", host_key.as_bytes());
    write(
        folder.path(),
        "elsewhere",
        format!("other.example.com {HOST_KEY}\n").as_bytes(),
    );
    world.rig("demo");
    t.run(&format!("auth git --rig nowhere --key {at}/good -n town"));
    t.run(&format!("auth git --rig demo --key {at}/missing -n town"));
    t.run(&format!("auth git --rig demo --key {at}/locked -n town"));
    t.run(&format!("auth git --rig demo --key {at}/key.pub -n town"));
    t.run(&format!(
        "auth git --rig demo --key {at}/good --known-hosts {at}/good -n town"
    ));
    t.run(&format!(
        "auth git --rig demo --key {at}/good --known-hosts {at}/elsewhere -n town"
    ));
    t.run("auth git --rig demo --token-from-env GIT_TOKEN -n town");
    t.run(&format!(
        "auth git --rig demo --key {at}/good --known-hosts {at}/known_hosts -n town"
    ));
    t.run(&format!(
        "auth git --url git@github.com:a/b --key {at}/good --dry-run -n town -o 'jsonpath={{.data}}'"
    ));
    t.run(&format!(
        "auth git --url https://github.com/a/b --key {at}/good -n town"
    ));
    t.run("auth git --url https://github.com/a/b --token-from-env GIT_TOKEN -n town");
    t.environment("GIT_TOKEN", "ghp_very-secret");
    t.run("auth git --url https://github.com/a/b --token-from-env GIT_TOKEN --name other -n town -o json");
    t.run("auth git --url http://github.com/a/b --token-from-env GIT_TOKEN -n town");
    t.run("auth git --url https://github.com/a/b --token-from-env GIT_TOKEN --username u:p --name other -n town");
    t.run("auth git --url https://github.com/a/b --token-from-env GIT_TOKEN --host https://x --name other -n town");
    t.run("auth status -n town --git-secret git-creds");
    t.end();
    let hosts = world.secret("git-creds")["data"]["hosts"].clone();
    assert_eq!(hosts, STANDARD.encode("git.example.com"));
}

#[test]
fn a_second_rig_takes_nothing_from_the_first() {
    let world = World::new();
    let mut t = Transcript::new("auth_git_second");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_string_lossy().into_owned();
    t.word(&at, "FOLDER");
    write(folder.path(), "first", &key("none", 7));
    write(folder.path(), "second", &key("none", 9));
    for host in ["git.example.com", "other.example.com"] {
        write(folder.path(), host, format!("{host} {HOST_KEY}\n").as_bytes());
    }
    world.rig("demo");
    world.rig_of("elsewhere", "git@other.example.com:org/repo.git");
    world.rig_of("beside", "git@git.example.com:org/beside.git");
    let data = |secret: &str, key: &str| {
        let secret = world.secret(secret);
        let bytes = STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    t.run(&format!(
        "auth git --rig demo --key {at}/first --known-hosts {at}/git.example.com -n town"
    ));
    t.run("rig doctor elsewhere -n town");
    // The same key for another host: hosts and host keys are added.
    t.run(&format!(
        "auth git --rig elsewhere --key {at}/first --known-hosts {at}/other.example.com -n town"
    ));
    assert_eq!(data("git-creds", "hosts"), "git.example.com\nother.example.com");
    assert_eq!(data("git-creds", "known_hosts").lines().count(), 2);
    // A deploy key of a second repository, on the first one's host: a secret of its own.
    let second =
        format!("auth git --rig beside --key {at}/second --known-hosts {at}/git.example.com -n town");
    t.run(&format!("{second} --dry-run"));
    t.run(&second);
    let first = String::from_utf8(key("none", 7)).unwrap();
    assert_eq!(data("git-creds", "ssh-privatekey"), first);
    assert_ne!(data("git-creds-beside", "ssh-privatekey"), first);
    t.run("rig doctor beside -n town");
    // Once more, it is the rig's own secret that is renewed.
    t.run(&second);
    t.run(&format!("{second} --name git-creds"));
    t.run(&format!("{second} --name git-creds --replace"));
    assert_ne!(data("git-creds", "ssh-privatekey"), first);
    t.end();
}
