//! Images that no registry serves, and the remedy that the message must name.

pub const REFUSED: &[(&str, &str)] = &[
    ("", "[HOST/]NAME"),
    ("https://ghcr.io/org/a", "scheme"),
    ("docker://a", "scheme"),
    ("ghcr.io/Org/a", "lower case"),
    ("ghcr.io/org/a:", "tag"),
    ("ghcr.io/org/a:-x", "tag"),
    ("ghcr.io/org/a:b:c", "[HOST/]NAME"),
    ("ghcr.io/org/a@sha256:abc", "64"),
    ("ghcr.io/org/a@latest", "64"),
    ("ghcr.io:port/a", "HOST:PORT"),
    ("ghcr.io:0/a", "HOST:PORT"),
    ("-x.io/a", "HOST:PORT"),
    ("ghcr.io/", "[HOST/]NAME"),
    ("ghcr.io//a", "[HOST/]NAME"),
    ("a..b", "[HOST/]NAME"),
    ("a_", "[HOST/]NAME"),
    ("../a", "HOST:PORT"),
    ("a b", "[HOST/]NAME"),
    ("--privileged", "[HOST/]NAME"),
];
