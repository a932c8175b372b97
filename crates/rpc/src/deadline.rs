//! `grpc-timeout` (gRPC over HTTP/2, "Request-Headers"): how long a call may take.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// What the request says, if it says something that can be understood: up to 8 digits and a unit.
pub(crate) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The deadline of a call that is about to be made: its own, or else `default`, which is then written down.
pub(crate) fn of_or_set(headers: &mut HeaderMap, default: Duration) -> Duration {
    if let Some(given) = of(headers) {
        return given;
    }
    // 8 digits of milliseconds are a good day.
    let millis = default.as_millis().min(99_999_999);
    if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
        headers.insert(HEADER, value);
    }
    default
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_and_a_unit_are_a_timeout() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
            of(&headers)
        };
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        for text in ["", "m", "5", "5s", "-5S", "123456789S", "1.5S", "5µ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_default_is_written_down_and_a_given_one_is_kept() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_or_set(&mut headers, Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(of_or_set(&mut headers, Duration::from_secs(9)), Duration::from_secs(3));
    }
}
