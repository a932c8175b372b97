//! The Date field (RFC 5322 §3.3), read with the obsolete forms.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// When the message says it was written, with the offset it says; `None` if that cannot be read.
pub fn parse(value: &[u8]) -> Option<OffsetDateTime> {
    let text = without_comments(value);
    let text = text.trim();
    // The day of the week is not needed and often wrong.
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_whitespace().peekable();
    if words.peek().is_some_and(|word| !word.starts_with(|c: char| c.is_ascii_digit())) {
        words.next();
    }
    let day = words.next()?.parse().ok()?;
    let month = month(words.next()?)?;
    let year = year(words.next()?)?;
    let date = Date::from_calendar_date(year, month, day).ok()?;
    let time = words.next().and_then(clock).unwrap_or(Time::MIDNIGHT);
    let offset = words.next().and_then(zone).unwrap_or(UtcOffset::UTC);
    Some(date.with_time(time).assume_offset(offset))
}

fn without_comments(value: &[u8]) -> String {
    let mut depth = 0usize;
    let kept = value.iter().filter(|b| {
        match b {
            b'(' => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                return false;
            }
            _ => {}
        }
        depth == 0
    });
    String::from_utf8_lossy(&kept.copied().collect::<Vec<u8>>()).into_owned()
}

/// `Jan` … `Dec` in any case; only the first three letters count.
pub fn month(word: &str) -> Option<Month> {
    let number = match word.get(..3)?.to_ascii_lowercase().as_str() {
        "jan" => 1,
        "feb" => 2,
        "mar" => 3,
        "apr" => 4,
        "may" => 5,
        "jun" => 6,
        "jul" => 7,
        "aug" => 8,
        "sep" => 9,
        "oct" => 10,
        "nov" => 11,
        "dec" => 12,
        _ => return None,
    };
    Month::try_from(number).ok()
}

/// Two and three digits as RFC 5322 §4.3 reads them.
fn year(word: &str) -> Option<i32> {
    let year: i32 = word.parse().ok()?;
    match (word.len(), year) {
        (1 | 2, 0..50) => Some(2000 + year),
        (1..=3, 0..=999) => Some(1900 + year),
        (4, 0..) => Some(year),
        _ => None,
    }
}

fn clock(word: &str) -> Option<Time> {
    let mut parts = word.split(':').map(str::parse::<u8>);
    let (hour, minute) = (parts.next()?.ok()?, parts.next()?.ok()?);
    // A leap second counts as the one before.
    let second = parts.next().and_then(Result::ok).unwrap_or(0).min(59);
    Time::from_hms(hour, minute, second).ok()
}

fn zone(word: &str) -> Option<UtcOffset> {
    if let Some(sign) = word.strip_prefix('+').map(|_| 1).or(word.strip_prefix('-').map(|_| -1)) {
        let digits: i32 = word.get(1..5)?.parse().ok()?;
        return UtcOffset::from_whole_seconds(sign * (digits / 100 * 3600 + digits % 100 * 60)).ok();
    }
    let hours = match word.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => 0,
    };
    UtcOffset::from_hms(hours, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    #[test]
    fn usual_and_obsolete_forms() {
        for (text, at) in [
            ("Fri, 21 Nov 1997 09:55:06 -0600", datetime!(1997-11-21 09:55:06 -6)),
            ("21 Nov 97 09:55 GMT", datetime!(1997-11-21 09:55:00 UTC)),
            ("Tue, 1 Jul 2003 10:52:37 +0200 (CEST)", datetime!(2003-07-01 10:52:37 +2)),
            ("Thu , 13\r\n Feb (x) 1969 23:32 -0330", datetime!(1969-02-13 23:32 -03:30)),
            ("Mon 3 January 2022 00:00:60 PST", datetime!(2022-01-03 00:00:59 -8)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(at), "{text}");
        }
        for text in ["", "yesterday", "32 Jan 2020", "1 Foo 2020", "1 Jan"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_taken(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            parse(&value);
        }
    }
}
