//! Names as keys of ordered maps.

use std::fmt;

use postroad_types::limits::DNS_NAME_OCTETS_MAX;

/// Longest key: every octet of a name escaped.
const KEY_OCTETS_MAX: usize = 2 * DNS_NAME_OCTETS_MAX;

/// A name as a key whose octet order is the canonical order of names (RFC 4034 section 6.1).
///
/// Labels stand from the right to the left, in lower case, each closed by an octet 0; inside a label the octet 0
/// is written 1 1 and the octet 1 as 1 2. So the key of an ancestor is a prefix of the keys of all names below it,
/// a domain and everything below it is one contiguous range, and the last 0 within the common prefix of two keys
/// marks their closest common ancestor.
#[derive(Clone)]
pub struct KeyBuf {
    octets: [u8; KEY_OCTETS_MAX],
    length: usize,
}

impl KeyBuf {
    /// Makes the key of a valid name in wire form.
    pub fn from_wire(wire: &[u8]) -> Self {
        let mut starts = [0u8; DNS_NAME_OCTETS_MAX / 2 + 1];
        let mut labels = 0;
        let mut at = 0usize;
        while let Some(&length) = wire.get(at) {
            if length == 0 || labels == starts.len() {
                break;
            }
            starts[labels] = at as u8;
            labels += 1;
            at += 1 + usize::from(length);
        }
        let mut key = Self { octets: [0; KEY_OCTETS_MAX], length: 0 };
        for &start in starts[..labels].iter().rev() {
            let start = usize::from(start);
            let length = wire.get(start).copied().map_or(0, usize::from);
            for &octet in wire.get(start + 1..start + 1 + length).unwrap_or_default() {
                match octet {
                    0 | 1 => {
                        key.push(1);
                        key.push(octet + 1);
                    }
                    octet => key.push(octet.to_ascii_lowercase()),
                }
            }
            key.push(0);
        }
        key
    }

    fn push(&mut self, octet: u8) {
        if let Some(place) = self.octets.get_mut(self.length) {
            *place = octet;
            self.length += 1;
        }
    }

    /// The key of the wildcard right below this name.
    pub fn wildcard_child(mut self) -> Self {
        self.push(b'*');
        self.push(0);
        self
    }

    /// The key cut to its first `length` octets.
    pub fn truncated(mut self, length: usize) -> Self {
        self.length = self.length.min(length);
        self
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBuf({})", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::Name;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_a_prefix_of_the_keys_below_it_only() {
        let parent = name("b.example").key();
        assert!(name("a.b.example").key().as_bytes().starts_with(parent.as_bytes()));
        assert!(!name("bb.example").key().as_bytes().starts_with(parent.as_bytes()));
    }
}
