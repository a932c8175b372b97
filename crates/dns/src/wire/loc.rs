//! Places on Earth (RFC 1876): 16 octets, of which the sizes are a digit and a power of ten of centimetres each, the
//! angles thousandths of a second of arc around 2^31, the altitude centimetres above 100 km below the WGS 84 spheroid.

use std::fmt::Write as _;

/// Octets of the data.
pub(super) const LOC_OCTETS: usize = 16;
/// What the equator and the prime meridian are written as.
const MIDDLE: u32 = 1 << 31;
/// Thousandths of a second of arc in a degree.
const DEGREE: u32 = 3_600_000;
/// Centimetres between the lowest altitude and the spheroid.
const DEPTH: i64 = 10_000_000;
/// Size, horizontal and vertical precision where the text names none: 1 m, 10 km, 10 m (section 3).
const SIZES: [u8; 3] = [0x12, 0x16, 0x13];

/// What the next word must be, for errors.
pub(super) type Expected = &'static str;

/// Reads the words of the data, and says which is wrong (their number: one is missing).
pub(super) fn parse(words: &[&str]) -> Result<[u8; LOC_OCTETS], (usize, Expected)> {
    let mut at = 0;
    let latitude = angle(words, &mut at, 90, ["N", "S"], "a latitude such as 52 22 23.000 N")?;
    let longitude = angle(words, &mut at, 180, ["E", "W"], "a longitude such as 4 53 32.000 E")?;
    let expected = "an altitude in metres from -100000.00 to 42849672.95, such as -2.00m";
    let altitude = words
        .get(at)
        .and_then(|word| centimetres(word))
        .and_then(|altitude| u32::try_from(altitude.checked_add(DEPTH)?).ok())
        .ok_or((at, expected))?;
    at += 1;
    let mut sizes = SIZES;
    for size in &mut sizes {
        let Some(word) = words.get(at) else { break };
        let octet = centimetres(word).and_then(size_octet);
        *size = octet.ok_or((at, "a size in metres from 0.00 to 90000000.00, such as 10m"))?;
        at += 1;
    }
    if at < words.len() {
        return Err((at, "the end of the LOC record"));
    }
    let mut out = [0; LOC_OCTETS];
    for (place, value) in out.chunks_exact_mut(4).zip([0, latitude, longitude, altitude]) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    for (place, size) in out.iter_mut().skip(1).zip(sizes) {
        *place = size;
    }
    Ok(out)
}

/// Degrees, perhaps minutes, perhaps seconds, and a letter.
fn angle(
    words: &[&str],
    at: &mut usize,
    degrees_max: u32,
    [above, below]: [&str; 2],
    expected: Expected,
) -> Result<u32, (usize, Expected)> {
    let mut total = 0;
    for (index, unit) in [DEGREE, 60_000, 1000].into_iter().enumerate() {
        let word = *words.get(*at).ok_or((*at, expected))?;
        if index > 0 && [above, below].iter().any(|letter| word.eq_ignore_ascii_case(letter)) {
            break;
        }
        // Only seconds have a fraction.
        let thousandths = decimal(word, 3).filter(|value| unit == 1000 || value % 1000 == 0);
        let max = if index == 0 { u64::from(degrees_max) * 1000 } else { 59_999 };
        let value = thousandths.filter(|value| *value <= max).ok_or((*at, expected))?;
        total += (value * u64::from(unit) / 1000) as u32;
        *at += 1;
    }
    let word = *words.get(*at).ok_or((*at, expected))?;
    if total > degrees_max * DEGREE {
        return Err((*at, expected));
    }
    let angle = if word.eq_ignore_ascii_case(above) {
        MIDDLE + total
    } else if word.eq_ignore_ascii_case(below) {
        MIDDLE - total
    } else {
        return Err((*at, expected));
    };
    *at += 1;
    Ok(angle)
}

/// A number without sign and with at most so many decimals, in units of the last of them.
fn decimal(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > decimals {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

fn centimetres(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['m', 'M']).unwrap_or(text);
    match text.strip_prefix('-') {
        Some(text) => Some(-i64::try_from(decimal(text, 2)?).ok()?),
        None => i64::try_from(decimal(text, 2)?).ok(),
    }
}

/// The digit and power of ten of a size in centimetres, rounded down to one digit.
fn size_octet(centimetres: i64) -> Option<u8> {
    let (mut digit, mut power) = (u64::try_from(centimetres).ok()?, 0u8);
    while digit > 9 {
        digit /= 10;
        power += 1;
    }
    (power <= 9).then_some((digit as u8) << 4 | power)
}

/// Shows the data; `None` when it is not of the form, or is of another version.
pub(super) fn display(rdata: &[u8]) -> Option<String> {
    let rdata: &[u8; LOC_OCTETS] = rdata.try_into().ok()?;
    let [0, size, horizontal, vertical, rest @ ..] = rdata else { return None };
    let (values, []) = rest.as_chunks::<4>() else { return None };
    let [latitude, longitude, altitude] = values else { return None };
    let mut text = String::new();
    push_angle(&mut text, u32::from_be_bytes(*latitude), 90, ["N", "S"])?;
    push_angle(&mut text, u32::from_be_bytes(*longitude), 180, ["E", "W"])?;
    let altitude = i64::from(u32::from_be_bytes(*altitude)) - DEPTH;
    let sign = if altitude < 0 { "-" } else { "" };
    let _ = write!(text, "{sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100);
    for size in [*size, *horizontal, *vertical] {
        let (digit, power) = (size >> 4, size & 0xf);
        // Zero has one form only, so that what is shown reads back to the same octets.
        if digit > 9 || power > 9 || (digit == 0 && power > 0) {
            return None;
        }
        let centimetres = u64::from(digit) * 10u64.pow(power.into());
        let _ = write!(text, " {}.{:02}m", centimetres / 100, centimetres % 100);
    }
    Some(text)
}

fn push_angle(text: &mut String, angle: u32, degrees_max: u32, [above, below]: [&str; 2]) -> Option<()> {
    let letter = if angle < MIDDLE { below } else { above };
    let angle = angle.abs_diff(MIDDLE);
    let (degrees, seconds) = (angle / DEGREE, angle % 60_000);
    let _ = write!(
        text,
        "{degrees} {} {}.{:03} {letter} ",
        angle % DEGREE / 60_000,
        seconds / 1000,
        seconds % 1000
    );
    (angle <= degrees_max * DEGREE).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let words: Vec<&str> = text.split(' ').collect();
        display(&parse(&words).unwrap()).unwrap()
    }

    #[test]
    fn rfc_1876_section_3_and_appendix_d() {
        for (text, expected) in [
            (
                "42 21 54 N 71 06 18 W -24m 30m",
                "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m",
            ),
            (
                "42 21 43.952 N 71 5 6.344 W -24m 1m 200m",
                "42 21 43.952 N 71 5 6.344 W -24.00m 1.00m 200.00m 10.00m",
            ),
            ("52 14 05 N 00 08 50 E 10m", "52 14 5.000 N 0 8 50.000 E 10.00m 1.00m 10000.00m 10.00m"),
            ("32 7 19 S 116 2 25 E 10m", "32 7 19.000 S 116 2 25.000 E 10.00m 1.00m 10000.00m 10.00m"),
            (
                "90 S 180 w -100000 0 0.05 90000000.00m",
                "90 0 0.000 S 180 0 0.000 W -100000.00m 0.00m 0.05m 90000000.00m",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            assert_eq!(shown(expected), expected);
        }
    }

    #[test]
    fn what_is_no_place_is_refused_at_its_word() {
        for (text, word) in [
            ("91 N 0 E 0m", 0),
            ("90 0 1 N 0 E 0m", 3),
            ("1 60 N 0 E 0m", 1),
            ("1.5 N 0 E 0m", 0),
            ("1 X 0 E 0m", 1),
            ("1 N 0 E", 4),
            ("1 N 0 E 1.005m", 4),
            ("1 N 0 E 0m 1m 1m 1m 1m", 8),
            ("1 N 0 E 0m 90000001000m", 5),
        ] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(parse(&words).unwrap_err().0, word, "{text}");
        }
        assert_eq!(display(&[1; 16]), None);
    }
}
