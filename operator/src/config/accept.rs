//! What a configuration may say. Everything is checked at the start, so that a mistake stops the operator with its key
//! and a remedy, and not a polecat hours later. No value with a password in it is repeated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gastown_api::image::ImageReference;
use gastown_api::key_like;
use gastown_api::pod_metadata::{Table, flaw_of_annotations, flaw_of_labels};
use gastown_api::resources::ResourceRequirements;
use gastown_api::usage::Price;
use gastown_signatures::Policy;

use super::{Config, LoadConfig};

/// The agent gets 10 s to stop, and the snapshot and its push have to fit into what is left.
const LEAST_GRACE: u32 = 30;

/// Checks every value; endpoints lose their trailing slashes.
pub(super) fn accept(config: &mut Config) -> Result<(), LoadConfig> {
    endpoints(&mut config.model_endpoints)?;
    each("allowedModels", &config.allowed_models, model)?;
    for (name, price) in &config.prices {
        check("prices", name, model(name).and_then(|()| price_of(price)))?;
    }
    each("gitHosts", &config.git_hosts, git_host)?;
    for (index, line) in config.known_hosts.lines().enumerate() {
        check("knownHosts", &format!("line {}", index + 1), known_host(line))?;
    }
    if let Some(order) = &config.proxy {
        check("proxy.url", &without_user(&order.url), proxy(&order.url))?;
        each("proxy.except", &order.except, excepted)?;
    }
    each("deniedPaths", &config.denied_paths, denied_path)?;
    each("imagePullSecrets", &config.image_pull_secrets, secret)?;
    images(config)?;
    table("podLabels", flaw_of_labels(&config.pod_labels))?;
    table("podAnnotations", flaw_of_annotations(&config.pod_annotations))?;
    keys("podLabels", &config.pod_labels)?;
    keys("podAnnotations", &config.pod_annotations)?;
    numbers(config)?;
    let resources = &config.resources;
    for (part, resources) in [
        ("agent", &resources.agent),
        ("broker", &resources.broker),
        ("keeper", &resources.keeper),
        ("gitInit", &resources.git_init),
    ] {
        amounts(part, resources)?;
    }
    Ok(())
}

fn check(key: &str, value: &str, outcome: Result<(), &'static str>) -> Result<(), LoadConfig> {
    outcome.map_err(|flaw| LoadConfig::AcceptValue {
        key: key.to_owned(),
        value: value.to_owned(),
        flaw: flaw.into(),
    })
}

fn table(key: &str, flaw: Option<String>) -> Result<(), LoadConfig> {
    flaw.map_or(Ok(()), |flaw| {
        Err(LoadConfig::AcceptValue {
            key: key.to_owned(),
            value: "{…}".to_owned(),
            flaw: flaw.into(),
        })
    })
}

/// Whoever may look at a pod reads these.
fn keys(key: &str, values: &Table) -> Result<(), LoadConfig> {
    let found = values
        .iter()
        .find(|(_, value)| key_like::found_in(value.as_bytes()));
    let flaw =
        found.map(|(name, _)| format!("{name:?} holds what looks like a key; revoke it and take it out"));
    table(key, flaw)
}

fn each(
    key: &str,
    values: &[String],
    accept: fn(&str) -> Result<(), &'static str>,
) -> Result<(), LoadConfig> {
    values
        .iter()
        .try_for_each(|value| check(key, value, accept(value)))
}

fn endpoints(endpoints: &mut [String]) -> Result<(), LoadConfig> {
    let key = "modelEndpoints";
    if endpoints.is_empty() {
        return check(key, "[]", Err("list at least one base URL"));
    }
    for endpoint in endpoints {
        let trimmed = endpoint.trim_end_matches('/').to_owned();
        check(key, &without_user(&trimmed), base_url(&trimmed))?;
        *endpoint = trimmed;
    }
    Ok(())
}

/// `https://user:password@host` as `https://…@host`.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}…{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

fn base_url(url: &str) -> Result<(), &'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or("write https://HOST[:PORT][/PATH] or http://HOST[:PORT][/PATH]")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("leave out user and password; the key goes into the secret that polecats name");
    }
    host_and_port(authority)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._~/-".contains(c);
    if path.chars().all(plain) {
        Ok(())
    } else {
        Err("its path may have letters, digits and . _ ~ / - only, and no query")
    }
}

fn host_and_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = text.split_once(':').unwrap_or((text, "443"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !host.starts_with(|c: char| c.is_ascii_alphanumeric()) || !host.chars().all(plain) {
        Err("its host is no host name")
    } else if port.parse::<u16>().is_ok_and(|port| port > 0) {
        Ok(())
    } else {
        Err("its port is no number from 1 to 65535")
    }
}

/// A name of a model, or its beginning and a star.
fn model(pattern: &str) -> Result<(), &'static str> {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@[]-".contains(c);
    if pattern.is_empty() {
        Err("write the name of a model, or * for every model")
    } else if name.contains('*') {
        Err("a * may only stand at the end")
    } else if name.chars().all(plain) {
        Ok(())
    } else {
        Err("a model's name has letters, digits and . _ : / @ [ ] - only")
    }
}

fn price_of(price: &Price) -> Result<(), &'static str> {
    let long = price.long_context;
    let dollars = [price.input, price.output, price.cache_write, price.cache_read]
        .into_iter()
        .chain(price.cache_write_one_hour)
        .chain(
            long.into_iter()
                .flat_map(|l| [l.input, l.output, l.cache_write, l.cache_read]),
        );
    if dollars.into_iter().all(|price| price.is_finite() && price >= 0.0) {
        Ok(())
    } else {
        Err("a price is a number of US dollars, 0 or more")
    }
}

fn git_host(host: &str) -> Result<(), &'static str> {
    if host.contains("://") || host.contains(['/', '@']) {
        return Err("write HOST or HOST:PORT alone, no URL");
    }
    host_and_port(host)
}

/// A line of `known_hosts(5)`: a marker, perhaps; names; the type of the key, and the key, which repeats the type.
fn known_host(line: &str) -> Result<(), &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let mut fields = line.split_whitespace().peekable();
    fields.next_if(|field| matches!(*field, "@cert-authority" | "@revoked"));
    let (Some(_), Some(kind), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("write HOST TYPE KEY, as ssh-keyscan prints it");
    };
    let key = STANDARD.decode(key).ok();
    let named = key.as_deref().and_then(|key| {
        let (length, rest) = key.split_first_chunk()?;
        rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
    });
    if named == Some(kind.as_bytes()) {
        Ok(())
    } else {
        Err("its key is damaged, or of another type than it says; take it from ssh-keyscan again")
    }
}

/// Scheme, host and port, and nothing else: above all no password, which every polecat's pod would show.
fn proxy(url: &str) -> Result<(), &'static str> {
    const FORM: &str = "write http://HOST:PORT; a user and password go into the secrets' key proxy";
    let authority = url.strip_prefix("http://").ok_or(FORM)?;
    if !authority.contains(':') || authority.contains(['@', '/', '?', '#']) {
        return Err(FORM);
    }
    host_and_port(authority)
}

/// A host or domain, or `*` for every host.
fn excepted(host: &str) -> Result<(), &'static str> {
    let name = host.trim_start_matches('.');
    if host == "*" || (!name.contains(':') && host_and_port(name).is_ok()) {
        Ok(())
    } else {
        Err("write the name of a host or domain, or * for every host")
    }
}

/// Git's own paths: `.` and `..` are none, and a star would only fit a file of that name.
fn denied_path(path: &str) -> Result<(), &'static str> {
    let mut parts = path.strip_suffix('/').unwrap_or(path).split('/');
    if path.starts_with('/') || path.is_empty() {
        Err("write a path from the repository's root, without a leading slash")
    } else if path.contains(['*', '?', '[']) {
        Err("patterns are not known; write a file, or a folder with a slash at its end")
    } else if path.contains(char::is_control) || parts.any(|part| matches!(part, "" | "." | "..")) {
        Err("write a plain path, without //, . and ..")
    } else {
        Ok(())
    }
}

fn secret(name: &str) -> Result<(), &'static str> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() <= 253 && name.starts_with(edge) && name.ends_with(edge) && name.chars().all(inner) {
        Ok(())
    } else {
        Err("write the name of a secret: lower-case letters, digits, - and .")
    }
}

/// The policy of images, and whom it may be asked of.
fn images(config: &Config) -> Result<(), LoadConfig> {
    if let Err(source) = Policy::read("imagePolicy", &config.image_policy) {
        return Err(LoadConfig::ReadPolicy { source });
    }
    each("registries", &config.registries, registry)?;
    for (source, mirrors) in &config.registry_mirrors {
        check("registryMirrors", source, repository(source))?;
        each(&format!("registryMirrors.{source}"), mirrors, repository)?;
    }
    Ok(())
}

fn registry(host: &str) -> Result<(), &'static str> {
    if host.contains("://") || host.contains(['/', '@']) {
        return Err("write HOST or HOST:PORT alone, no URL; docker.io is Docker Hub");
    }
    if host.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("write it in lower case");
    }
    host_and_port(host)
}

/// The beginning of an image's name.
fn repository(name: &str) -> Result<(), &'static str> {
    const FORM: &str = "write HOST[:PORT][/PATH], without a scheme, a tag or a slash at the end";
    let (host, path) = name.split_once('/').unwrap_or((name, "x"));
    registry(host).map_err(|_| FORM)?;
    let image: Result<ImageReference, _> = format!("{host}/{path}").parse();
    let plain = image
        .is_ok_and(|image| image.tag().is_none() && image.digest().is_none() && image.registry() == host);
    if plain { Ok(()) } else { Err(FORM) }
}

fn numbers(config: &Config) -> Result<(), LoadConfig> {
    for (key, value) in [
        ("maxPushBytes", config.max_push_bytes),
        ("deadlineSeconds", config.deadline_seconds.into()),
        ("parkingSeconds", config.parking_seconds.into()),
        ("checkpointSeconds", config.checkpoint_seconds.into()),
        ("checkpointTurns", config.checkpoint_turns.into()),
        ("silenceSeconds", config.silence_seconds.into()),
    ] {
        if value == 0 {
            check(key, "0", Err("write a number above 0; a large one for never"))?;
        }
    }
    if config.max_polecats == Some(0) {
        let flaw = "write a number above 0, or null; a Rig's spec.suspend keeps its polecats from starting";
        check("maxPolecats", "0", Err(flaw))?;
    }
    if config.grace_seconds < LEAST_GRACE {
        let flaw = "write at least 30: the agent stops, its work is saved and pushed within it";
        check("graceSeconds", &config.grace_seconds.to_string(), Err(flaw))?;
    }
    Ok(())
}

fn amounts(part: &str, resources: &ResourceRequirements) -> Result<(), LoadConfig> {
    let tables = [("requests", &resources.requests), ("limits", &resources.limits)];
    for (table, amounts) in tables {
        for (resource, amount) in amounts.iter().flatten() {
            let read = amount
                .amount()
                .map(|_| ())
                .ok_or("write an amount such as 500m, 2 or 1Gi");
            check(
                &format!("resources.{part}.{table}.{resource}"),
                amount.as_str(),
                read,
            )?;
        }
    }
    let limit = |resource| resources.limits.as_ref()?.get(resource);
    for (resource, request) in resources.requests.iter().flatten() {
        if limit(resource).is_some_and(|limit| request.is_more_than(limit)) {
            let flaw = "a request must not exceed its limit";
            let key = format!("resources.{part}.requests.{resource}");
            check(&key, request.as_str(), Err(flaw))?;
        }
    }
    Ok(())
}
