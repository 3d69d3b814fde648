//! Configurations that cannot be used, and what the administrator is told: the key, the value, the remedy.

use super::*;

/// How many bad inputs are tried here at least.
const LEAST: usize = 80;

const KEYS: &str = "config/defaults.yaml";

#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str, &str)] = &[
    // No YAML, or not of this shape.
    ("modelEndpoints: [", "configuration", "line 2", KEYS),
    ("\tdeadlineSeconds: 1", "configuration", "cannot start any token", KEYS),
    ("deadlineSeconds: 1\ndeadlineSeconds: 2", "configuration", "deadlineSeconds", KEYS),
    ("a: &a [*a]", "configuration", "line 1", KEYS),
    ("- a", "configuration", "sequence", KEYS),
    ("hello", "configuration", "hello", KEYS),
    ("{}\n---\n{}", "configuration", "document", KEYS),
    // Keys that do not exist.
    ("modelEndpoint: [https://x]", "modelEndpoint", "unknown field", KEYS),
    ("DeadlineSeconds: 1", "DeadlineSeconds", "unknown field", KEYS),
    ("deadline_seconds: 1", "deadline_seconds", "unknown field", KEYS),
    ("1: 2", "configuration", "1", KEYS),
    ("resources: {claude: {}}", "resources.claude", "unknown field", KEYS),
    ("volumes: {cache: 1Gi}", "volumes.cache", "unknown field", KEYS),
    ("prices: {m: {input: 1, output: 1, cacheWrite: 1, cacheRead: 1, batch: 1}}", "prices.m.batch", "unknown field", KEYS),
    ("prices: {m: {input: 1, output: 1}}", "prices.m", "cacheWrite", KEYS),
    // Values of another kind.
    ("modelEndpoints: https://x", "modelEndpoints", "https://x", KEYS),
    ("modelEndpoints: {a: b}", "modelEndpoints", "map", KEYS),
    ("allowedModels: 7", "allowedModels", "7", KEYS),
    ("gitHosts: [[a]]", "gitHosts[0]", "sequence", KEYS),
    ("knownHosts: [a]", "knownHosts", "sequence", KEYS),
    ("hostUsers: maybe", "hostUsers", "maybe", KEYS),
    ("imagePullSecrets: [{name: a}]", "imagePullSecrets[0]", "map", KEYS),
    ("resources: small", "resources", "small", KEYS),
    ("resources: {agent: {limits: 4Gi}}", "resources.agent.limits", "4Gi", KEYS),
    ("resources: {agent: {limits: {cpu: [1]}}}", "resources.agent.limits.cpu", "cpu", KEYS),
    ("volumes: 10Gi", "volumes", "10Gi", KEYS),
    ("prices: {m: 3}", "prices.m", "3", KEYS),
    ("prices: {m: {input: free, output: 1, cacheWrite: 1, cacheRead: 1}}", "prices.m.input", "free", KEYS),
    // Wrong units, and numbers that are none.
    ("maxPushBytes: 1Gi", "maxPushBytes", "1Gi", KEYS),
    ("maxPushBytes: -1", "maxPushBytes", "-1", KEYS),
    ("maxPushBytes: 1.5", "maxPushBytes", "1.5", KEYS),
    ("maxPushBytes: 0", "maxPushBytes", "\"0\"", "above 0"),
    ("deadlineSeconds: 1h", "deadlineSeconds", "1h", KEYS),
    ("deadlineSeconds: -3600", "deadlineSeconds", "-3600", KEYS),
    ("deadlineSeconds: 0", "deadlineSeconds", "\"0\"", "above 0"),
    ("deadlineSeconds: 99999999999", "deadlineSeconds", "99999999999", KEYS),
    ("parkingSeconds: 6h", "parkingSeconds", "6h", KEYS),
    ("parkingSeconds: 0", "parkingSeconds", "\"0\"", "above 0"),
    ("graceSeconds: soon", "graceSeconds", "soon", KEYS),
    ("graceSeconds: 5", "graceSeconds", "\"5\"", "at least 30"),
    ("graceSeconds: -1", "graceSeconds", "-1", KEYS),
    // Endpoints.
    ("modelEndpoints: []", "modelEndpoints", "[]", "at least one"),
    ("modelEndpoints: ['']", "modelEndpoints", "\"\"", "https://HOST"),
    ("modelEndpoints: [api.anthropic.com]", "modelEndpoints", "api.anthropic.com", "https://HOST"),
    ("modelEndpoints: ['ftp://x']", "modelEndpoints", "ftp://x", "https://HOST"),
    ("modelEndpoints: ['HTTPS://x']", "modelEndpoints", "HTTPS://x", "https://HOST"),
    ("modelEndpoints: ['https://']", "modelEndpoints", "https:", "https://HOST"),
    ("modelEndpoints: ['https://-x']", "modelEndpoints", "https://-x", "host name"),
    ("modelEndpoints: ['https://a b']", "modelEndpoints", "https://a b", "host name"),
    ("modelEndpoints: ['https://x:port']", "modelEndpoints", "https://x:port", "65535"),
    ("modelEndpoints: ['https://x:70000']", "modelEndpoints", "https://x:70000", "65535"),
    ("modelEndpoints: ['https://x/v1?key=1']", "modelEndpoints", "https://x/v1?key=1", "no query"),
    ("modelEndpoints: ['https://x/v1#a']", "modelEndpoints", "https://x/v1#a", "no query"),
    ("modelEndpoints: ['https://user:hunter2@x']", "modelEndpoints", "https://…@x", "leave out user and password"),
    // Models and prices.
    ("allowedModels: ['']", "allowedModels", "\"\"", "or *"),
    ("allowedModels: ['claude-*-5']", "allowedModels", "claude-*-5", "at the end"),
    ("allowedModels: ['two words']", "allowedModels", "two words", "letters"),
    ("prices: {'a*b': {input: 1, output: 1, cacheWrite: 1, cacheRead: 1}}", "prices", "a*b", "at the end"),
    ("prices: {m: {input: -1, output: 2, cacheWrite: 0, cacheRead: 0}}", "prices", "\"m\"", "0 or more"),
    ("prices: {m: {input: 1, output: .inf, cacheWrite: 0, cacheRead: 0}}", "prices", "\"m\"", "0 or more"),
    ("prices: {m: {input: 1, output: .nan, cacheWrite: 0, cacheRead: 0}}", "prices", "\"m\"", "0 or more"),
    // Git hosts and their keys.
    ("gitHosts: ['https://git.example']", "gitHosts", "https://git.example", "no URL"),
    ("gitHosts: ['git@git.example']", "gitHosts", "git@git.example", "no URL"),
    ("gitHosts: ['git.example/']", "gitHosts", "git.example/", "no URL"),
    ("gitHosts: ['git.example:0']", "gitHosts", "git.example:0", "65535"),
    ("gitHosts: ['']", "gitHosts", "\"\"", "host name"),
    ("gitHosts: ['*.example']", "gitHosts", "*.example", "host name"),
    ("knownHosts: git.example", "knownHosts", "line 1", "ssh-keyscan"),
    ("knownHosts: git.example ssh-ed25519", "knownHosts", "line 1", "ssh-keyscan"),
    ("knownHosts: git.example ssh-ed25519 AAAA!", "knownHosts", "line 1", "damaged"),
    ("knownHosts: \"# a\\ngit.example ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAA\"", "knownHosts", "line 2", "another type"),
    // The proxy, and other numbers.
    ("proxy: http://proxy:3128", "proxy", "http://proxy:3128", KEYS),
    ("proxy: {url: http://proxy}", "proxy", "except", KEYS),
    ("proxy: {url: http://proxy, except: []}", "proxy.url", "http://proxy", "HOST:PORT"),
    ("proxy: {url: https://proxy:3128, except: []}", "proxy.url", "https://proxy:3128", "HOST:PORT"),
    ("proxy: {url: 'http://user:hunter2@proxy:3128', except: []}", "proxy.url", "http://…@proxy:3128", "secrets' key proxy"),
    ("proxy: {url: http://proxy:3128/x, except: []}", "proxy.url", "http://proxy:3128/x", "HOST:PORT"),
    ("proxy: {url: http://proxy:3128, except: [10.0.0.0/8]}", "proxy.except", "10.0.0.0/8", "host or domain"),
    ("proxy: {url: http://proxy:3128, except: ['*.svc']}", "proxy.except", "*.svc", "host or domain"),
    ("checkpointTurns: 0", "checkpointTurns", "\"0\"", "large one for never"),
    ("checkpointSeconds: 5m", "checkpointSeconds", "5m", KEYS),
    ("silenceSeconds: 0", "silenceSeconds", "\"0\"", "large one for never"),
    ("volumes: {home: 2 GB}", "volumes.home", "2 GB", "10Gi"),
    ("volumes: {broker: 0}", "volumes.broker", "0", "above 0"),
    ("volumes: {tmp: -1Gi}", "volumes.tmp", "-1Gi", "above 0"),
    // Paths that no push may touch.
    ("deniedPaths: ['']", "deniedPaths", "\"\"", "without a leading slash"),
    ("deniedPaths: [/x]", "deniedPaths", "/x", "without a leading slash"),
    ("deniedPaths: ['*.yml']", "deniedPaths", "*.yml", "slash at its end"),
    ("deniedPaths: [a//b]", "deniedPaths", "a//b", "plain path"),
    ("deniedPaths: [../x]", "deniedPaths", "../x", "plain path"),
    ("deniedPaths: [./x]", "deniedPaths", "./x", "plain path"),
    ("deniedPaths: [\"a\\nb\"]", "deniedPaths", "a\\nb", "plain path"),
    // Names of secrets, and amounts.
    ("imagePullSecrets: [Pull_Secret]", "imagePullSecrets", "Pull_Secret", "lower-case"),
    ("imagePullSecrets: ['']", "imagePullSecrets", "\"\"", "lower-case"),
    ("resources: {broker: {limits: {memory: lots}}}", "resources.broker.limits.memory", "lots", "500m"),
    ("resources: {keeper: {requests: {cpu: '-1'}}}", "resources.keeper.requests.cpu", "-1", "500m"),
    ("resources: {gitInit: {limits: {memory: 1 GB}}}", "resources.gitInit.limits.memory", "1 GB", "500m"),
    ("resources: {agent: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}", "resources.agent.requests.memory", "2Gi", "exceed its limit"),
    ("resources: {agent: {requests: {cpu: 2}, limits: {cpu: 500m}}}", "resources.agent.requests.cpu", "\"2\"", "exceed its limit"),
];

#[test]
fn what_cannot_be_used_is_refused_with_key_value_and_remedy() {
    let mut wrong = Vec::new();
    for (text, key, value, remedy) in REFUSED {
        match Config::parse(text) {
            Ok(_) => wrong.push(format!("{text:?} was accepted")),
            Err(error) => {
                let error = error.to_string();
                let missing: Vec<_> = [key, value, remedy]
                    .into_iter()
                    .filter(|part| !error.contains(**part))
                    .collect();
                if !missing.is_empty() || error.contains("hunter2") {
                    wrong.push(format!("{text:?}: {missing:?} not in {error:?}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        REFUSED.len(),
        wrong.join("\n")
    );
    assert!(REFUSED.len() >= LEAST);
}
