//! DNSSEC's octets and arithmetic (RFC 4034, 5155): records, canonical form, signatures, hashed names.
//!
//! No sockets, no clock, no policy: who signs and who validates is decided elsewhere.
//!
//! | module | what |
//! | --- | --- |
//! | [`private`] | private keys, and signing with them |
//! | [`records`] | DNSKEY, DS, RRSIG, NSEC and NSEC3 as they lie in record data |
//! | [`canonical`] | the octets that a signature covers |
//! | [`verify`] | algorithms, signatures, digests of keys |
//! | [`hashed`] | names as NSEC3 hashes them |

pub mod canonical;
pub mod hashed;
pub mod private;
pub mod records;
pub mod verify;

pub use canonical::signed_data;
pub use hashed::{NSEC3_HASH_OCTETS, Nsec3Hash, nsec3_hash};
pub use private::{PrivateKey, PrivateKeyError};
pub use records::{Dnskey, Ds, Nsec, Nsec3, Rrsig, TypeBitmap, key_tag, type_bitmap};
pub use verify::{Algorithm, ds_rdata, verify};

/// Record data from its presentation format.
#[cfg(test)]
pub(crate) fn rdata(rtype: crate::wire::Rtype, text: &str) -> Vec<u8> {
    let word =
        |text: &str| crate::wire::Word { text: text.as_bytes().to_vec(), quoted: false, line: 1, column: 1 };
    let words: Vec<_> = text.split_whitespace().map(word).collect();
    crate::wire::parse_rdata(rtype, &words, None).unwrap()
}
