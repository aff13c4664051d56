//! How long the client will wait, if it says so.

use hyper::HeaderMap;
use umbel::{Budget, Instant, WireError};

/// The value of gRPC's header: `250m`.
const GRPC: &str = "grpc-timeout";
/// Milliseconds: `250`.
const MILLIS: &str = "x-budget-ms";

/// The time of the nearest of these headers, from `now` on. None of them is no limit.
///
/// # Errors
/// One of them is not in its form: what the client is told.
pub(crate) fn of(headers: &HeaderMap, now: Instant) -> Result<Budget, String> {
    type Read = fn(&[u8], Instant) -> Result<Budget, WireError>;
    let forms: [(&str, Read); 2] = [
        (GRPC, |value, now| Budget::from_grpc_timeout(value, now)),
        (MILLIS, |value, now| Budget::from_millis(value, now)),
    ];
    let mut budget = Budget::UNLIMITED;
    for (name, read) in forms {
        for value in headers.get_all(name) {
            let time = read(value.as_bytes(), now).map_err(|e| format!("{name}: {e}"))?;
            budget = budget.min(time);
        }
    }
    Ok(budget)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn read(headers: &[(&'static str, &str)]) -> Result<Budget, String> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        of(&pairs.collect(), Instant::EPOCH)
    }

    #[test]
    fn the_nearest_counts_and_a_bad_one_is_named() {
        let ms = |n| Ok(Budget::lasting(Instant::EPOCH, Duration::from_millis(n)));
        assert_eq!(read(&[]), Ok(Budget::UNLIMITED));
        assert_eq!(read(&[(GRPC, "2S")]), ms(2000));
        assert_eq!(read(&[(GRPC, "2S"), (MILLIS, "70")]), ms(70));
        assert_eq!(
            read(&[(MILLIS, "90"), (MILLIS, "70"), (MILLIS, "80")]),
            ms(70)
        );
        assert_eq!(read(&[(MILLIS, "0")]), ms(0));
        let text = "x-budget-ms: a timeout with '-' for a digit";
        assert_eq!(read(&[(GRPC, "2S"), (MILLIS, "-70")]), Err(text.into()));
        assert!(
            read(&[(GRPC, "2")])
                .unwrap_err()
                .starts_with("grpc-timeout: ")
        );
    }
}
