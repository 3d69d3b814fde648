//! The last words of `clone` and `run`: termination messages that fit.

use std::path::Path;

use serde::Serialize;

/// The most bytes of a termination message here: four containers share the kubelet's 12,288.
const MAX_BYTES: usize = 2048;

/// Writes what `build` makes of a message, cut until the JSON fits.
pub fn write<R: Serialize>(path: &Path, message: &str, build: impl Fn(String) -> R) -> std::io::Result<()> {
    std::fs::write(path, fit(message, build))
}

fn fit<R: Serialize>(message: &str, build: impl Fn(String) -> R) -> String {
    [1500, 500, 200, 0]
        .into_iter()
        .map(|limit| {
            let mut text = message.to_owned();
            gastown_api::evidence::truncate(&mut text, limit);
            serde_json::to_string(&build(text)).unwrap_or_default()
        })
        .find(|json| json.len() <= MAX_BYTES)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gastown_api::evidence::InitReport;
    use gastown_api::reason::Reason;

    use super::*;

    #[test]
    fn a_report_fits_and_reads_back_whatever_its_message() {
        for message in ["short".to_owned(), "\u{1}".repeat(9000), "é\"".repeat(9000)] {
            let reason = Reason::CloneFailed;
            let json = fit(&message, |message| InitReport { reason, message });
            assert!(json.len() <= MAX_BYTES, "{}", json.len());
            let report: InitReport = serde_json::from_str(&json).unwrap();
            assert_eq!(report.reason, reason);
            assert!(message.starts_with(&report.message) && !report.message.is_empty());
        }
    }
}
