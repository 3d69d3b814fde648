//! Lists the sources in `src/recipe`: the key of a cached layer covers them, so none must be forgotten.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src/recipe");
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src/recipe");
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        // The folder is left to the compiler: cargo does not run this again where a checkout, or its target folder, was moved.
        let path = format!("/src/recipe/{}", file.display());
        writeln!(
            list,
            "include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?})),"
        )
        .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(
        Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("recipe.rs"),
        list,
    )
}
