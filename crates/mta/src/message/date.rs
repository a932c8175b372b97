//! Dates as headers write them (RFC 5322 §3.3), in UTC.

use postroad_store::spool::Micros;
use time::OffsetDateTime;

/// `Sat, 21 Nov 2026 00:05:17 +0000`
pub fn rfc5322(at: Micros) -> String {
    let Ok(date) = OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000_000)) else {
        return "Thu, 1 Jan 1970 00:00:00 +0000".to_owned();
    };
    let weekday = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        .get(usize::from(date.weekday().number_days_from_monday()))
        .copied()
        .unwrap_or("Mon");
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .get(usize::from(u8::from(date.month())) - 1)
        .copied()
        .unwrap_or("Jan");
    let (hour, minute, second) = date.to_hms();
    let (day, year) = (date.day(), date.year());
    format!("{weekday}, {day} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_rfc_5322() {
        assert_eq!(super::rfc5322(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(super::rfc5322(1_795_219_517_000_000), "Sat, 21 Nov 2026 00:05:17 +0000");
        assert_eq!(super::rfc5322(i64::MAX), "Thu, 1 Jan 1970 00:00:00 +0000");
    }
}
