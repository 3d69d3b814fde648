//! SSH private keys as people put them into secrets. What OpenSSH would refuse with hardly a word is named here, before
//! the host is asked anything. No message repeats a part of the key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const OPENSSH: &str = "OPENSSH PRIVATE KEY";

/// How a public key begins, in its own forms.
const PUBLIC: [&str; 5] = [
    "ssh-",
    "ecdsa-",
    "sk-ssh-",
    "sk-ecdsa-",
    "---- BEGIN SSH2 PUBLIC KEY",
];

/// The key in the form that OpenSSH reads, or what is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = text(bytes)?;
    let label = label(&text)?;
    if text.contains("\\n") {
        return Err(r#"has "\n" in place of line breaks; put the key file as it is"#);
    }
    let end = format!("-----END {label}-----");
    let body = text[BEGIN.len() + label.len() + DASHES.len()..]
        .split_once(&end)
        .ok_or("is cut off: its last line, -----END …, is missing; put the whole file")?
        .0;
    if label == "ENCRYPTED PRIVATE KEY" || body.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PASSPHRASE);
    }
    let body: String = body.split_whitespace().collect();
    let body = STANDARD.decode(body).map_err(|_| DAMAGED)?;
    if label == OPENSSH {
        check_openssh(&body)?;
    } else if !is_der_sequence(&body) {
        return Err(DAMAGED);
    }
    Ok(text.into_bytes())
}

const PASSPHRASE: &str = "is protected by a passphrase, which nobody can enter; put a key without one (`ssh-keygen -p` removes it)";
const DAMAGED: &str =
    "is damaged: what stands between its first and last line is no key; put the key file again";

/// Plain text with line feeds, and one at the end. Editors and shells change what is around a key and between its lines,
/// and never mean it.
fn text(bytes: &[u8]) -> Result<String, &'static str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.contains(&0) {
        return Err("is no plain text; save the key file as UTF-8, not UTF-16");
    }
    let text = str::from_utf8(bytes).map_err(|_| "is no text; put the private key's file as it is")?;
    let lines = text.trim().lines().map(str::trim);
    Ok(lines.fold(String::new(), |text, line| text + line + "\n"))
}

/// What the first line says it is.
fn label(text: &str) -> Result<&str, &'static str> {
    if PUBLIC.iter().any(|begin| text.starts_with(begin)) {
        return Err(IS_PUBLIC);
    }
    if text.starts_with("PuTTY-User-Key-File") {
        return Err("is a PuTTY key; convert it with `puttygen KEY -O private-openssh`");
    }
    let Some(rest) = text.strip_prefix(BEGIN) else {
        let joined: String = text.split_whitespace().collect();
        let twice = STANDARD
            .decode(joined)
            .is_ok_and(|key| key.starts_with(BEGIN.as_bytes()));
        return Err(if twice {
            "is encoded as base64 twice; put the key under stringData, or encode it once under data"
        } else {
            "is no private key; it must begin with -----BEGIN … PRIVATE KEY-----"
        });
    };
    let label = rest.split_once(DASHES).map_or("", |(label, _)| label);
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(IS_PUBLIC),
        "CERTIFICATE" => Err("is a certificate; put the private key, and certificates to trust into ca.crt"),
        "DSA PRIVATE KEY" => {
            Err("is a DSA key, which OpenSSH takes no more; make another with `ssh-keygen -t ed25519`")
        }
        label if label.ends_with("PRIVATE KEY") && !label.contains('\n') => Ok(label),
        _ => Err("is no private key; it must begin with -----BEGIN … PRIVATE KEY-----"),
    }
}

const IS_PUBLIC: &str = "is a public key; put the private key, the file without .pub";

/// OpenSSH's own form: a magic word, the cipher, the key derivation with its options, the number of keys, and for each
/// its public and then its private half (`PROTOCOL.key` of OpenSSH).
fn check_openssh(body: &[u8]) -> Result<(), &'static str> {
    let rest = body.strip_prefix(b"openssh-key-v1\0").ok_or(DAMAGED)?;
    let (cipher, rest) = string(rest).ok_or(DAMAGED)?;
    if cipher != b"none" {
        return Err(PASSPHRASE);
    }
    let whole = || {
        let (_, rest) = string(rest)?;
        let (_, rest) = string(rest)?;
        let rest = rest.strip_prefix(&[0, 0, 0, 1])?;
        let (_public, rest) = string(rest)?;
        string(rest)
    };
    whole().map(|_| ()).ok_or(DAMAGED)
}

/// Four bytes of length and so many bytes, and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Whether it is one whole ASN.1 sequence.
fn is_der_sequence(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else {
        return false;
    };
    let count = usize::from(length & 0x7f);
    if length & 0x80 == 0 {
        return count == rest.len();
    }
    let Some((length, rest)) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count)) else {
        return false;
    };
    length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) == rest.len()
}

/// A key that can be read, and that opens nothing.
#[cfg(test)]
pub(super) fn sample() -> String {
    tests::good()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string_of(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes()[..], bytes].concat()
    }

    fn openssh(cipher: &str) -> Vec<u8> {
        let parts = [cipher, "kdf", ""]
            .map(|part| string_of(part.as_bytes()))
            .concat();
        let halves = [string_of(&[7; 51]), string_of(&[9; 130])].concat();
        [b"openssh-key-v1\0", &parts[..], &[0, 0, 0, 1], &halves].concat()
    }

    fn pem(label: &str, body: &[u8]) -> String {
        let body = STANDARD.encode(body);
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(70)
            .map(|line| str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    }

    pub(super) fn good() -> String {
        pem(OPENSSH, &openssh("none"))
    }

    fn der() -> Vec<u8> {
        [&[0x30, 0x82, 1, 44][..], &[2; 300]].concat()
    }

    #[test]
    fn keys_of_every_form_are_read_whatever_stands_around_them() {
        for key in [
            good(),
            pem("RSA PRIVATE KEY", &der()),
            pem("PRIVATE KEY", &[0x30, 2, 5, 0]),
        ] {
            assert_eq!(read(key.as_bytes()).unwrap(), key.as_bytes());
            for changed in [
                key.replace('\n', "\r\n"),
                key.replace('\n', "\n    "),
                format!("\u{feff}\n{key}\n\n"),
                key.trim_end().to_owned(),
            ] {
                assert_eq!(read(changed.as_bytes()).unwrap(), key.as_bytes(), "{changed:?}");
            }
        }
    }

    #[test]
    fn what_no_host_would_take_is_named_with_its_remedy_and_without_a_part_of_it() {
        let utf16: Vec<u8> = good().encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cut: String = good().chars().take(120).collect();
        let damaged = good().replacen("AAAA", "AA-A", 1);
        let short = pem(OPENSSH, &openssh("none")[..90]);
        let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        let text = |key: &str| key.as_bytes().to_vec();
        let cases = [
            (
                text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ someone@host"),
                ".pub",
            ),
            (text("ecdsa-sha2-nistp256 AAAA someone"), ".pub"),
            (text("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA"), ".pub"),
            (text(&pem("PUBLIC KEY", b"x")), ".pub"),
            (text(&pem("CERTIFICATE", &der())), "ca.crt"),
            (text(&pem("DSA PRIVATE KEY", &der())), "ed25519"),
            (
                text("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none"),
                "puttygen",
            ),
            (text(&pem(OPENSSH, &openssh("aes256-ctr"))), "passphrase"),
            (text(&pem("ENCRYPTED PRIVATE KEY", &der())), "passphrase"),
            (text(encrypted), "passphrase"),
            (text(&cut), "cut off"),
            (text(&good().replace('\n', "\\n")), "line breaks"),
            (text(&damaged), "damaged"),
            (text(&short), "damaged"),
            (text(&pem(OPENSSH, b"hello")), "damaged"),
            (text(&pem("RSA PRIVATE KEY", &der()[..200])), "damaged"),
            (text(&pem("EC PRIVATE KEY", b"")), "damaged"),
            (text(&STANDARD.encode(good())), "twice"),
            (utf16, "UTF-16"),
            (b"\xff\xfe\xfd".to_vec(), "is no text"),
            (text("hunter2"), "BEGIN"),
        ];
        for (key, remedy) in cases {
            let shown = String::from_utf8_lossy(&key).into_owned();
            let flaw = read(&key).expect_err(&shown);
            assert!(flaw.contains(remedy), "{shown}: {flaw}");
            assert!(!flaw.contains("AAAA") && !flaw.contains("hunter2"), "{flaw}");
        }
    }
}
