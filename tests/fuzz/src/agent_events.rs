use super::{first, is_printable, run};

/// The agent's standard output, shown in the log of the container `claude`: no text of the agent can look like a line of
/// ours or drive a terminal. The first byte bounds the lines that are read.
pub fn agent_events(data: &[u8]) {
    let (bound, output) = first(data);
    let limit = 64 * (usize::from(bound) + 1);
    let (shown, complaint) =
        run(polecat_keyless::parsers::transcript(output, limit)).expect("a slice can be read");
    for line in &shown {
        assert!(line.starts_with('[') || line.starts_with("    "), "{line:?}");
        assert!(is_printable(line), "{line:?}");
    }
    assert!(complaint.is_none_or(|complaint| is_printable(&complaint) && complaint.len() < 4096));
    let bytes: usize = shown.iter().map(String::len).sum();
    assert!(
        bytes <= 4096 + 64 * output.len(),
        "{} became {bytes}",
        output.len()
    );
}
