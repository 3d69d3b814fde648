//! One implementation of cryptography in each program: no crate of another is compiled in, and no symbol of one is linked.

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use xtask_image::{Edition, workspace};

use crate::dependencies::Graph;

/// A crate that must not be in a program, as `deny.toml` says it.
#[derive(Debug, Clone, Deserialize)]
pub struct Denied {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// The crates that `deny.toml` bans: `cargo xtask lint` asks cargo-deny the same.
pub fn denied() -> Result<Vec<Denied>> {
    #[derive(Deserialize)]
    struct File {
        bans: Bans,
    }
    #[derive(Deserialize)]
    struct Bans {
        deny: Vec<Denied>,
    }
    let file = workspace::root().join("deny.toml");
    let parsed: File =
        toml::from_str(&fs_err::read_to_string(&file)?).with_context(|| format!("{file:?} is wrong"))?;
    ensure!(!parsed.bans.deny.is_empty(), "{file:?} bans no crate");
    Ok(parsed.bans.deny)
}

/// Fails with each banned crate of a program, and the crates that use it.
pub fn check_crates(graph: &Graph, denied: &[Denied]) -> Result<()> {
    let mut found = Vec::new();
    for one in denied {
        for id in graph.0.keys().filter(|(name, _)| *name == one.name) {
            let users = graph.0.iter().filter(|(_, user)| user.uses.contains(id));
            let users: Vec<_> = users.map(|((name, _), _)| name.as_str()).collect();
            found.push(format!(
                "crate {} {}, used by {}: {}",
                id.0,
                id.1,
                users.join(", "),
                one.reason
            ));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    bail!(
        "it would have a second implementation of cryptography:\n  {}",
        found.join("\n  ")
    )
}

/// Fails with each kind of symbol that is of another implementation than the edition's; else counts the module's symbols.
///
/// `symbols` is what `nm` prints of a program that is not stripped: address, kind, name. The kind of a global symbol is an upper-case
/// letter; only of these does a name such as `EVP_…` say something, because AWS-LC has static functions with such names.
pub fn check_symbols(symbols: &str, edition: Edition, denied: &[Denied]) -> Result<usize> {
    let own = module_prefix(edition);
    let mut count = 0;
    let mut found: Vec<(String, &str)> = Vec::new();
    for line in symbols.lines() {
        let mut words = line.split_whitespace().rev();
        let (Some(symbol), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        let is_global = kind.starts_with(|c: char| c.is_ascii_uppercase());
        if symbol.contains(own) {
            count += 1;
        } else if let Some(of) = other_implementation(symbol, is_global, edition, denied)
            && !found.iter().any(|(known, _)| *known == of)
        {
            found.push((of, symbol));
        }
    }
    if !found.is_empty() {
        let lines: Vec<_> = found
            .iter()
            .map(|(of, symbol)| format!("{of}, such as {symbol}"))
            .collect();
        bail!(
            "it links a second implementation of cryptography:\n  {}",
            lines.join("\n  ")
        )
    }
    ensure!(count > 0, "it has no symbol {own}…: where is its cryptography?");
    Ok(count)
}

/// What the symbols of the edition's module begin with; the number of the crate follows.
fn module_prefix(edition: Edition) -> &'static str {
    match edition {
        Edition::Community => "aws_lc_0_",
        Edition::Fips => "aws_lc_fips_0_",
    }
}

/// Of what other implementation a symbol is.
fn other_implementation(
    symbol: &str,
    is_global: bool,
    edition: Edition,
    denied: &[Denied],
) -> Option<String> {
    const OPENSSL: [&str; 5] = ["EVP_", "SSL_", "OPENSSL_", "CRYPTO_", "BN_"];
    let other = Edition::ALL.into_iter().find(|one| *one != edition)?;
    if symbol.contains(module_prefix(other)) {
        return Some(format!("the module of the {} edition", other.as_str()));
    }
    if symbol.contains("ring_core_") {
        return Some("ring".to_owned());
    }
    if is_global && OPENSSL.iter().any(|prefix| symbol.starts_with(prefix)) {
        return Some("OpenSSL".to_owned());
    }
    let of_crate = |one: &&Denied| is_of_crate(symbol, &one.name.replace('-', "_"));
    denied
        .iter()
        .find(of_crate)
        .map(|one| format!("crate {}", one.name))
}

/// Whether the compiler's name of a symbol begins with this crate, in either of its two ways to write names
/// (<https://doc.rust-lang.org/rustc/symbol-mangling/v0.html>).
fn is_of_crate(symbol: &str, name: &str) -> bool {
    let part = format!("{}{name}", name.len());
    let ends = |rest: &str| {
        !rest.starts_with(|c: char| c.is_ascii_alphanumeric() && !c.is_ascii_digit() && c.is_lowercase())
    };
    if let Some(rest) = symbol
        .strip_prefix("_ZN")
        .and_then(|rest| rest.strip_prefix(&part))
    {
        return ends(rest);
    }
    // In the newer way a crate is `Cs`, a number in base 62, `_`, and its name.
    symbol.starts_with("_R")
        && symbol.split("Cs").skip(1).any(|rest| {
            let after = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            after
                .strip_prefix('_')
                .is_some_and(|after| after.starts_with(&part))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependencies::Crate;

    fn graph(names: &[&str]) -> Graph {
        let id = |name: &str| (name.to_owned(), "1.0.0".to_owned());
        let one = |uses: &[&str]| Crate {
            license: String::new(),
            is_ours: false,
            uses: uses.iter().map(|name| id(name)).collect(),
        };
        let mut crates: Vec<_> = names.iter().map(|name| (id(name), one(&[]))).collect();
        crates.push((id("gastown-crypto"), one(names)));
        Graph(crates.into_iter().collect())
    }

    #[test]
    fn a_second_implementation_among_the_crates_is_named_with_its_user() {
        let denied = denied().unwrap();
        check_crates(&graph(&["aws-lc-rs", "serde"]), &denied).unwrap();
        for name in [
            "ring",
            "openssl-sys",
            "openssl",
            "sha2",
            "p256",
            "rsa",
            "aes",
            "curve25519-dalek",
        ] {
            let error = check_crates(&graph(&["serde", name]), &denied)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("crate {name} 1.0.0, used by gastown-crypto: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn symbols_of_another_implementation_are_named() {
        let denied = denied().unwrap();
        let check = |symbols: &str, edition| {
            let lines: Vec<_> = symbols.lines().map(|name| format!("00 T {name}")).collect();
            check_symbols(&lines.join("\n"), edition, &denied).map_err(|error| error.to_string())
        };
        let fips = "main\naws_lc_fips_0_13_11_EVP_sha256\n_ZN5serde2de17h0E\nEVPNOT";
        assert_eq!(check(fips, Edition::Fips), Ok(1));
        for (symbol, of) in [
            ("aws_lc_0_40_0_EVP_sha256", "community edition"),
            ("ring_core_0_17_14__bn_mul", "ring"),
            ("EVP_DigestInit_ex", "OpenSSL"),
            ("SSL_CTX_new", "OpenSSL"),
            ("_ZN4sha26sha2568compress17h0123456789abcdefE", "crate sha2"),
            ("_RNvNtCs1234_4sha26sha2568compress", "crate sha2"),
            ("_RNvMs_NtCsabcXYZ_3rsa3key3new", "crate rsa"),
        ] {
            let error = check(&format!("{fips}\n{symbol}"), Edition::Fips).unwrap_err();
            assert!(error.contains(of) && error.contains(symbol), "{error}");
        }
        assert!(
            check(fips, Edition::Community)
                .unwrap_err()
                .contains("module of the fips edition")
        );
        assert!(
            check("main", Edition::Fips)
                .unwrap_err()
                .contains("where is its cryptography?")
        );
        let local =
            "00 T aws_lc_fips_0_13_11_EVP_sha256\n00 t BN_STACK_pop\n                 w OPENSSL_memory_alloc";
        assert_eq!(
            check_symbols(local, Edition::Fips, &denied).unwrap(),
            1,
            "static functions and hooks of AWS-LC"
        );
        // A crate whose name goes on, and a module of ours with that name.
        assert_eq!(
            check(
                &format!("{fips}\n_ZN4sha2x3new17h0E\n_ZN14gastown_crypto4sha23new17h0E"),
                Edition::Fips
            ),
            Ok(1)
        );
    }
}
