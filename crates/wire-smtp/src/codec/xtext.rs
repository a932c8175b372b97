//! xtext, which carries any ASCII text in a parameter's value (RFC 3461 §4).

/// The text behind `value`, or `None` if it is no xtext or not UTF-8.
pub fn decode(value: &str) -> Option<String> {
    let mut out = Vec::with_capacity(value.len());
    let mut octets = value.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => out.push(upper_hex(octets.next()?)? << 4 | upper_hex(octets.next()?)?),
            b'!'..=b'~' if octet != b'=' => out.push(octet),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

/// `text` as xtext.
pub fn encode(text: &str) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if octet != b'+' && octet != b'=' => out.push(octet as char),
            _ => {
                out.push('+');
                out.extend(HEX.get(usize::from(octet >> 4)));
                out.extend(HEX.get(usize::from(octet & 15)));
            }
        }
    }
    out
}

fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses() {
        for text in ["a+b=c d", "<>", "é@example.test"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(decode("a+2Bb").as_deref(), Some("a+b"));
        for value in ["a+2b", "a+", "a+2", "a=b", "a b", "+FF"] {
            assert_eq!(decode(value), None, "{value}");
        }
    }
}
