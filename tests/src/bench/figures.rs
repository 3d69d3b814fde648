//! What is made of many measurements.

use std::time::Duration;

use serde::Serialize;

/// The distribution of measured times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// How many were measured.
    pub count: usize,
    /// Half took at most this.
    pub p50: f64,
    /// 95 of 100 took at most this.
    pub p95: f64,
    /// 99 of 100 took at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// The distribution of `times`; none of no times.
#[must_use]
pub fn spread(mut times: Vec<Duration>) -> Option<Spread> {
    times.sort_unstable();
    let max = *times.last()?;
    // The nearest rank: the smallest time that `percent` of all do not exceed.
    let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
    Some(Spread {
        count: times.len(),
        p50: milliseconds(rank(50)),
        p95: milliseconds(rank(95)),
        p99: milliseconds(rank(99)),
        max: milliseconds(max),
    })
}

/// Milliseconds, with the fraction.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / count(values.len())
    }
}

/// A number of things as a number to calculate with.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "numbers of things stay far below 2^52")]
pub fn count(things: usize) -> f64 {
    things as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values_of_the_nearest_rank() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let expected = Spread {
            count: 200,
            p50: 100.0,
            p95: 190.0,
            p99: 198.0,
            max: 200.0,
        };
        assert_eq!(spread(times), Some(expected));
    }

    #[test]
    fn one_time_is_its_own_distribution_and_none_has_none() {
        assert!((spread(vec![Duration::from_millis(7)]).unwrap().p99 - 7.0).abs() < 1e-9);
        assert_eq!(spread(Vec::new()), None);
    }
}
