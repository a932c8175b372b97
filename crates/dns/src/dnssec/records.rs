//! The records of DNSSEC as views of their data. Reading checks the form alone.

use super::Algorithm;
use crate::wire::{Name, Rtype};

/// A public key of a zone (RFC 4034 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dnskey<'a> {
    pub flags: u16,
    /// Always 3.
    pub protocol: u8,
    pub algorithm: Algorithm,
    pub public_key: &'a [u8],
    rdata: &'a [u8],
}

impl<'a> Dnskey<'a> {
    /// The key belongs to a zone; no other may sign its data.
    pub const ZONE: u16 = 0x0100;
    /// The key was given up (RFC 5011 section 3).
    pub const REVOKE: u16 = 0x0080;
    /// Secure entry point: a hint that the parent's DS names this key.
    pub const SEP: u16 = 0x0001;

    pub fn read(rdata: &'a [u8]) -> Option<Self> {
        let (fixed, public_key) = rdata.split_first_chunk::<4>()?;
        let [flags @ .., protocol, algorithm] = fixed;
        Some(Self {
            flags: u16::from_be_bytes(*flags),
            protocol: *protocol,
            algorithm: Algorithm(*algorithm),
            public_key,
            rdata,
        })
    }

    /// The record's data.
    pub fn rdata(&self) -> &'a [u8] {
        self.rdata
    }

    pub fn key_tag(&self) -> u16 {
        key_tag(self.rdata)
    }

    pub fn is_zone_key(&self) -> bool {
        self.flags & Self::ZONE != 0
    }

    pub fn is_sep(&self) -> bool {
        self.flags & Self::SEP != 0
    }

    pub fn is_revoked(&self) -> bool {
        self.flags & Self::REVOKE != 0
    }
}

/// The tag that signatures and DS records name a key by (RFC 4034 appendix B). Several keys may have the same.
pub fn key_tag(dnskey_rdata: &[u8]) -> u16 {
    let words = dnskey_rdata.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    // Record data has 65,535 octets at most, so this cannot overflow.
    let sum: u32 = words.sum();
    (sum + (sum >> 16)) as u16
}

/// What the parent says of a zone's key (RFC 4034 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ds<'a> {
    pub key_tag: u16,
    pub algorithm: Algorithm,
    pub digest_type: u8,
    pub digest: &'a [u8],
}

impl<'a> Ds<'a> {
    pub const SHA1: u8 = 1;
    pub const SHA256: u8 = 2;
    pub const SHA384: u8 = 4;

    pub fn read(rdata: &'a [u8]) -> Option<Self> {
        let (fixed, digest) = rdata.split_first_chunk::<4>()?;
        let [tag @ .., algorithm, digest_type] = fixed;
        Some(Self {
            key_tag: u16::from_be_bytes(*tag),
            algorithm: Algorithm(*algorithm),
            digest_type: *digest_type,
            digest,
        })
    }
}

/// A signature of a record set (RFC 4034 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rrsig<'a> {
    pub type_covered: Rtype,
    pub algorithm: Algorithm,
    /// Labels of the signed owner without the root's and a leading `*`.
    pub labels: u8,
    /// Seconds.
    pub original_ttl: u32,
    /// Seconds since 1970, in serial number arithmetic.
    pub expiration: u32,
    /// Seconds since 1970, in serial number arithmetic.
    pub inception: u32,
    pub key_tag: u16,
    /// The zone that signed.
    pub signer: Name,
    pub signature: &'a [u8],
}

/// Octets before the signer's name.
const RRSIG_FIXED_OCTETS: usize = 18;

impl<'a> Rrsig<'a> {
    pub fn read(rdata: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = rdata.split_first_chunk::<RRSIG_FIXED_OCTETS>()?;
        let (signer, signature) = Name::from_wire_prefix(rest).ok()?;
        let [c0, c1, algorithm, labels, t0, t1, t2, t3, e0, e1, e2, e3, i0, i1, i2, i3, k0, k1] = *fixed;
        Some(Self {
            type_covered: Rtype(u16::from_be_bytes([c0, c1])),
            algorithm: Algorithm(algorithm),
            labels,
            original_ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            expiration: u32::from_be_bytes([e0, e1, e2, e3]),
            inception: u32::from_be_bytes([i0, i1, i2, i3]),
            key_tag: u16::from_be_bytes([k0, k1]),
            signer,
            signature,
        })
    }

    /// The type that the signature in this record data covers.
    pub fn covered(rdata: &[u8]) -> Option<Rtype> {
        rdata.first_chunk::<2>().map(|octets| Rtype(u16::from_be_bytes(*octets)))
    }

    /// The tag of the key that made the signature in this record data, and when it ends, in seconds since 1970.
    pub fn tag_and_end(rdata: &[u8]) -> Option<(u16, u32)> {
        let fixed = rdata.first_chunk::<RRSIG_FIXED_OCTETS>()?;
        let [.., e0, e1, e2, e3, _, _, _, _, k0, k1] = *fixed;
        Some((u16::from_be_bytes([k0, k1]), u32::from_be_bytes([e0, e1, e2, e3])))
    }

    /// The record data up to the signature, the signer's name in lower case (RFC 6840 section 5.1).
    pub fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(RRSIG_FIXED_OCTETS + self.signer.as_wire().len());
        head.extend_from_slice(&self.type_covered.0.to_be_bytes());
        head.extend_from_slice(&[self.algorithm.0, self.labels]);
        for number in [self.original_ttl, self.expiration, self.inception] {
            head.extend_from_slice(&number.to_be_bytes());
        }
        head.extend_from_slice(&self.key_tag.to_be_bytes());
        head.extend_from_slice(self.signer.to_lowercase().as_wire());
        head
    }

    /// Whether the signature counts at `now`, seconds since 1970 (RFC 4034 section 3.1.5).
    pub fn is_in_time(&self, now: u32) -> bool {
        !self.is_early(now) && !self.is_expired(now)
    }

    /// Its inception is yet to come.
    pub fn is_early(&self, now: u32) -> bool {
        is_before(now, self.inception)
    }

    /// Its expiration is over.
    pub fn is_expired(&self, now: u32) -> bool {
        is_before(self.expiration, now)
    }
}

/// Serial number arithmetic (RFC 1982), where numbers half the circle apart count as before.
fn is_before(left: u32, right: u32) -> bool {
    left != right && right.wrapping_sub(left) <= 1 << 31
}

/// A name, its types, and the next name of the zone (RFC 4034 section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nsec<'a> {
    pub next: Name,
    pub types: TypeBitmap<'a>,
}

impl<'a> Nsec<'a> {
    pub fn read(rdata: &'a [u8]) -> Option<Self> {
        let (next, types) = Name::from_wire_prefix(rdata).ok()?;
        Some(Self { next, types: TypeBitmap(types) })
    }
}

/// A hashed name's types, and the next hash of the zone (RFC 5155 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nsec3<'a> {
    /// 1 for SHA-1; no other is defined.
    pub hash_algorithm: u8,
    pub flags: u8,
    /// Beyond the first.
    pub iterations: u16,
    pub salt: &'a [u8],
    pub next_hash: &'a [u8],
    pub types: TypeBitmap<'a>,
}

impl<'a> Nsec3<'a> {
    pub const SHA1: u8 = 1;
    /// Insecure delegations may be left out of the chain.
    pub const OPT_OUT: u8 = 1;

    pub fn read(rdata: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = rdata.split_first_chunk::<5>()?;
        let [hash_algorithm, flags, i0, i1, salt_octets] = *fixed;
        let (salt, rest) = rest.split_at_checked(usize::from(salt_octets))?;
        let (hash_octets, rest) = rest.split_first()?;
        let (next_hash, types) = rest.split_at_checked(usize::from(*hash_octets))?;
        let iterations = u16::from_be_bytes([i0, i1]);
        Some(Self { hash_algorithm, flags, iterations, salt, next_hash, types: TypeBitmap(types) })
    }

    pub fn is_opt_out(&self) -> bool {
        self.flags & Self::OPT_OUT != 0
    }
}

/// The types of a name, as NSEC, NSEC3 and CSYNC have them (RFC 4034 section 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeBitmap<'a>(pub &'a [u8]);

impl TypeBitmap<'_> {
    pub fn contains(&self, rtype: Rtype) -> bool {
        let [wanted, bit] = rtype.0.to_be_bytes();
        let mut maps = self.0;
        while let [window, octets, rest @ ..] = maps {
            let Some((map, rest)) = rest.split_at_checked(usize::from(*octets)) else { return false };
            if *window == wanted {
                return map.get(usize::from(bit / 8)).is_some_and(|octet| octet & (0x80 >> (bit % 8)) != 0);
            }
            maps = rest;
        }
        false
    }

    /// All types; none where the map is malformed.
    pub fn types(&self) -> Vec<Rtype> {
        crate::wire::types_of(self.0).unwrap_or_default()
    }
}

/// The map of these types.
pub fn type_bitmap(types: impl IntoIterator<Item = Rtype>) -> Vec<u8> {
    crate::wire::type_map(types)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::rdata;

    #[test]
    fn a_key_has_its_tag_and_flags() {
        // RFC 4034 section 5.4.
        let octets = rdata(
            Rtype::DNSKEY,
            "256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAph \
             XdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==",
        );
        let key = Dnskey::read(&octets).unwrap();
        assert_eq!((key.key_tag(), key.protocol, key.algorithm), (60485, 3, Algorithm::RSASHA1));
        assert!(key.is_zone_key() && !key.is_sep() && !key.is_revoked());
        assert!(Dnskey::read(&octets[..3]).is_none());
    }

    #[test]
    fn times_are_compared_around_the_circle() {
        let mut octets = rdata(Rtype::RRSIG, "A 13 2 60 20261121000000 20261101000000 1 example. AAAA");
        let rrsig = Rrsig::read(&octets).unwrap();
        assert_eq!((rrsig.inception, rrsig.expiration - rrsig.inception), (1_793_491_200, 20 * 86_400));
        assert!(rrsig.is_in_time(rrsig.inception) && rrsig.is_in_time(rrsig.expiration));
        assert!(rrsig.is_early(rrsig.inception - 1) && rrsig.is_expired(rrsig.expiration + 1));
        octets[8..16].copy_from_slice(&[0, 0, 0, 9, 0xff, 0xff, 0xff, 0xf0]);
        let rrsig = Rrsig::read(&octets).unwrap();
        assert!(rrsig.is_in_time(u32::MAX) && rrsig.is_in_time(3) && rrsig.is_expired(10));
        assert!(rrsig.is_early(0xffff_ffef));
        assert!(Rrsig::read(&octets[..17]).is_none());
    }

    #[test]
    fn types_are_found_in_their_windows() {
        let types = [Rtype::A, Rtype::MX, Rtype::RRSIG, Rtype::NSEC, Rtype(1234)];
        let map = type_bitmap(types);
        let map = TypeBitmap(&map);
        assert!(types.iter().all(|rtype| map.contains(*rtype)));
        assert!(!map.contains(Rtype::NS) && !map.contains(Rtype(1233)) && !map.contains(Rtype(4096)));
        assert_eq!(map.types(), types);
        assert!(!TypeBitmap(&[0, 9, 1]).contains(Rtype::A));
    }

    #[test]
    fn nsec3_is_read_in_its_parts() {
        let octets = rdata(Rtype::NSEC3, "1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG");
        let nsec3 = Nsec3::read(&octets).unwrap();
        assert!(nsec3.is_opt_out() && nsec3.types.contains(Rtype::A));
        let parts = (nsec3.iterations, nsec3.salt, nsec3.next_hash.len());
        assert_eq!(parts, (12, &[0xaa, 0xbb, 0xcc, 0xdd][..], 20));
        assert!((0..30).all(|short| Nsec3::read(&octets[..short]).is_none()));
    }
}
