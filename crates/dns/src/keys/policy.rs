//! How a zone is signed. All periods are in seconds.

use crate::dnssec::Algorithm;
use crate::keys::Role;

/// How a zone proves that something is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Denial {
    /// By names (RFC 4034 section 4).
    #[default]
    Nsec,
    /// By hashes of names (RFC 5155), with no salt and no iterations beyond the first (RFC 9276 section 3.1).
    Nsec3,
}

/// A policy of signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub algorithm: Algorithm,
    /// One key signs everything (a CSK), instead of a KSK for the keys and a ZSK for the rest.
    pub single_key: bool,
    pub denial: Denial,
    /// From a signature's making to its end.
    pub validity: u64,
    /// A signature is made anew when so much of its time is left.
    pub refresh: u64,
    /// By chance up to so much is taken from the validity, so that not all signatures are made anew at once.
    pub jitter: u64,
    pub dnskey_ttl: u32,
    /// 0: for ever.
    pub zsk_lifetime: u64,
    /// 0: for ever. That of a CSK, too.
    pub ksk_lifetime: u64,
    /// Until all servers of the zone have what the first has.
    pub propagation: u64,
    /// Until all servers of the parent have what the first has.
    pub parent_propagation: u64,
    /// The TTL of the DS records, where the parent was not asked for it.
    pub parent_ds_ttl: u32,
}

impl Policy {
    /// The roles that one key each must have.
    pub fn roles(&self) -> &'static [Role] {
        if self.single_key { &[Role::Csk] } else { &[Role::Ksk, Role::Zsk] }
    }

    /// How long a key of this role is in use; `None`: for ever.
    pub fn lifetime(&self, role: Role) -> Option<u64> {
        let lifetime = if role == Role::Zsk { self.zsk_lifetime } else { self.ksk_lifetime };
        Some(lifetime).filter(|lifetime| *lifetime > 0)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::ECDSAP256,
            single_key: true,
            denial: Denial::Nsec,
            validity: 14 * 86_400,
            refresh: 5 * 86_400,
            jitter: 86_400,
            dnskey_ttl: 3600,
            zsk_lifetime: 90 * 86_400,
            ksk_lifetime: 0,
            propagation: 3600,
            parent_propagation: 3600,
            parent_ds_ttl: 86_400,
        }
    }
}
