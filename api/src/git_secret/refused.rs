//! Git secrets that cannot be used: the repository, the secret's key and its bytes, and the remedy that the message must name.

#[rustfmt::skip]
pub const REFUSED: &[(&str, &str, &[u8], &str)] = &[
    ("git@h:r", "id_rsa", b"ssh-rsa AAAA", ".pub"),
    ("git@h:r", "id_ed25519", b"t0ken", "BEGIN"),
    ("git@h:r", "known_hosts", b"git.example", "ssh-keyscan"),
    ("git@h:r", "known_hosts", b"# git.example ssh-ed25519 AAAA", "ssh-keyscan"),
    ("git@h:r", "known_hosts", b"ssh-ed25519 AAAAC3Nza", "ssh-keyscan"),
    ("git@h:r", "known_hosts", b"h ssh-ed25519 SHA256:t0ken", "ssh-keyscan"),
    ("git@h:r", "known_hosts", b"\xff\xfeh\0", "UTF-8"),
    ("https://h/r", "username", b"u:t0ken", "colon"),
    ("https://h/r", "username", b"u\nt0ken", "more than one line"),
    ("https://h/r", "password", b"-----BEGIN\nt0ken", "more than one line"),
    ("https://h/r", "password", b"t0ken\xff", "UTF-8"),
    ("https://h/r", "token", b"t0ken\x1b[A", "control characters"),
    ("https://h/r", "hosts", b"https://h", "no URL"),
    ("https://h/r", "hosts", b"a.example *.example", "no pattern"),
    ("https://h/r", "hosts", b"u@h", "no URL"),
    ("https://h/r", "proxy", b"u:t0ken\nv:t0ken", "more than one line"),
    ("https://h/r", "ca.crt", b"t0ken", "PEM"),
    ("https://h/r", "ca.crt", b"-----BEGIN CERTIFICATE-----\nt0ken\n-----END CERTIFICATE-----\n", "PEM"),
];
