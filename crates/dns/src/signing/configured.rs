//! From the configuration to signers, and to what keeps their zones signed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postroad_config::{DenialOfExistence, KeyRoles, Signing, SigningAlgorithm};
use postroad_service::{Clock, Drain};
use postroad_types::limits::DNS_SIGNING_AT_ONCE_MAX;
use tokio::sync::Semaphore;

use super::{AskParent, Keeper, ParentServers, Settings, Signer, SignerError};
use crate::dnssec::Algorithm;
use crate::keys::{Denial, Policy};
use crate::wire::Name;
use crate::zone::Hosted;

/// Why zones cannot be signed at all.
#[derive(Debug, thiserror::Error)]
pub enum SigningSetupError {
    #[error("[[dns.zones]] {0} is to be signed, and there is no folder for its keys; [dns] key_dir names it")]
    NoFolder(String),
    #[error(
        "[[dns.zones]] {zone}: there is no policy \"{policy}\"; expected \"default\", or one of [dns.signing]"
    )]
    NoPolicy { zone: String, policy: String },
    #[error("[[dns.zones]] {zone} cannot be signed: {error}")]
    Keys { zone: Name, error: SignerError },
}

/// The zones that are signed here.
#[derive(Debug, Default)]
pub(crate) struct Configured(Vec<One>);

#[derive(Debug)]
struct One {
    signer: Arc<Signer>,
    parent: Option<Arc<dyn AskParent>>,
    ask_every: Duration,
}

impl Configured {
    /// Reads the keys.
    pub(crate) fn open(
        config: &postroad_config::Dns,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SigningSetupError> {
        let mut all = Vec::new();
        for zone in &config.zones {
            let Some(policy) = &zone.sign else { continue };
            let signing = config.signing_of(zone).ok_or_else(|| SigningSetupError::NoPolicy {
                zone: zone.origin.clone(),
                policy: policy.clone(),
            })?;
            // A wrong origin is reported with the zones.
            let Ok(origin) = zone.origin.parse::<Name>() else { continue };
            let folder: PathBuf =
                config.key_dir.clone().ok_or_else(|| SigningSetupError::NoFolder(zone.origin.clone()))?;
            let settings = Settings { zone: origin.clone(), policy: policy_of(&signing), folder };
            let signer = Signer::open(settings, Arc::clone(clock))
                .map_err(|error| SigningSetupError::Keys { zone: origin, error })?;
            let parents: Vec<_> = signing.parents.iter().map(|peer| peer.address).collect();
            let parent: Option<Arc<dyn AskParent>> =
                if parents.is_empty() { None } else { Some(Arc::new(ParentServers(parents))) };
            all.push(One { signer: Arc::new(signer), parent, ask_every: signing.parent_check_every });
        }
        Ok(Self(all))
    }

    pub(crate) fn signers(&self) -> Vec<Arc<Signer>> {
        self.0.iter().map(|one| Arc::clone(&one.signer)).collect()
    }

    /// Keeps the zones signed, in tasks of `drain`.
    pub(crate) fn start(self, hosted: &Arc<Hosted>, clock: &Arc<dyn Clock>, drain: &Drain) {
        let permits = Arc::new(Semaphore::new(DNS_SIGNING_AT_ONCE_MAX));
        for One { signer, parent, ask_every } in self.0 {
            let (hosted, clock, permits) = (Arc::clone(hosted), Arc::clone(clock), Arc::clone(&permits));
            drain.spawn(Keeper { signer, hosted, parent, ask_every, clock, permits }.run(drain.clone()));
        }
    }
}

fn policy_of(signing: &Signing) -> Policy {
    let ttl = |period: Duration| u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
    Policy {
        algorithm: match signing.algorithm {
            SigningAlgorithm::EcdsaP256Sha256 => Algorithm::ECDSAP256,
            SigningAlgorithm::Ed25519 => Algorithm::ED25519,
            SigningAlgorithm::RsaSha256 => Algorithm::RSASHA256,
        },
        single_key: signing.keys == KeyRoles::Csk,
        denial: match signing.denial {
            DenialOfExistence::Nsec => Denial::Nsec,
            DenialOfExistence::Nsec3 => Denial::Nsec3,
        },
        validity: signing.validity.as_secs(),
        refresh: signing.refresh.as_secs(),
        jitter: signing.jitter.as_secs(),
        dnskey_ttl: ttl(signing.dnskey_ttl),
        zsk_lifetime: signing.zsk_lifetime.as_secs(),
        ksk_lifetime: signing.ksk_lifetime.as_secs(),
        propagation: signing.propagation_delay.as_secs(),
        parent_propagation: signing.parent_propagation_delay.as_secs(),
        parent_ds_ttl: ttl(signing.parent_ds_ttl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_a_policy() {
        assert_eq!(policy_of(&Signing::default()), Policy::default());
    }
}
