//! Names as NSEC3 hashes them (RFC 5155 section 5).

use aws_lc_rs::digest;

use crate::wire::{Name, push_base32hex, unbase32hex};

/// Octets of a SHA-1 hash, the only one defined.
pub const NSEC3_HASH_OCTETS: usize = 20;

/// A hashed name.
pub type Nsec3Hash = [u8; NSEC3_HASH_OCTETS];

/// The hash of a name, `iterations` times again beyond the first.
pub fn nsec3_hash(name: &Name, salt: &[u8], iterations: u16) -> Nsec3Hash {
    let mut hash = round(name.to_lowercase().as_wire(), salt);
    for _ in 0..iterations {
        hash = round(&hash, salt);
    }
    hash
}

fn round(octets: &[u8], salt: &[u8]) -> Nsec3Hash {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(octets);
    context.update(salt);
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// The name of the NSEC3 record of a hash in the zone `apex`; `None` where that would be too long.
pub fn hashed_owner(hash: &Nsec3Hash, apex: &Name) -> Option<Name> {
    let mut label = String::with_capacity(32);
    push_base32hex(&mut label, hash);
    label.make_ascii_lowercase();
    apex.with_label(label.as_bytes()).ok()
}

/// The hash that an NSEC3 record's owner right below `apex` stands for.
pub fn hash_of_owner(owner: &Name, apex: &Name) -> Option<Nsec3Hash> {
    if owner.parent().as_ref() != Some(apex) {
        return None;
    }
    unbase32hex(owner.labels().next()?)?.try_into().ok()
}

/// Whether the name of `hash` falls between a record's hash and the next one of the zone, around the end of the chain
/// where `next` is not behind `own`. A record that is alone covers all but itself.
pub fn covers(own: &[u8], next: &[u8], hash: &[u8]) -> bool {
    if own < next { own < hash && hash < next } else { own < hash || hash < next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_5155() {
        // Appendix A.
        let (apex, salt): (Name, _) = ("example".parse().unwrap(), [0xaa, 0xbb, 0xcc, 0xdd]);
        for (name, expected) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("ai.example", "gjeqe526plbf1g8mklp59enfd789njgi"),
            ("x.Y.w.example", "2vptu5timamqttgl4luu9kg21e0aor3s"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            let hash = nsec3_hash(&name.parse().unwrap(), &salt, 12);
            let owner = hashed_owner(&hash, &apex).unwrap();
            assert_eq!(owner.to_string(), format!("{expected}.example."));
            assert_eq!(hash_of_owner(&owner, &apex), Some(hash));
            assert_eq!(hash_of_owner(&owner, &"test".parse().unwrap()), None);
        }
        assert_eq!(hash_of_owner(&"www.example".parse().unwrap(), &apex), None);
    }

    #[test]
    fn the_last_record_covers_what_is_around_the_end() {
        assert!(covers(&[2], &[5], &[3]));
        assert!(!covers(&[2], &[5], &[2]) && !covers(&[2], &[5], &[5]) && !covers(&[2], &[5], &[6]));
        assert!(covers(&[7], &[1], &[8]) && covers(&[7], &[1], &[0]));
        assert!(!covers(&[7], &[1], &[1]) && !covers(&[7], &[1], &[7]) && !covers(&[7], &[1], &[3]));
        assert!(covers(&[4], &[4], &[3]) && covers(&[4], &[4], &[5]) && !covers(&[4], &[4], &[4]));
    }
}
