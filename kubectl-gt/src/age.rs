//! How long ago, as kubectl writes it.

use jiff::Timestamp;

/// `45s`, `12m`, `3h`, `5d`; nothing for a time that is missing or no time.
pub fn since(time: &str, now: Timestamp) -> String {
    time.parse::<Timestamp>().map_or_else(
        |_| String::new(),
        |time| short(now.duration_since(time).as_secs()),
    )
}

/// A number of seconds.
pub fn short(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(since("2026-01-01T23:59:15Z", now), "45s");
        assert_eq!(since("2026-01-01T21:00:00Z", now), "3h");
        assert_eq!(since("2025-12-20T00:00:00Z", now), "13d");
        assert_eq!(since("2026-01-02T00:00:09Z", now), "0s", "clocks differ");
        assert_eq!(since("never", now), "");
    }
}
