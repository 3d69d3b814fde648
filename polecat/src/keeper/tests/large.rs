//! More, and larger, than one push may have.

use super::resume::resumed;
use super::*;

#[test]
fn large_files_follow_after_all_others_and_are_all_saved() {
    let mut pod = pod();
    pod.order.git.max_push_bytes = 3 << 20;
    // What is random does not compress.
    for number in 0_u8..5 {
        let mut file = fs::File::create(pod.tree().join(format!("shard{number}"))).unwrap();
        let mut random = fs::File::open("/dev/urandom").unwrap();
        std::io::copy(&mut std::io::Read::take(&mut random, (1 << 20) + 4096), &mut file).unwrap();
    }
    pod.write("src/precious.py", "the work of hours\n");
    assert!(!lacks_something(pod.take()));
    let saved = pod.saved();
    assert_eq!(saved.keys().filter(|name| name.starts_with(b"shard")).count(), 5);
    let history = pod
        .upstream()
        .text(&["rev-list", "--reverse", &format!("main..{WIP}")])
        .unwrap();
    let first = history.lines().next().unwrap();
    let names = pod
        .upstream()
        .text(&["ls-tree", "-r", "--name-only", first])
        .unwrap();
    assert!(
        names.contains("src/precious.py") && !names.contains("shard"),
        "{names}"
    );
    assert_eq!(nothing(pod.take()), "the last snapshot holds it all");
    pod.write("src/precious.py", "more\n");
    pod.save();
    let each = pod
        .upstream()
        .text(&["log", "--format=", "--name-only", "--diff-filter=D", WIP])
        .unwrap();
    assert_eq!(each, "", "what is saved stays while it is read again");
    let (again, _) = resumed(&pod, |_| ());
    assert_eq!(
        pod.on_disk().keys().count(),
        fs::read_dir(&again).unwrap().count() - 1
    );
}

#[test]
fn many_small_files_are_split_as_well() {
    let mut pod = pod();
    pod.order.git.max_push_bytes = 1 << 20;
    let mut random = fs::File::open("/dev/urandom").unwrap();
    for number in 0..20 {
        let mut content = vec![0; 100 << 10];
        std::io::Read::read_exact(&mut random, &mut content).unwrap();
        pod.write(&format!("{number}"), content);
    }
    pod.save();
    assert_eq!(pod.saved().len(), 22);
    let pushes = pod
        .upstream()
        .text(&["rev-list", "--count", &format!("main..{WIP}")])
        .unwrap();
    assert_eq!(pushes, "3");
}

#[test]
fn large_files_that_cannot_be_pushed_cost_no_others_and_are_named() {
    let pod = pod();
    let hook = Path::new(&pod.url).join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script = "#!/bin/sh\nread old new name\n! git ls-tree -r --name-only $new | grep -q shard\n";
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    for number in 0..2 {
        let file = fs::File::create(pod.tree().join(format!("shard{number}"))).unwrap();
        file.set_len(20 << 20).unwrap();
    }
    pod.write("precious", "x");
    let Outcome::Saved { left_out, .. } = pod.take().unwrap() else {
        panic!("it holds what is precious")
    };
    assert_eq!(left_out.paths, 2);
    assert!(
        left_out.named[0].contains("shard0") && left_out.named[0].contains("pre-receive"),
        "{left_out:?}"
    );
    assert_eq!(pod.saved()[&b"precious"[..]].1, b"x");
}
