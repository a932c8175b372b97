//! Algorithms of signatures and of digests of keys.

use aws_lc_rs::{digest, signature};

use postroad_types::limits::DNS_RSA_MODULUS_OCTETS;

use super::{Dnskey, Ds, Rrsig, signed_data};
use crate::wire::{Name, RrSet};

/// A signature algorithm (IANA, DNS Security Algorithm Numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Algorithm(pub u8);

impl Algorithm {
    pub const RSASHA1: Self = Self(5);
    pub const RSASHA1_NSEC3: Self = Self(7);
    pub const RSASHA256: Self = Self(8);
    pub const RSASHA512: Self = Self(10);
    pub const ECDSAP256: Self = Self(13);
    pub const ECDSAP384: Self = Self(14);
    pub const ED25519: Self = Self(15);

    /// Whether its signatures can be checked here. A zone signed with none that can is as if it were not signed
    /// (RFC 4035 section 5.2).
    pub fn is_supported(self) -> bool {
        matches!(self.0, 5 | 7 | 8 | 10 | 13 | 14 | 15)
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match crate::wire::algorithm_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Whether `key` made the signature over the set. That the key may sign for the zone and that the signature is in time
/// is for the caller to see; the algorithms and the tag must agree.
pub fn verify(key: &Dnskey<'_>, rrsig: &Rrsig<'_>, owner: &Name, rrset: &RrSet) -> bool {
    if key.algorithm != rrsig.algorithm || key.key_tag() != rrsig.key_tag {
        return false;
    }
    signed_data(rrsig, owner, rrset).is_some_and(|data| is_signed(key, &data, rrsig.signature))
}

fn is_signed(key: &Dnskey<'_>, data: &[u8], sig: &[u8]) -> bool {
    let rsa = |parameters: &'static signature::RsaParameters| {
        rsa_parts(key.public_key).is_some_and(|(e, n)| {
            signature::RsaPublicKeyComponents { n, e }.verify(parameters, data, sig).is_ok()
        })
    };
    let ecdsa = |algorithm: &'static signature::EcdsaVerificationAlgorithm, octets: usize| {
        // RFC 6605 section 4: the point without the octet that says that it is not compressed.
        let point = [&[4], key.public_key].concat();
        key.public_key.len() == octets
            && signature::UnparsedPublicKey::new(algorithm, point).verify(data, sig).is_ok()
    };
    match key.algorithm {
        Algorithm::RSASHA1 | Algorithm::RSASHA1_NSEC3 => {
            rsa(&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY)
        }
        Algorithm::RSASHA256 => rsa(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        Algorithm::RSASHA512 => rsa(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        Algorithm::ECDSAP256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED, 64),
        Algorithm::ECDSAP384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED, 96),
        Algorithm::ED25519 => {
            signature::UnparsedPublicKey::new(&signature::ED25519, key.public_key).verify(data, sig).is_ok()
        }
        _ => false,
    }
}

/// Exponent and modulus (RFC 3110 section 2), of a size that costs no more than a signature should.
fn rsa_parts(public_key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (octets, rest) = match public_key {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [octets, rest @ ..] => (usize::from(*octets), rest),
        [] => return None,
    };
    let (exponent, modulus) = rest.split_at_checked(octets)?;
    let plain = |number: &'_ [u8]| number.first().is_some_and(|octet| *octet != 0);
    let sound = plain(exponent) && plain(modulus) && DNS_RSA_MODULUS_OCTETS.contains(&modulus.len());
    sound.then_some((exponent, modulus))
}

impl Ds<'_> {
    /// Whether digests of this type can be checked here.
    pub fn is_supported(&self) -> bool {
        digest_algorithm(self.digest_type).is_some()
    }

    /// Whether this is what the parent would say of the key of zone `owner`.
    pub fn matches(&self, owner: &Name, key: &Dnskey<'_>) -> bool {
        self.key_tag == key.key_tag()
            && self.algorithm == key.algorithm
            && digest_of(owner, key.rdata(), self.digest_type)
                .is_some_and(|digest| digest.as_ref() == self.digest)
    }
}

/// The data of a DS record for a key (RFC 4034 section 5.1.4). `None` for a type of digest that is not known here.
pub fn ds_rdata(owner: &Name, dnskey_rdata: &[u8], digest_type: u8) -> Option<Vec<u8>> {
    let key = Dnskey::read(dnskey_rdata)?;
    let digest = digest_of(owner, dnskey_rdata, digest_type)?;
    let mut rdata = key.key_tag().to_be_bytes().to_vec();
    rdata.extend_from_slice(&[key.algorithm.0, digest_type]);
    rdata.extend_from_slice(digest.as_ref());
    Some(rdata)
}

fn digest_algorithm(digest_type: u8) -> Option<&'static digest::Algorithm> {
    match digest_type {
        Ds::SHA1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        Ds::SHA256 => Some(&digest::SHA256),
        Ds::SHA384 => Some(&digest::SHA384),
        _ => None,
    }
}

fn digest_of(owner: &Name, dnskey_rdata: &[u8], digest_type: u8) -> Option<digest::Digest> {
    let mut context = digest::Context::new(digest_algorithm(digest_type)?);
    context.update(owner.to_lowercase().as_wire());
    context.update(dnskey_rdata);
    Some(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::rdata;
    use crate::wire::{RrSetBuilder, Rtype};

    struct Example {
        owner: &'static str,
        key: &'static str,
        /// Digest type and digest.
        ds: &'static [&'static str],
        records: (Rtype, &'static str),
        rrsig: &'static str,
    }

    /// RFC 6605 section 6.1 and 6.2, RFC 8080 section 6.1, RFC 5702 section 6.1.
    const EXAMPLES: &[Example] = &[
        Example {
            owner: "www.example.net.",
            key: "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
            ds: &["55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"],
            records: (Rtype::A, "192.0.2.1"),
            rrsig: "A 13 3 3600 20100909100439 20100812100439 55648 example.net. \
                    qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
        },
        Example {
            owner: "www.example.net.",
            key: "257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
            ds: &[
                "10771 14 4 72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6",
            ],
            records: (Rtype::A, "192.0.2.1"),
            rrsig: "A 14 3 3600 20100909102025 20100812102025 10771 example.net. \
                    /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm",
        },
        Example {
            owner: "example.com.",
            key: "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
            ds: &["3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b"],
            records: (Rtype::MX, "10 mail.example.com."),
            rrsig: "MX 15 2 3600 1440021600 1438207200 3613 example.com. \
                    oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
        },
        Example {
            owner: "www.example.net.",
            key: "256 3 8 AwEAAcFcGsaxxdgiuuGmCkVImy4h99CqT7jwY3pexPGcnUFtR2Fh36BponcwtkZ4cAgtvd4Qs8PkxUdp6p/DlUmObdk=",
            ds: &[],
            records: (Rtype::A, "192.0.2.91"),
            rrsig: "A 8 3 3600 20300101000000 20000101000000 9033 example.net. \
                    kRCOH6u7l0QGy9qpC9l1sLncJcOKFLJ7GhiUOibu4teYp5VE9RncriShZNz85mwlMgNEacFYK/lPtPiVYP4bwg==",
        },
    ];

    #[test]
    fn the_examples_of_the_rfcs() {
        for example in EXAMPLES {
            let owner: Name = example.owner.parse().unwrap();
            let key = rdata(Rtype::DNSKEY, example.key);
            let key = Dnskey::read(&key).unwrap();
            let mut set = RrSetBuilder::new(example.records.0, 3600);
            set.push(&rdata(example.records.0, example.records.1));
            let set = set.build().unwrap();
            let octets = rdata(Rtype::RRSIG, example.rrsig);
            let rrsig = Rrsig::read(&octets).unwrap();
            assert_eq!(key.key_tag(), rrsig.key_tag, "{}", key.algorithm);
            // The key of RFC 5702's example has 512 bits, which are too few to count.
            let counts = key.public_key.len() != 68;
            assert_eq!(verify(&key, &rrsig, &owner, &set), counts, "{}", key.algorithm);
            let mut wrong = octets.clone();
            *wrong.last_mut().unwrap() ^= 1;
            assert!(!verify(&key, &Rrsig::read(&wrong).unwrap(), &owner, &set));
            for ds in example.ds {
                let octets = rdata(Rtype::DS, ds);
                let ds = Ds::read(&octets).unwrap();
                assert!(ds.is_supported() && ds.matches(&rrsig.signer, &key), "{}", key.algorithm);
                assert_eq!(ds_rdata(&rrsig.signer, key.rdata(), ds.digest_type).unwrap(), octets);
                assert!(!ds.matches(&owner, &key) || owner == rrsig.signer);
            }
        }
    }

    #[test]
    fn keys_that_are_none_verify_nothing() {
        assert_eq!(rsa_parts(&[]), None);
        assert_eq!(rsa_parts(&[0, 0]), None);
        assert_eq!(rsa_parts(&[3, 1, 0, 1]), None);
        let mut key = vec![1, 3];
        key.extend_from_slice(&[0xff; 128]);
        assert!(rsa_parts(&key).is_some());
        key.extend_from_slice(&[0xff; 1000]);
        assert_eq!(rsa_parts(&key), None, "too long");
        assert!(!Algorithm(16).is_supported() && !Algorithm(1).is_supported());
    }
}
