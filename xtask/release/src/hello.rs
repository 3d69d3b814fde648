//! What a program offers when it connects by TLS: the cipher suites and groups in its first message, as the wire has them.
//!
//! <https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2>; the numbers are those of IANA's TLS registries.

use std::io::Read;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

/// The suites that a client with the validated module may offer, and the mark of secure renegotiation, which is none.
const SUITES: [(u16, &str); 7] = [
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
];

/// The groups that it may offer: X25519 only beside ML-KEM, which is approved.
const GROUPS: [(u16, &str); 4] = [
    (0x0017, "secp256r1"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x11ec, "X25519MLKEM768"),
];

const VERSIONS: [(u16, &str); 2] = [(0x0304, "TLSv1.3"), (0x0303, "TLSv1.2")];

const SUPPORTED_GROUPS: u16 = 10;
const SUPPORTED_VERSIONS: u16 = 43;

/// What is offered, by names, in the order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    versions: Vec<&'static str>,
    cipher_suites: Vec<&'static str>,
    groups: Vec<&'static str>,
}

/// Reads the first message of a client.
pub fn read(from: &mut impl Read) -> Result<Offer> {
    let mut record = [0; 5];
    from.read_exact(&mut record)
        .context("the client sent no record of TLS")?;
    ensure!(record[0] == 22, "the client's first record is no handshake");
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    let mut message = vec![0; length];
    from.read_exact(&mut message)
        .context("the client's first record is cut short")?;
    parse(&message)
}

/// Fails for a suite, group or version that is not among those that the validated module may be used for.
fn parse(message: &[u8]) -> Result<Offer> {
    let mut rest = Bytes(message);
    ensure!(
        rest.take(1)? == [1],
        "the client's first message is no ClientHello"
    );
    let length = rest.take(3)?;
    let mut hello = Bytes(
        rest.take(usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]))?,
    );
    // The version of old, and the random number.
    hello.take(2 + 32)?;
    hello.counted(1)?;
    let cipher_suites = named("cipher suite", hello.counted(2)?, &SUITES)?;
    hello.counted(1)?;
    let mut extensions = Bytes(hello.counted(2)?);
    let (mut groups, mut versions) = (Vec::new(), Vec::new());
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let mut content = Bytes(extensions.counted(2)?);
        match kind {
            SUPPORTED_GROUPS => groups = named("group", content.counted(2)?, &GROUPS)?,
            SUPPORTED_VERSIONS => versions = named("version", content.counted(1)?, &VERSIONS)?,
            _ => {}
        }
    }
    ensure!(
        !versions.is_empty() && !groups.is_empty(),
        "the client names no versions or no groups"
    );
    Ok(Offer {
        versions,
        cipher_suites,
        groups,
    })
}

fn named(what: &str, numbers: &[u8], names: &[(u16, &'static str)]) -> Result<Vec<&'static str>> {
    let name = |pair: &[u8]| {
        let number = pair.iter().fold(0, |number, byte| number << 8 | u16::from(*byte));
        match names.iter().find(|(one, _)| *one == number) {
            Some((_, name)) => Ok(*name),
            None => bail!("the client offers {what} {number:#06x}, which is none of the validated module's"),
        }
    };
    numbers.chunks(2).map(name).collect()
}

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .context("the client's first message is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from(bytes[0]) << 8 | u16::from(bytes[1]))
    }

    /// What follows a length of `width` bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = self
            .take(width)?
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a `ClientHello`.
    fn hello(suites: &[u16], groups: &[u16], versions: &[u16]) -> Vec<u8> {
        let words = |words: &[u16]| {
            words
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<_>>()
        };
        let counted = |width: usize, bytes: Vec<u8>| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length[4 - width..], &bytes].concat()
        };
        let extension =
            |kind: u16, content: Vec<u8>| [kind.to_be_bytes().to_vec(), counted(2, content)].concat();
        let extensions = [
            extension(0, vec![1, 2, 3]),
            extension(SUPPORTED_GROUPS, counted(2, words(groups))),
            extension(SUPPORTED_VERSIONS, counted(1, words(versions))),
        ];
        let body = [
            vec![3, 3],
            vec![7; 32],
            counted(1, vec![9; 32]),
            counted(2, words(suites)),
            counted(1, vec![0]),
            counted(2, extensions.concat()),
        ];
        let message = [vec![1], counted(3, body.concat())].concat();
        [vec![22, 3, 1], counted(2, message)].concat()
    }

    #[test]
    fn what_the_client_offers_is_read_in_its_order() {
        let record = hello(&[0x1302, 0xc030, 0x00ff], &[0x11ec, 0x0017], &[0x0304, 0x0303]);
        let offer = read(&mut record.as_slice()).unwrap();
        assert_eq!(
            offer.cipher_suites[..2],
            ["TLS_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]
        );
        assert_eq!(offer.groups, ["X25519MLKEM768", "secp256r1"]);
        assert_eq!(offer.versions, ["TLSv1.3", "TLSv1.2"]);
    }

    #[test]
    fn what_is_not_the_modules_is_an_error_by_its_number() {
        let refused = |suites: &[u16], groups: &[u16], versions: &[u16]| {
            read(&mut hello(suites, groups, versions).as_slice())
                .unwrap_err()
                .to_string()
        };
        let (suite, group, version) = ([0x1301], [0x0017], [0x0304]);
        assert!(
            refused(&[0x1303], &group, &version).contains("cipher suite 0x1303"),
            "ChaCha20"
        );
        assert!(
            refused(&suite, &[0x001d], &version).contains("group 0x001d"),
            "X25519 alone"
        );
        assert!(
            refused(&suite, &group, &[0x0302]).contains("version 0x0302"),
            "TLS 1.1"
        );
        assert!(refused(&suite, &[], &version).contains("no groups"));
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let record = hello(&[0x1301], &[0x0017], &[0x0304]);
        for length in 0..record.len() {
            assert!(read(&mut &record[..length]).is_err(), "{length}");
        }
        assert!(read(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]).is_err());
    }
}
