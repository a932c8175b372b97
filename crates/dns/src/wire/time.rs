//! Points of time as signatures write them: YYYYMMDDHHmmSS, or seconds since 1970 (RFC 4034 section 3.2).

use std::fmt::Write as _;

/// Days before 1970-03-01 in the calendar that counts from 0000-03-01, when a year ends with its leap day.
const DAYS_BEFORE: u64 = 719_468;
/// Days of 400 years.
const ERA: u64 = 146_097;

pub(super) fn parse(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|o| o.is_ascii_digit()))?;
    if text.len() != 14 {
        return text.parse().ok();
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    let in_range = (1970..=2106).contains(&year)
        && (1..=12).contains(&month)
        && day >= 1
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !in_range {
        return None;
    }
    let years = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = years % 400 * 365 + years % 400 / 4 - years % 400 / 100 + day_of_year;
    let days = years / 400 * ERA + day_of_era - DAYS_BEFORE;
    // The 31st of a month of 30 days would be read as another day.
    (civil(days) == (year, month, day))
        .then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
        .and_then(|seconds| u32::try_from(seconds).ok())
}

/// Year, month and day of the day that is so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE;
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A time since 1970 as RFC 3339 has it, to the microsecond: `2026-11-21T13:00:00.123456Z`.
pub fn utc(since: std::time::Duration) -> String {
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

pub(super) fn push(text: &mut String, seconds: u32) {
    let (year, month, day) = civil(u64::from(seconds / 86_400));
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let _ = write!(text, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
}

/// Seconds since 1970 as RFC 3339 writes them: `2026-11-21T12:00:00Z`. What comes after 2106 is shown as that year's end.
pub(crate) fn shown_time(seconds: u64) -> String {
    let seconds = seconds.min(u32::MAX.into());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What [`shown_time`] shows, read back.
pub(crate) fn time_of(text: &str) -> Option<u64> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
    let seconds = parse(&digits).map(u64::from)?;
    (shown_time(seconds) == text).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words_read_back() {
        assert_eq!(shown_time(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(time_of("2000-02-29T23:59:59Z"), Some(951_868_799));
        for wrong in ["", "2000-02-29", "2000-02-30T00:00:00Z", "2000-02-29 23:59:59Z", "951868799"] {
            assert_eq!(time_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_from_1970_to_2106() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("20000229235959", 951_868_799),
            ("20030322173103", 1_048_354_263),
            ("20380119031408", 1 << 31),
            ("21060207062815", u32::MAX),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(seconds), "{text}");
            let mut shown = String::new();
            push(&mut shown, seconds);
            assert_eq!(shown, text);
        }
        assert_eq!(parse(b"1048354263"), Some(1_048_354_263));
        for wrong in
            ["", "x", "20010229000000", "20010431000000", "19691231235959", "21060207062816", "4294967296"]
        {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        for day in 0..49_710u32 {
            let mut shown = String::new();
            push(&mut shown, day * 86_400);
            assert_eq!(parse(shown.as_bytes()), Some(day * 86_400), "{shown}");
        }
    }
}
