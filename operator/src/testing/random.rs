//! Random Rigs and Polecats that the schema and the operator both accept: the same seed makes the same ones. The
//! admission tests put the same polecats to a real API server.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// Classes that a cluster must have for the pods of these polecats.
pub const PRIORITY_CLASSES: [&str; 2] = ["batch-low", "batch-high"];
/// The same.
pub const RUNTIME_CLASSES: [&str; 2] = ["gvisor", "kata-qemu"];

/// A Polecat that can be run, alone or with [`rig`].
pub fn polecat(rng: &mut Rng) -> Value {
    let mut spec = Map::new();
    spec.insert("rig".into(), json!(name(rng, 60)));
    spec.insert("desiredState".into(), json!("Working"));
    let task = text(rng);
    match rng.u8(..3) {
        0 => put(&mut spec, "task", json!({"description": task})),
        1 => put(&mut spec, "taskDescription", json!(task)),
        _ => put(
            &mut spec,
            "beadID",
            json!(format!("{}-{}", letters(rng, 2, 6), name(rng, 20))),
        ),
    }
    if rng.bool() {
        put(&mut spec, "beadID", json!(format!("mp-{}", letters(rng, 1, 8))));
    }
    put(&mut spec, "kubernetes", kubernetes(rng));
    maybe(rng, &mut spec, "agentConfig", agent_config);
    maybe(rng, &mut spec, "resources", resources);
    maybe(rng, &mut spec, "budget", |rng| json!({"tokens": rng.i64(1..)}));
    for field in [
        "priority",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "maxIdleSeconds",
    ] {
        maybe(rng, &mut spec, field, |rng| json!(rng.i32(0..=1000)));
    }
    json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Polecat",
        "metadata": {
            "name": name(rng, 55), "namespace": "town", "uid": format!("{:032x}", rng.u128(..)),
            "generation": 1, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    })
}

/// A Rig with anything its polecats may take from it.
pub fn rig(rng: &mut Rng) -> Value {
    let mut defaults = Map::new();
    maybe(rng, &mut defaults, "backoffLimit", |rng| json!(rng.i32(0..=1000)));
    maybe(rng, &mut defaults, "kubernetes", |rng| {
        let mut pod = Map::new();
        placement(rng, &mut pod);
        maybe(rng, &mut pod, "resources", resources);
        maybe(rng, &mut pod, "hostUsers", |rng| json!(rng.bool()));
        maybe(rng, &mut pod, "activeDeadlineSeconds", deadline);
        Value::Object(pod)
    });
    json!({
        "apiVersion": "gastown.gastown.io/v1alpha1",
        "kind": "Rig",
        "metadata": {"name": "r", "generation": 1},
        "spec": {
            "gitURL": repository(rng), "beadsPrefix": letters(rng, 2, 9) + "z",
            "gitSecretRef": {"name": name(rng, 40)}, "claudeCredsSecretRef": {"name": name(rng, 40)},
            "polecatDefaults": defaults,
        },
    })
}

fn kubernetes(rng: &mut Rng) -> Value {
    let mut kubernetes = Map::new();
    put(&mut kubernetes, "gitRepository", json!(repository(rng)));
    put(&mut kubernetes, "gitSecretRef", json!({"name": name(rng, 60)}));
    put(
        &mut kubernetes,
        "claudeCredsSecretRef",
        json!({"name": name(rng, 60)}),
    );
    maybe(
        rng,
        &mut kubernetes,
        "apiKeySecretRef",
        |rng| json!({"name": name(rng, 60), "key": name(rng, 20)}),
    );
    for field in ["gitBranch", "workBranch"] {
        maybe(rng, &mut kubernetes, field, |rng| {
            json!(format!("{}/{}", letters(rng, 1, 9), name(rng, 30)))
        });
    }
    maybe(rng, &mut kubernetes, "image", |rng| {
        json!(format!(
            "registry.example/{}/{}:{}",
            letters(rng, 1, 9),
            name(rng, 30),
            rng.u16(..)
        ))
    });
    maybe(rng, &mut kubernetes, "resources", resources);
    maybe(rng, &mut kubernetes, "activeDeadlineSeconds", deadline);
    maybe(
        rng,
        &mut kubernetes,
        "sshKnownHostsConfigMapRef",
        |rng| json!({"name": name(rng, 60)}),
    );
    maybe(rng, &mut kubernetes, "sshStrictHostKeyChecking", |_| json!("yes"));
    placement(rng, &mut kubernetes);
    Value::Object(kubernetes)
}

fn placement(rng: &mut Rng, pod: &mut Map<String, Value>) {
    maybe(rng, pod, "imagePullSecrets", |rng| {
        (0..rng.u8(..4)).map(|_| json!({"name": name(rng, 60)})).collect()
    });
    maybe(rng, pod, "nodeSelector", |rng| {
        let label = |rng: &mut Rng| (format!("example.com/{}", name(rng, 20)), json!(name(rng, 20)));
        let count = rng.u8(..5);
        Value::Object((0..count).map(|_| label(rng)).collect())
    });
    maybe(rng, pod, "tolerations", |rng| {
        (0..rng.u8(..5)).map(|_| toleration(rng)).collect()
    });
    maybe(rng, pod, "affinity", affinity);
    maybe(rng, pod, "priorityClassName", |rng| {
        json!(rng.choice(PRIORITY_CLASSES))
    });
    maybe(rng, pod, "runtimeClassName", |rng| {
        json!(rng.choice(RUNTIME_CLASSES))
    });
}

fn toleration(rng: &mut Rng) -> Value {
    match rng.u8(..3) {
        0 => json!({"operator": "Exists"}),
        1 => {
            json!({"key": name(rng, 20), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": rng.u16(..)})
        }
        _ => {
            json!({"key": name(rng, 20), "operator": "Equal", "value": name(rng, 20), "effect": "NoSchedule"})
        }
    }
}

fn affinity(rng: &mut Rng) -> Value {
    let term = json!({"key": name(rng, 20), "operator": "In", "values": [name(rng, 20)]});
    match rng.u8(..3) {
        0 => json!({}),
        1 => json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [term]}],
        }}}),
        _ => json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": rng.i32(1..=100),
            "podAffinityTerm": {"labelSelector": {"matchExpressions": [term]}, "topologyKey": "kubernetes.io/hostname"},
        }]}}),
    }
}

fn agent_config(rng: &mut Rng) -> Value {
    let mut config = Map::new();
    maybe(rng, &mut config, "model", |rng| {
        json!(format!("claude-{}", name(rng, 20)))
    });
    maybe(rng, &mut config, "provider", |_| json!("anthropic"));
    maybe(
        rng,
        &mut config,
        "configMapRef",
        |rng| json!({"name": name(rng, 60)}),
    );
    maybe(rng, &mut config, "env", |rng| {
        (0..rng.usize(..6)).map(|n| variable(rng, n)).collect()
    });
    Value::Object(config)
}

fn variable(rng: &mut Rng, number: usize) -> Value {
    let name_of = format!("{}_{number}", letters(rng, 1, 9).to_uppercase());
    match rng.u8(..4) {
        0 => json!({"name": name_of, "value": text(rng)}),
        1 => {
            let path = rng.choice(["metadata.name", "metadata.uid", "status.podIP", "spec.nodeName"]);
            json!({"name": name_of, "valueFrom": {"fieldRef": {"fieldPath": path}}})
        }
        2 => json!({"name": name_of, "valueFrom": {"configMapKeyRef": {
            "name": name(rng, 40), "key": name(rng, 20), "optional": rng.bool(),
        }}}),
        _ => json!({"name": name_of, "valueFrom": {"resourceFieldRef": {
            "containerName": "claude", "resource": "limits.memory", "divisor": "1Mi",
        }}}),
    }
}

/// Requests below limits, or only one of them, or of only one resource.
fn resources(rng: &mut Rng) -> Value {
    let (cpu, memory) = (rng.u32(1..4000), rng.u32(16..65_536));
    let mut all = Map::new();
    let mut limits = Map::new();
    let mut requests = Map::new();
    maybe(rng, &mut limits, "cpu", |rng| {
        json!(format!("{}m", cpu + rng.u32(..4000)))
    });
    maybe(rng, &mut limits, "memory", |rng| {
        json!(format!("{}Mi", memory + rng.u32(..65_536)))
    });
    maybe(rng, &mut requests, "cpu", |_| json!(format!("{cpu}m")));
    maybe(rng, &mut requests, "memory", |_| json!(format!("{memory}Mi")));
    maybe(rng, &mut all, "limits", |_| Value::Object(limits));
    maybe(rng, &mut all, "requests", |_| Value::Object(requests));
    Value::Object(all)
}

/// Mostly hours, at times more than a pod can have.
fn deadline(rng: &mut Rng) -> Value {
    json!(if rng.u8(..10) == 0 {
        rng.i64(1..)
    } else {
        rng.i64(1..100_000)
    })
}

fn repository(rng: &mut Rng) -> String {
    let path = format!("{}/{}", letters(rng, 1, 12), name(rng, 30));
    match rng.u8(..4) {
        0 => format!("git@git.{}.example:{path}.git", letters(rng, 1, 9)),
        1 => format!("https://{}.example:8443/{path}", letters(rng, 1, 9)),
        2 => format!("ssh://git@{}.example:{}/{path}", letters(rng, 1, 9), rng.u16(1..)),
        _ => format!("git@github.com:{path}.git"),
    }
}

fn put(object: &mut Map<String, Value>, field: &str, value: Value) {
    object.insert(field.to_owned(), value);
}

fn maybe(rng: &mut Rng, object: &mut Map<String, Value>, field: &str, make: impl FnOnce(&mut Rng) -> Value) {
    if rng.bool() {
        let value = make(rng);
        put(object, field, value);
    }
}

fn letters(rng: &mut Rng, least: usize, most: usize) -> String {
    let count = rng.usize(least..=most);
    (0..count).map(|_| rng.lowercase()).collect()
}

/// A DNS label of at most `most` characters.
fn name(rng: &mut Rng, most: usize) -> String {
    let count = rng.usize(1..=most);
    let mut name = String::with_capacity(count);
    for at in 0..count {
        let inner = at > 0 && at + 1 < count && !name.ends_with('-');
        name.push(if inner && rng.u8(..5) == 0 {
            '-'
        } else {
            rng.choice(b"abcxyz019".map(char::from)).unwrap_or('a')
        });
    }
    name
}

/// Words with what breaks parsers.
fn text(rng: &mut Rng) -> String {
    let odd = [
        "fix", "the bug", "\n", "\"", "\\", "${HOME}", "$(id)", "é", "\u{202e}", "{{x}}", "\t", "'", "🦀",
    ];
    let count = rng.usize(1..12);
    let words: Vec<_> = (0..count).filter_map(|_| rng.choice(odd)).collect();
    format!("do {}", words.join(" "))
}
