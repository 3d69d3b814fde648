//! How the program is linked. Of the operator's memory nine tenths are pages of its own file, so what ships is made smaller:
//! relocations are packed (0.7 MiB of `.rela.dyn` become 11 KiB), and functions of equal code share it (0.4 MiB).
//!
//! Only where both can be had: the loader takes packed relocations since glibc 2.36
//! (<https://sourceware.org/glibc/wiki/Release/2.36>), which Debian 12 has and UBI 9, the base of the FIPS edition, has not;
//! and folding is lld's, with which rustc links for this target unless it is told otherwise
//! (<https://blog.rust-lang.org/2025/09/01/rust-lld-on-1.90.0-stable/>).

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|has| has == value);
    let is_shipped = is("PROFILE", "release") && env::var_os("CARGO_FEATURE_COMMUNITY").is_some();
    if is_shipped && is("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
