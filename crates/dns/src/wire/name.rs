//! Domain names (RFC 1035 section 3.1): octets of the uncompressed wire form, case kept, compared without
//! case (RFC 4343), ordered canonically (RFC 4034 section 6.1).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use postroad_types::limits::{DNS_LABEL_OCTETS_MAX, DNS_NAME_OCTETS_MAX};

use super::KeyBuf;

/// A fully qualified domain name. Always holds a valid wire form: labels of 1 to 63 octets, the root's
/// zero octet at the end, 255 octets in all at most.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text or octets are not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is longer than 255 octets")]
    TooLong,
    #[error("a label is longer than 63 octets")]
    LabelTooLong,
    #[error("a label is empty (two dots in a row, or a dot at the start)")]
    EmptyLabel,
    #[error("a \\ must be followed by a character or by three digits from 000 to 255")]
    BadEscape,
    #[error("the name is empty")]
    Empty,
    #[error("the name has no final dot, and there is no origin to add")]
    NoOrigin,
    #[error("the octets are no name in wire form")]
    BadWire,
}

impl Name {
    /// The root, `.`.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Takes the wire form at the start of `octets`; compression pointers are refused.
    pub fn from_wire_prefix(octets: &[u8]) -> Result<(Self, &[u8]), NameError> {
        let mut at = 0;
        loop {
            match octets.get(at) {
                Some(0) => break,
                Some(&length) if usize::from(length) <= DNS_LABEL_OCTETS_MAX => at += 1 + usize::from(length),
                _ => return Err(NameError::BadWire),
            }
            if at >= DNS_NAME_OCTETS_MAX {
                return Err(NameError::TooLong);
            }
        }
        let (name, rest) = octets.split_at_checked(at + 1).ok_or(NameError::BadWire)?;
        Ok((Self(name.into()), rest))
    }

    /// Takes `octets` as one whole name in wire form.
    pub fn from_wire(octets: &[u8]) -> Result<Self, NameError> {
        match Self::from_wire_prefix(octets)? {
            (name, []) => Ok(name),
            _ => Err(NameError::BadWire),
        }
    }

    /// Puts a name together from its labels, the leftmost first.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(32);
        for label in labels {
            push_label(&mut wire, label)?;
        }
        Self::finish(wire)
    }

    /// Reads presentation format (RFC 1035 section 5.1): `\.` and `\DDD` escapes, `@` for the origin, and the
    /// origin added where the final dot is missing.
    pub fn from_text(text: &[u8], origin: Option<&Name>) -> Result<Self, NameError> {
        match text {
            [] => return Err(NameError::Empty),
            b"." => return Ok(Self::root()),
            b"@" => return origin.cloned().ok_or(NameError::NoOrigin),
            _ => {}
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::with_capacity(DNS_LABEL_OCTETS_MAX);
        let mut rest = text;
        while let Some((&octet, after)) = rest.split_first() {
            rest = after;
            match octet {
                b'.' => {
                    push_label(&mut wire, &label)?;
                    label.clear();
                }
                b'\\' => {
                    let (octet, after) = unescape(rest).ok_or(NameError::BadEscape)?;
                    label.push(octet);
                    rest = after;
                }
                octet => label.push(octet),
            }
        }
        if !label.is_empty() {
            push_label(&mut wire, &label)?;
            let origin = origin.ok_or(NameError::NoOrigin)?;
            wire.extend_from_slice(&origin.0);
            return Self::from_wire(&wire).map_err(|_| NameError::TooLong);
        }
        Self::finish(wire)
    }

    /// Reads presentation format where a missing final dot means the root, as people write names.
    pub fn from_text_absolute(text: &str) -> Result<Self, NameError> {
        Self::from_text(text.as_bytes(), Some(&Self::root()))
    }

    fn finish(mut wire: Vec<u8>) -> Result<Self, NameError> {
        wire.push(0);
        if wire.len() > DNS_NAME_OCTETS_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(wire.into()))
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Labels from the left, without the root's.
    pub fn labels(&self) -> Labels<'_> {
        Labels(&self.0)
    }

    /// Number of labels without the root's.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// True when the leftmost label is `*` (RFC 4592 section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(&[1, b'*'])
    }

    /// The wire forms of the name itself and of all names above it, down to the root's.
    pub fn ancestry(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(Some(self.as_wire()), |wire| {
            let above = wire.get(1 + usize::from(*wire.first()?)..)?;
            (!above.is_empty()).then_some(above)
        })
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let first = usize::from(*self.0.first()?);
        if first == 0 {
            return None;
        }
        Some(Self(self.0.get(first + 1..)?.into()))
    }

    /// True when `self` is `ancestor` or below it.
    pub fn is_at_or_below(&self, ancestor: &Name) -> bool {
        self.strip(ancestor).is_some()
    }

    /// True when `self` is below `ancestor` and not equal to it.
    pub fn is_below(&self, ancestor: &Name) -> bool {
        self.0.len() > ancestor.0.len() && self.is_at_or_below(ancestor)
    }

    /// The octets of the labels that come before `ancestor`.
    fn strip(&self, ancestor: &Name) -> Option<&[u8]> {
        let start = self.0.len().checked_sub(ancestor.0.len())?;
        let (prefix, suffix) = self.0.split_at_checked(start)?;
        if !suffix.eq_ignore_ascii_case(&ancestor.0) {
            return None;
        }
        // Equal octets do not prove it: the cut must fall between two labels.
        let mut at = 0;
        while at < start {
            at += 1 + usize::from(*prefix.get(at)?);
        }
        (at == start).then_some(prefix)
    }

    /// `self` with the suffix `from` replaced by `to`, as a DNAME does (RFC 6672 section 2.2).
    /// `None` when `self` is not below `from`.
    pub fn replace_suffix(&self, from: &Name, to: &Name) -> Option<Result<Name, NameError>> {
        let prefix = self.strip(from).filter(|prefix| !prefix.is_empty())?;
        let mut wire = prefix.to_vec();
        wire.extend_from_slice(&to.0);
        Some(if wire.len() > DNS_NAME_OCTETS_MAX { Err(NameError::TooLong) } else { Ok(Self(wire.into())) })
    }

    /// The name with `label` put before it.
    pub fn with_label(&self, label: &[u8]) -> Result<Name, NameError> {
        let mut wire = Vec::with_capacity(self.0.len() + label.len() + 1);
        push_label(&mut wire, label)?;
        wire.extend_from_slice(&self.0);
        Self::from_wire(&wire).map_err(|_| NameError::TooLong)
    }

    /// The name in lower case.
    pub fn to_lowercase(&self) -> Name {
        Self(self.0.to_ascii_lowercase().into())
    }

    /// The sort key (see [`KeyBuf`]).
    pub fn key(&self) -> KeyBuf {
        KeyBuf::from_wire(&self.0)
    }

    /// hickory's form of the name.
    pub fn to_hickory(&self) -> hickory_proto::rr::Name {
        // A valid wire form is a valid hickory name; hickory draws its line at 254 octets of text, ours at 255
        // of wire, which is the same line.
        hickory_proto::rr::Name::from_labels(self.labels())
            .unwrap_or_else(|_| hickory_proto::rr::Name::root())
    }

    /// From hickory's form; relative names count as fully qualified.
    pub fn from_hickory(name: &hickory_proto::rr::Name) -> Result<Self, NameError> {
        Self::from_labels(name.iter())
    }
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > DNS_LABEL_OCTETS_MAX {
        return Err(NameError::LabelTooLong);
    }
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
    if wire.len() >= DNS_NAME_OCTETS_MAX {
        return Err(NameError::TooLong);
    }
    Ok(())
}

/// What stands after a `\`: three digits, or one octet taken as it is. Returns it and the rest.
pub(super) fn unescape(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let value = u32::from(a - b'0') * 100 + u32::from(b - b'0') * 10 + u32::from(c - b'0');
            Some((u8::try_from(value).ok()?, rest))
        }
        [b'0'..=b'9', ..] => None,
        [octet, rest @ ..] => Some((*octet, rest)),
        [] => None,
    }
}

/// Labels of a name from the left.
#[derive(Debug, Clone)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.0.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(label)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Length octets are at most 63 and so never letters: one pass over the octets compares both.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_wire(&self.0, state);
    }
}

/// Hashes a name's wire form as the name is hashed: without the case of letters.
pub fn hash_wire<H: Hasher>(wire: &[u8], state: &mut H) {
    let (words, rest) = wire.as_chunks::<8>();
    for word in words {
        state.write_u64(lower_case(u64::from_le_bytes(*word)));
    }
    // Zeros after the end make no two names equal: a name ends at its first empty label.
    let mut last = [0; 8];
    for (place, octet) in last.iter_mut().zip(rest) {
        *place = *octet;
    }
    state.write_u64(lower_case(u64::from_le_bytes(last)));
}

/// Eight octets with the letters among them in lower case; no other octet changes, so that nobody can choose names that
/// differ and hash alike.
fn lower_case(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low = word & !HIGH;
    let from_a = low + (0x80 - u64::from(b'A')) * EACH;
    let past_z = low + (0x7f - u64::from(b'Z')) * EACH;
    let letters = (from_a ^ past_z) & !word & HIGH;
    word | letters >> 2
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().as_bytes().cmp(other.key().as_bytes())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::from_text_absolute(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn canonical_order_is_that_of_rfc_4034() {
        let ordered = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        for pair in ordered.windows(2) {
            assert!(name(pair[0]) < name(pair[1]), "{} before {}", pair[0], pair[1]);
        }
        assert!(name("\\000.z.example.") < name("\\001.z.example."));
        assert!(name("z.example.") < name("\\000.z.example."));
    }

    #[test]
    fn below_is_decided_at_label_borders() {
        assert!(name("a.b.example").is_at_or_below(&name("B.Example")));
        assert!(!name("ab.example").is_at_or_below(&name("b.example")));
        assert!(name("example").is_at_or_below(&Name::root()));
        assert!(!name("example").is_below(&name("example")));
        // Equal octets at the end that are the inside of one label.
        assert!(!Name::from_labels([&b"x\x07example"[..]]).unwrap().is_at_or_below(&name("example")));
    }

    #[test]
    fn presentation_round_trips_with_escapes() {
        for text in ["a\\.b.example.", "\\000\\255.example.", "*.example.", "a\\\\b.", "with\\032space.test."]
        {
            assert_eq!(name(text).to_string(), text);
            assert_eq!(Name::from_wire(name(text).as_wire()).unwrap(), name(text));
        }
        assert_eq!(name("a\\.b.example").label_count(), 2);
        let origin = name("example");
        assert_eq!(Name::from_text(b"www", Some(&origin)).unwrap(), name("www.example"));
        assert_eq!(Name::from_text(b"@", Some(&origin)).unwrap(), origin);
    }

    #[test]
    fn wrong_names_are_told_apart() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        assert_eq!(long_label.parse::<Name>(), Err(NameError::LabelTooLong));
        assert_eq!(long_name.parse::<Name>(), Err(NameError::TooLong));
        assert!(long_name[1..].parse::<Name>().is_ok());
        assert_eq!("a..b".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!(".a".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("a\\256".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!("a\\1".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!(Name::from_text(b"a", None), Err(NameError::NoOrigin));
        assert_eq!(Name::from_wire(&[0xc0, 0x0c]), Err(NameError::BadWire));
        assert_eq!(Name::from_wire(&[3, b'a']), Err(NameError::BadWire));
    }

    #[test]
    fn a_dname_replaces_the_suffix() {
        let (from, to) = (name("old.example"), name("new.test"));
        assert_eq!(name("a.b.old.example").replace_suffix(&from, &to), Some(Ok(name("a.b.new.test"))));
        assert_eq!(name("old.example").replace_suffix(&from, &to), None);
        let long: Name = format!("{0}.{0}.{0}.old.example", "a".repeat(63)).parse().unwrap();
        let longer: Name = format!("{}.test", "b".repeat(63)).parse().unwrap();
        assert_eq!(long.replace_suffix(&from, &longer), Some(Err(NameError::TooLong)));
    }

    #[test]
    fn equal_names_hash_alike_and_others_do_not() {
        let hash = |name: &Name| {
            std::hash::BuildHasher::hash_one(
                &std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default(),
                name,
            )
        };
        for length in 1..40 {
            let text = format!("{}.zone.test", "aZ".repeat(length).split_at(length).0);
            assert_eq!(hash(&name(&text)), hash(&name(&text.to_uppercase())), "{text}");
        }
        for (one, other) in
            [("\\064", "\\096"), ("\\091", "{"), ("0", "\\016"), ("\\193", "\\225"), ("a", "a\\000")]
        {
            assert_ne!(hash(&name(one)), hash(&name(other)), "{one} {other}");
        }
    }

    #[test]
    fn the_ancestry_leads_up_to_the_root() {
        let name = name("a.bc.test");
        let names: Vec<String> =
            name.ancestry().map(|wire| Name::from_wire(wire).unwrap().to_string()).collect();
        assert_eq!(names, ["a.bc.test.", "bc.test.", "test.", "."]);
        assert_eq!(Name::root().ancestry().count(), 1);
    }
}
