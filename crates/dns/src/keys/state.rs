//! The state of a key: when what happened to it. Times are seconds since 1970.

use crate::dnssec::{Algorithm, Dnskey};

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The DNSKEY set, which the parent's DS leads to.
    Ksk,
    /// Everything else.
    Zsk,
    /// Both.
    Csk,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Ksk, Self::Zsk, Self::Csk];

    pub fn signs_keys(self) -> bool {
        self != Self::Zsk
    }

    pub fn signs_zone(self) -> bool {
        self != Self::Ksk
    }

    /// The flags of its DNSKEY.
    pub fn flags(self) -> u16 {
        if self.signs_keys() { Dnskey::ZONE | Dnskey::SEP } else { Dnskey::ZONE }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ksk => "ksk",
            Self::Zsk => "zsk",
            Self::Csk => "csk",
        }
    }
}

/// A key without its private half. No two of a zone have the same tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    pub tag: u16,
    pub algorithm: Algorithm,
    pub role: Role,
    pub created: u64,
    /// Its DNSKEY is in the zone, and it signs the DNSKEY set if that is its role.
    pub published: Option<u64>,
    /// It signs the zone's records.
    pub signing: Option<u64>,
    /// The parent is asked for its DS by CDS and CDNSKEY (RFC 7344).
    pub ds_asked: Option<u64>,
    /// All servers of the parent have its DS.
    pub ds_seen: Option<u64>,
    /// Of its DS at the parent, in seconds, if it is known.
    pub ds_ttl: Option<u32>,
    /// Another key is to take its place.
    pub replaced: Option<u64>,
    /// It makes no signatures over the zone's records any more.
    pub stopped: Option<u64>,
    /// No signature of it over the zone's records is served any more.
    pub unsigned: Option<u64>,
    /// No server of the parent has its DS any more.
    pub ds_gone: Option<u64>,
    /// Its DNSKEY is not in the zone any more.
    pub withdrawn: Option<u64>,
}

impl KeyState {
    pub fn new(tag: u16, algorithm: Algorithm, role: Role, created: u64) -> Self {
        Self {
            tag,
            algorithm,
            role,
            created,
            published: None,
            signing: None,
            ds_asked: None,
            ds_seen: None,
            ds_ttl: None,
            replaced: None,
            stopped: None,
            unsigned: None,
            ds_gone: None,
            withdrawn: None,
        }
    }

    /// It stays, as far as is known.
    pub fn is_wanted(&self) -> bool {
        self.replaced.is_none()
    }

    /// Its DNSKEY is in the zone.
    pub fn is_published(&self) -> bool {
        self.published.is_some() && self.withdrawn.is_none()
    }

    /// It signs the DNSKEY set.
    pub fn signs_keys(&self) -> bool {
        self.role.signs_keys() && self.is_published()
    }

    /// It makes signatures over the zone's records.
    pub fn signs_zone(&self) -> bool {
        self.signing.is_some() && self.stopped.is_none()
    }

    /// A signature that it has made counts until its time is over.
    pub fn is_trusted(&self) -> bool {
        self.signs_zone() || (self.signing.is_some() && self.is_published())
    }

    /// Since when it does all that its role is; of keys that parents know, as far as was seen there.
    pub fn active(&self) -> Option<u64> {
        if self.role == Role::Zsk { self.signing } else { self.ds_seen }
    }

    /// What was decided at `decided` has come true at `served` only, as the zone had to be signed first.
    pub fn served(&mut self, decided: u64, served: u64) {
        let times = [
            &mut self.published,
            &mut self.signing,
            &mut self.ds_asked,
            &mut self.stopped,
            &mut self.unsigned,
            &mut self.withdrawn,
        ];
        for time in times.into_iter().flatten() {
            if *time == decided {
                *time = served;
            }
        }
    }
}

/// The keys whose CDS and CDNSKEY are in the zone: those whose DS the parent should have (RFC 7344 section 4).
pub fn asked_of_parent(keys: &[KeyState]) -> impl Iterator<Item = &KeyState> {
    let asked = |key: &&KeyState| key.ds_asked.is_some() && key.is_published();
    let new = keys.iter().any(|key| asked(&key) && key.is_wanted());
    keys.iter().filter(move |key| asked(key) && (key.is_wanted() || (!new && key.ds_gone.is_none())))
}
