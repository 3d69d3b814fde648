//! The pkt-lines of git's push protocol, as far as the broker speaks it: reading the list of commands, writing the
//! advertisement and the report. The grammar is `gitprotocol-pack(5)`, "Reference Update Request".

use gastown_api::git::{ParseGitName, Sha};

/// The most bytes the list of commands may have. One command of the longest ref takes less than 1 KiB.
pub const MAX_HEAD: usize = 64 * 1024;

/// What a push asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// In the client's order.
    pub commands: Vec<Command>,
    /// What follows the NUL of the first command.
    pub capabilities: Vec<String>,
}

/// One ref to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where the client believes it to be; none: it does not exist.
    pub old: Option<Sha>,
    /// Where it is to be; none: deleted.
    pub new: Option<Sha>,
    /// Its full name, as the client wrote it.
    pub name: String,
}

/// Why bytes are no list of commands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseRequest {
    /// A length that is no length.
    #[error("a pkt-line has the length {length:?}; want four hexadecimal digits, from 0005 to fff0")]
    ParseLength {
        /// The four bytes.
        length: String,
    },
    /// More than [`MAX_HEAD`].
    #[error("the list of commands is longer than {MAX_HEAD} bytes; push one branch")]
    BoundHead,
    /// A line that is no command.
    #[error("the line {line:?} is no command; want two object ids and a ref")]
    ParseCommand {
        /// Its beginning.
        line: String,
    },
    /// Something of the protocol that no polecat needs.
    #[error("the push is {what}; push plain commits of a full clone")]
    AcceptExtension {
        /// What it is.
        what: &'static str,
    },
}

/// Reads the list of commands at the start of `bytes`. None: more bytes are needed. Else the request and how many
/// bytes it took; what follows is the pack.
pub fn parse_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, ParseRequest> {
    let mut request = Request {
        commands: Vec::new(),
        capabilities: Vec::new(),
    };
    let mut at = 0;
    loop {
        let (line, next) = match read_line(bytes, at)? {
            Line::Short if bytes.len() >= MAX_HEAD => return Err(ParseRequest::BoundHead),
            Line::Short => return Ok(None),
            Line::Flush { next } => return Ok(Some((request, next))),
            Line::Data { line, next } => (line, next),
        };
        if next > MAX_HEAD {
            return Err(ParseRequest::BoundHead);
        }
        if request.commands.is_empty() {
            let (command, capabilities) = split_capabilities(line);
            request.capabilities = capabilities;
            request.commands.push(parse_command(command)?);
        } else {
            request.commands.push(parse_command(line)?);
        }
        at = next;
    }
}

enum Line<'a> {
    Short,
    Flush { next: usize },
    Data { line: &'a [u8], next: usize },
}

fn read_line(bytes: &[u8], at: usize) -> Result<Line<'_>, ParseRequest> {
    let Some(digits) = bytes.get(at..at + 4) else {
        return Ok(Line::Short);
    };
    let length = str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .filter(|length| *length == 0 || (5..=0xfff0).contains(length))
        .ok_or_else(|| ParseRequest::ParseLength {
            length: digits.escape_ascii().to_string(),
        })?;
    if length == 0 {
        return Ok(Line::Flush { next: at + 4 });
    }
    let line = bytes.get(at + 4..at + length);
    Ok(line.map_or(Line::Short, |line| Line::Data {
        line,
        next: at + length,
    }))
}

fn split_capabilities(line: &[u8]) -> (&[u8], Vec<String>) {
    let Some(nul) = line.iter().position(|b| *b == 0) else {
        return (line, Vec::new());
    };
    let capabilities = String::from_utf8_lossy(&line[nul + 1..]);
    let capabilities = capabilities.split_whitespace().map(str::to_owned).collect();
    (&line[..nul], capabilities)
}

fn parse_command(line: &[u8]) -> Result<Command, ParseRequest> {
    let refuse = || ParseRequest::ParseCommand {
        line: line[..line.len().min(200)].escape_ascii().to_string(),
    };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.starts_with(b"shallow ") {
        return Err(ParseRequest::AcceptExtension {
            what: "from a shallow clone",
        });
    }
    if line.starts_with(b"push-cert") {
        return Err(ParseRequest::AcceptExtension { what: "signed" });
    }
    let text = str::from_utf8(line).map_err(|_| refuse())?;
    let mut parts = text.splitn(3, ' ');
    let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refuse());
    };
    if old.len() != new.len() || name.is_empty() || name.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(refuse());
    }
    Ok(Command {
        old: parse_id(old).map_err(|_| refuse())?,
        new: parse_id(new).map_err(|_| refuse())?,
        name: name.to_owned(),
    })
}

/// The zero id of the same length stands for no object.
fn parse_id(text: &str) -> Result<Option<Sha>, ParseGitName> {
    if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b == b'0') {
        return Ok(None);
    }
    text.parse().map(Some)
}

/// One pkt-line; `text` stays below 65,516 bytes by what the callers write.
fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// The answer to `info/refs?service=git-receive-pack`: only what [`parse_request`] and the report speak is offered.
pub fn advertisement(refs: &[(String, Sha)], hex_length: usize) -> String {
    let format = if hex_length == 64 { "sha256" } else { "sha1" };
    let capabilities =
        format!("report-status delete-refs ofs-delta object-format={format} agent=git/gastown");
    let mut text = line("# service=git-receive-pack\n") + "0000";
    if refs.is_empty() {
        let zero = "0".repeat(hex_length);
        text.push_str(&line(&format!("{zero} capabilities^{{}}\0{capabilities}\n")));
    }
    for (index, (name, sha)) in refs.iter().enumerate() {
        let tail = if index == 0 {
            format!("\0{capabilities}")
        } else {
            String::new()
        };
        text.push_str(&line(&format!("{sha} {name}{tail}\n")));
    }
    text + "0000"
}

/// The report of a push: whether the pack was taken, and for each ref why it was not moved.
pub fn report(unpack: Result<(), &str>, refs: &[(&str, Result<(), &str>)]) -> String {
    let clean = |text: &str| {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(600)
            .collect();
        text
    };
    let mut text = match unpack {
        Ok(()) => line("unpack ok\n"),
        Err(why) => line(&format!("unpack {}\n", clean(why))),
    };
    for (name, outcome) in refs {
        text.push_str(&match outcome {
            Ok(()) => line(&format!("ok {name}\n")),
            Err(why) => line(&format!("ng {name} {}\n", clean(why))),
        });
    }
    text + "0000"
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    fn push(lines: &[&str]) -> Vec<u8> {
        let lines: String = lines.iter().map(|text| line(text)).collect();
        (lines + "0000PACK").into_bytes()
    }

    #[test]
    fn a_push_as_git_sends_it_is_read_and_the_pack_left() {
        let bytes = push(&[&format!("{A} {B} refs/heads/x\0 report-status agent=git/2.39\n")]);
        let (request, used) = parse_request(&bytes).unwrap().unwrap();
        let command = Command {
            old: Some(A.parse().unwrap()),
            new: Some(B.parse().unwrap()),
            name: "refs/heads/x".to_owned(),
        };
        assert_eq!(request.commands, [command]);
        assert_eq!(request.capabilities, ["report-status", "agent=git/2.39"]);
        assert_eq!(&bytes[used..], b"PACK");
    }

    #[test]
    fn any_part_of_a_push_asks_for_more_and_never_fails() {
        let bytes = push(&[
            &format!("{A} {B} refs/heads/x\0report-status"),
            &format!("{ZERO} {B} refs/tags/t"),
        ]);
        let head = bytes.len() - 4;
        for end in 0..head {
            assert_eq!(parse_request(&bytes[..end]), Ok(None), "{end}");
        }
        assert_eq!(
            parse_request(&bytes[..head]).unwrap().unwrap().0.commands.len(),
            2
        );
    }

    #[test]
    fn zero_ids_stand_for_no_object_only_in_full_length() {
        let (request, _) = parse_request(&push(&[&format!("{ZERO} {A} refs/heads/x")]))
            .unwrap()
            .unwrap();
        assert_eq!(request.commands[0].old, None);
        for old in [
            "0",
            "000000000000000000000000000000000000000",
            "0x00000000000000000000000000000000000000",
        ] {
            let bytes = push(&[&format!("{old} {A} refs/heads/x")]);
            assert!(
                matches!(parse_request(&bytes), Err(ParseRequest::ParseCommand { .. })),
                "{old}"
            );
        }
    }

    #[test]
    fn garbage_is_refused() {
        let upper = A.to_uppercase();
        for text in [
            "x",
            "",
            "shallow aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "push-cert\0",
            &format!("{A} {B}"),
            &format!("{A} {B} "),
            &format!("{A} {B} refs/heads/a b"),
            &format!("{A} {B} refs/heads/a\u{1}"),
            &format!("{A} {B}{B} refs/heads/a"),
            &format!("{upper} {B} refs/heads/a"),
        ] {
            assert!(parse_request(&push(&[text])).is_err(), "{text:?}");
        }
        for bytes in [
            &b"zzzz"[..],
            b"0001",
            b"0004",
            b"+123",
            b"ffff",
            b"0002",
            b"\xff\xff\xff\xff",
        ] {
            assert!(
                matches!(parse_request(bytes), Err(ParseRequest::ParseLength { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_huge_list_of_commands_is_refused() {
        let one = line(&format!("{A} {B} refs/heads/x"));
        assert_eq!(
            parse_request(one.repeat(1000).as_bytes()),
            Err(ParseRequest::BoundHead)
        );
        let long = format!("ff00{}", "a".repeat(MAX_HEAD));
        assert!(parse_request(long.as_bytes()).is_err());
    }

    #[test]
    fn a_report_is_one_line_a_ref_whatever_the_reason_says() {
        let text = report(Ok(()), &[("refs/heads/x", Err("no\n0000ok refs/heads/x"))]);
        assert_eq!(
            text,
            "000eunpack ok\n002bng refs/heads/x no 0000ok refs/heads/x\n0000"
        );
    }

    #[test]
    fn an_empty_repository_is_advertised_by_its_capabilities() {
        let text = advertisement(&[], 40);
        assert!(text.starts_with("001f# service=git-receive-pack\n0000"), "{text}");
        assert!(
            text.contains(&format!("{ZERO} capabilities^{{}}\0report-status")),
            "{text}"
        );
    }
}
