//! `[dns.signing.NAME]`: how zones are signed (DNSSEC).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dns_peer::DnsPeer;
use crate::units::{dns_peers, duration};

/// How keys sign (RFC 8624).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    #[default]
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    #[serde(rename = "ed25519")]
    Ed25519,
    /// With 2048 bits.
    #[serde(rename = "rsa-sha256")]
    RsaSha256,
}

/// Whether one key signs all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRoles {
    /// One key signs everything.
    #[default]
    #[serde(rename = "csk")]
    Csk,
    /// One signs the keys, and is known to the parent; another signs the zone, and is replaced without the parent.
    #[serde(rename = "ksk+zsk")]
    KskZsk,
}

/// How it is proved that something is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenialOfExistence {
    #[default]
    Nsec,
    /// With the values of RFC 9276.
    Nsec3,
}

/// `[dns.signing.NAME]`, for the zones with `sign = "NAME"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signing {
    /// `ecdsa-p256-sha256`, `ed25519` or `rsa-sha256`. When it is changed, the keys are replaced step by step.
    pub algorithm: SigningAlgorithm,
    /// `csk` or `ksk+zsk`.
    pub keys: KeyRoles,
    /// `nsec` or `nsec3`.
    pub denial: DenialOfExistence,
    /// A signature counts for so long.
    #[serde(with = "duration")]
    pub validity: Duration,
    /// It is made anew when so much of that is left: more than a secondary may be cut off for.
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// Up to so much is taken from the validity by chance, so that not all are made anew at once.
    #[serde(with = "duration")]
    pub jitter: Duration,
    #[serde(with = "duration")]
    pub dnskey_ttl: Duration,
    /// The key of the zone, with `ksk+zsk`, is replaced after so long; 0s: never.
    #[serde(with = "duration")]
    pub zsk_lifetime: Duration,
    /// The key that the parent knows is replaced after so long; 0s: never.
    #[serde(with = "duration")]
    pub ksk_lifetime: Duration,
    /// Until all servers of the zone have a new version.
    #[serde(with = "duration")]
    pub propagation_delay: Duration,
    /// Servers of the parent, all of which must have a new DS before the old key goes. Empty: `postroad dns ds-seen` says so.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "dns_peers")]
    pub parents: Vec<DnsPeer>,
    /// They are asked so often, while something waits for them.
    #[serde(with = "duration")]
    pub parent_check_every: Duration,
    /// Until all servers of the parent have a new version.
    #[serde(with = "duration")]
    pub parent_propagation_delay: Duration,
    /// TTL of the DS records, where the parent is not asked.
    #[serde(with = "duration")]
    pub parent_ds_ttl: Duration,
}

impl Default for Signing {
    fn default() -> Self {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        Signing {
            algorithm: SigningAlgorithm::default(),
            keys: KeyRoles::default(),
            denial: DenialOfExistence::default(),
            validity: 14 * day,
            refresh: 5 * day,
            jitter: day,
            dnskey_ttl: hour,
            zsk_lifetime: 90 * day,
            ksk_lifetime: Duration::ZERO,
            propagation_delay: hour,
            parents: Vec::new(),
            parent_check_every: Duration::from_secs(300),
            parent_propagation_delay: hour,
            parent_ds_ttl: day,
        }
    }
}
