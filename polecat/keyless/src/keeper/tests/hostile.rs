//! A work tree that works against the keeper: traps in its repository, and files that change while they are read.

use super::*;

#[test]
fn nothing_of_the_agents_configuration_runs() {
    let pod = pod();
    let trap = pod.folder.path().join("trap");
    let spring = format!("touch {}; cat", trap.display());
    let git = Git::at(pod.tree());
    for key in [
        "core.fsmonitor",
        "filter.evil.clean",
        "filter.evil.process",
        "diff.external",
        "core.sshCommand",
        "core.pager",
    ] {
        git.run(&["config", key, &spring]).unwrap();
    }
    pod.write(".gitattributes", "* filter=evil diff=evil\n");
    commit_with_hook(&pod, &spring);
    pod.write("new", "x");
    pod.save();
    assert!(!trap.exists());
    assert_eq!(pod.saved()[&b"new"[..]].1, b"x");
}

fn commit_with_hook(pod: &Pod, script: &str) {
    let hooks = pod.tree().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for name in ["reference-transaction", "pre-push", "post-index-change"] {
        fs::write(hooks.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_work_tree_whose_repository_is_gone_is_saved() {
    let pod = pod();
    pod.write("a", "1");
    fs::remove_dir_all(pod.tree().join(".git")).unwrap();
    pod.save();
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
    assert!(pod.message().contains("could be read"), "{}", pod.message());
}

#[test]
fn a_repository_that_hangs_does_not_hold_a_snapshot_up() {
    let pod = pod();
    pod.write("a", "1");
    let git = pod.tree().join(".git");
    for name in ["packed-refs", "config", "HEAD"] {
        let _not_there = fs::remove_file(git.join(name));
        assert!(
            Program::new("mkfifo")
                .arg(git.join(name))
                .status()
                .unwrap()
                .success()
        );
    }
    assert!(lacks_something(pod.take_within(Duration::from_secs(12))));
}

/// Runs `change` over and over until the guard is dropped.
struct Restless(
    Arc<std::sync::atomic::AtomicBool>,
    Option<std::thread::JoinHandle<()>>,
);

impl Restless {
    fn doing(change: impl Fn() + Send + 'static) -> Self {
        let on = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let seen = Arc::clone(&on);
        let thread = std::thread::spawn(move || {
            while seen.load(std::sync::atomic::Ordering::Relaxed) {
                change();
            }
        });
        Self(on, Some(thread))
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_folder_that_is_swapped_for_a_link_shows_nothing_of_where_it_leads() {
    let pod = pod();
    let outside = pod.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("key"), "secret").unwrap();
    let (folder, aside) = (pod.tree().join("swapped"), pod.folder.path().join("aside"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("key"), "mine").unwrap();
    let restless = Restless::doing(move || {
        fs::rename(&folder, &aside).unwrap();
        symlink(&outside, &folder).unwrap();
        fs::remove_file(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
    });
    for round in 0..15 {
        pod.write("round", round.to_string());
        pod.save();
        for (name, (_, content)) in pod.saved() {
            assert_ne!(content, b"secret", "{name:?}");
        }
    }
    drop(restless);
}

#[test]
fn files_that_change_and_vanish_while_they_are_read_spoil_nothing_else() {
    let pod = pod();
    pod.write("steady", vec![3; 400_000]);
    let (growing, fleeting) = (pod.tree().join("growing"), pod.tree().join("fleeting"));
    let restless = Restless::doing(move || {
        fs::write(&growing, vec![1; 600_000]).unwrap();
        fs::write(&fleeting, vec![1; 300_000]).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&growing)
            .unwrap()
            .set_len(270_000)
            .unwrap();
        fs::remove_file(&fleeting).unwrap();
    });
    for round in 0..10 {
        pod.write("round", round.to_string());
        pod.save();
        let saved = pod.saved();
        assert_eq!(saved[&b"steady"[..]].1, vec![3; 400_000]);
        assert_eq!(saved[&b"round"[..]].1, round.to_string().into_bytes());
    }
    drop(restless);
}
