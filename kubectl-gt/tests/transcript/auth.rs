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
    t.run("auth sync -n town -o name");
    t.run("auth status -n town");
    t.environment("MY_KEY", "sk-ant-very-secret");
    t.run("auth sync --api-key-from-env MY_KEY -n town -o 'jsonpath={.data}'");
    t.run("auth sync --api-key-from-env NOT_SET -n town");
    let noise: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    write(&claude, "skills/big/a.bin", &noise[..900_000]);
    write(&claude, "skills/big/b.bin", &noise[900_000..1_800_000]);
    t.run("auth sync -n town");
    let secret = world.secret("claude-creds");
    let keys: Vec<_> = secret["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            ".credentials.json",
            "ANTHROPIC_API_KEY",
            "claude-home.tar.gz",
            "settings.json"
        ]
    );
    t.end();
}

fn key(cipher: &str) -> Vec<u8> {
    let mut raw = b"openssh-key-v1\0".to_vec();
    raw.extend(u32::try_from(cipher.len()).unwrap().to_be_bytes());
    raw.extend(cipher.as_bytes());
    let body = STANDARD.encode(raw);
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n").into_bytes()
}

#[test]
fn the_git_secret_is_made_for_one_repository_and_a_bad_one_is_refused() {
    let world = World::new();
    let mut t = Transcript::new("auth_git");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_string_lossy().into_owned();
    t.word(&at, "FOLDER");
    write(folder.path(), "good", &key("none"));
    write(folder.path(), "locked", &key("aes256-ctr"));
    write(folder.path(), "key.pub", b"ssh-ed25519 AAAA me");
    write(
        folder.path(),
        "known_hosts",
        b"git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n",
    );
    world.rig("demo");
    t.run(&format!("auth git --rig nowhere --key {at}/good -n town"));
    t.run(&format!("auth git --rig demo --key {at}/missing -n town"));
    t.run(&format!("auth git --rig demo --key {at}/locked -n town"));
    t.run(&format!("auth git --rig demo --key {at}/key.pub -n town"));
    t.run(&format!(
        "auth git --rig demo --key {at}/good --known-hosts {at}/good -n town"
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
    t.run("auth status -n town --git-secret git-creds");
    t.end();
    let hosts = world.secret("git-creds")["data"]["hosts"].clone();
    assert_eq!(hosts, STANDARD.encode("git.example.com"));
}
