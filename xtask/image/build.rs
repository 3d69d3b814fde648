//! Lists the sources in `src/recipe`: the key of a cached layer covers them, so none must be forgotten.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src/recipe");
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src/recipe");
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        writeln!(list, "include_str!({file:?}),").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(
        Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("recipe.rs"),
        list,
    )
}
