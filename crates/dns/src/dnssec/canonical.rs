//! The canonical form of record sets (RFC 4034 section 6, RFC 6840 section 5.1): the octets that a signature covers.

use super::Rrsig;
use crate::wire::{Field, Name, RrSet, Rtype, fields, take_field};

/// Class IN.
const CLASS: u16 = 1;

/// What the signature is made over (RFC 4034 section 3.1.8.1). `None` where `rrsig` cannot be one of the set's: its type
/// is another, it has more labels than the owner, or the signer is not at or above the owner.
pub fn signed_data(rrsig: &Rrsig<'_>, owner: &Name, rrset: &RrSet) -> Option<Vec<u8>> {
    if rrsig.type_covered != rrset.rtype || !owner.is_at_or_below(&rrsig.signer) {
        return None;
    }
    let owner = signed_owner(owner, rrsig.labels)?.to_lowercase();
    let mut records: Vec<Vec<u8>> = rrset.iter().map(|rdata| canonical_rdata(rrset.rtype, rdata)).collect();
    records.sort_unstable();
    records.dedup();
    let mut data = rrsig.head();
    for rdata in records {
        push_record(&mut data, &owner, rrset.rtype, rrsig.original_ttl, &rdata);
    }
    Some(data)
}

/// A record of canonical data whose owner is in lower case (RFC 4034 section 6.2).
pub fn push_record(to: &mut Vec<u8>, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) {
    to.extend_from_slice(owner.as_wire());
    to.extend_from_slice(&rtype.0.to_be_bytes());
    to.extend_from_slice(&CLASS.to_be_bytes());
    to.extend_from_slice(&ttl.to_be_bytes());
    // Record data has 65,535 octets at most.
    to.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    to.extend_from_slice(rdata);
}

/// The owner that was signed: `owner` itself, or the wildcard that it was made of, when the signature has fewer labels.
/// `None` when it has more.
pub fn signed_owner(owner: &Name, labels: u8) -> Option<Name> {
    let spare = owner.label_count().checked_sub(usize::from(labels))?;
    if spare == 0 {
        return Some(owner.clone());
    }
    let mut encloser = owner.clone();
    for _ in 0..spare {
        encloser = encloser.parent()?;
    }
    encloser.with_label(b"*").ok()
}

/// Record data with its names in lower case, for the types where that is done.
pub fn canonical_rdata(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    let mut out = rdata.to_vec();
    let Some(fields) = lowered(rtype) else { return out };
    let mut rest = rdata;
    for field in fields {
        let at = rdata.len() - rest.len();
        let Some((taken, after)) = take_field(*field, rest) else { break };
        if *field == Field::Name
            && let Some(name) = out.get_mut(at..at + taken.len())
        {
            // Lengths of labels are below the letters.
            name.make_ascii_lowercase();
        }
        rest = after;
    }
    out
}

/// The fields of the types whose names are lowered. NSEC is not one of them (RFC 6840), nor is any type that came after
/// RFC 3597.
fn lowered(rtype: Rtype) -> Option<&'static [Field]> {
    match rtype {
        Rtype::NS
        | Rtype::CNAME
        | Rtype::SOA
        | Rtype::MB
        | Rtype::MG
        | Rtype::MR
        | Rtype::PTR
        | Rtype::MINFO
        | Rtype::MX
        | Rtype::RP
        | Rtype::AFSDB
        | Rtype::SIG
        | Rtype::NAPTR
        | Rtype::KX
        | Rtype::SRV
        | Rtype::DNAME
        | Rtype::RRSIG => fields(rtype),
        // MD and MF, RT, PX, NXT: no zone has them any more, and they are opaque elsewhere.
        Rtype(3 | 4) => Some(&[Field::Name]),
        Rtype(21) => Some(&[Field::U16, Field::Name]),
        Rtype(26) => Some(&[Field::U16, Field::Name, Field::Name]),
        Rtype(30) => Some(&[Field::Name]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::rdata;
    use crate::wire::RrSetBuilder;

    fn set(rtype: Rtype, texts: &[&str]) -> RrSet {
        let mut set = RrSetBuilder::new(rtype, 300);
        for text in texts {
            set.push(&rdata(rtype, text));
        }
        set.build().unwrap()
    }

    #[test]
    fn records_are_lowered_sorted_and_counted_once() {
        let octets = rdata(Rtype::RRSIG, "MX 13 2 3600 20261121000000 20261101000000 7 Example. AAAA");
        let rrsig = Rrsig::read(&octets).unwrap();
        let owner: Name = "A.Example.".parse().unwrap();
        let mixed = set(Rtype::MX, &["10 B.example.", "10 a.Example.", "5 z.example.", "10 b.Example."]);
        let plain = set(Rtype::MX, &["5 z.example.", "10 a.example.", "10 b.example."]);
        let data = signed_data(&rrsig, &owner, &mixed).unwrap();
        assert_eq!(data, signed_data(&rrsig, &"a.example.".parse().unwrap(), &plain).unwrap());
        let mut first = rrsig.head();
        first.extend_from_slice(
            b"\x01a\x07example\x00\x00\x0f\x00\x01\x00\x00\x0e\x10\x00\x0d\x00\x05\x01z\x07example\x00",
        );
        assert!(data.starts_with(&first), "{}", data.escape_ascii());
    }

    #[test]
    fn a_wildcards_signature_covers_the_wildcard() {
        let owner: Name = "a.b.example.".parse().unwrap();
        assert_eq!(signed_owner(&owner, 3).unwrap(), owner);
        assert_eq!(signed_owner(&owner, 1).unwrap().to_string(), "*.example.");
        assert_eq!(signed_owner(&"*.example.".parse().unwrap(), 1).unwrap().to_string(), "*.example.");
        assert!(signed_owner(&owner, 4).is_none());
    }

    #[test]
    fn what_is_not_of_the_set_is_not_signed_data() {
        let octets = rdata(Rtype::RRSIG, "A 13 2 60 20261121000000 20261101000000 7 sub.example. AAAA");
        let rrsig = Rrsig::read(&octets).unwrap();
        let a = set(Rtype::A, &["192.0.2.1"]);
        assert!(signed_data(&rrsig, &"a.example.".parse().unwrap(), &a).is_none());
        assert!(signed_data(&rrsig, &"a.sub.example.".parse().unwrap(), &a).is_some());
        assert!(signed_data(&rrsig, &"a.sub.example.".parse().unwrap(), &set(Rtype::NS, &["x."])).is_none());
        assert_eq!(canonical_rdata(Rtype::NSEC, b"\x01A\x00\x00\x01\x40"), b"\x01A\x00\x00\x01\x40");
        assert_eq!(canonical_rdata(Rtype::NS, b"\x01A\x00"), b"\x01a\x00");
        assert_eq!(canonical_rdata(Rtype::NS, b"\x05A"), b"\x05A");
    }
}
