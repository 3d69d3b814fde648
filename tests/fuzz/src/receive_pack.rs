use std::convert::Infallible;

use axum::body::{Body, Bytes};
use gastown_broker::parsers::{Names, Tips, push, remote_failure};
use http::Request;

use super::{first, run};

const TIP: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The body of a push: exactly one command for one of two refs, from where the remote stands, is all that may pass. The
/// first byte says whether it is compressed, and how it is cut; or that the rest is what a git host says.
pub fn receive_pack(data: &[u8]) {
    let (kind, rest) = first(data);
    if kind == u8::MAX {
        let (_, shown) = remote_failure(&String::from_utf8_lossy(rest));
        assert!(
            shown.len() <= 400 && !shown.contains(char::is_control),
            "{shown:?}"
        );
        return;
    }
    let names = names();
    let tips = Tips {
        work: Some(TIP.parse().expect("it is an object id")),
        wip: None,
    };
    let Ok(pushed) = run(push(body(kind, rest), &names, &tips)) else {
        return;
    };
    if let Ok((name, old, _)) = &pushed.judged {
        assert_eq!(
            pushed.refs,
            std::slice::from_ref(name),
            "one command for the ref that moves"
        );
        let known = if *name == names.work {
            &tips.work
        } else {
            &tips.wip
        };
        assert!(*name == names.work || *name == names.wip, "{name}");
        assert_eq!(old, known);
    }
    assert_eq!(
        lines_of(&pushed.report),
        pushed.refs.len() + 1,
        "{:?}",
        pushed.report
    );
}

fn names() -> Names {
    let branch = |name: &str| name.parse().expect("it is a branch");
    Names::new(&branch("main"), &branch("polecat/x"), "furiosa", "01234567")
}

fn body(kind: u8, bytes: &[u8]) -> Request<Body> {
    let size = usize::from(kind >> 1) + 1;
    let parts: Vec<_> = bytes.chunks(size * size).map(Bytes::copy_from_slice).collect();
    let parts = parts.into_iter().map(Ok::<_, Infallible>);
    let encoding = if kind & 1 == 1 { "gzip" } else { "identity" };
    Request::builder()
        .header("content-encoding", encoding)
        .body(Body::from_stream(futures::stream::iter(parts)))
        .expect("a request of constants can be built")
}

/// How many pkt-lines a report has before its flush; it must have nothing else.
fn lines_of(report: &str) -> usize {
    let (mut rest, mut count) = (report.as_bytes(), 0);
    loop {
        let (head, tail) = rest.split_at(4);
        let length = usize::from_str_radix(str::from_utf8(head).expect("ASCII"), 16).expect("a length");
        if length == 0 {
            assert!(tail.is_empty(), "{report:?}");
            return count;
        }
        let line = str::from_utf8(&tail[..length - 4]).expect("UTF-8");
        assert!(
            line.strip_suffix('\n').is_some_and(|line| !line.contains('\n')),
            "{line:?}"
        );
        (rest, count) = (&tail[length - 4..], count + 1);
    }
}
