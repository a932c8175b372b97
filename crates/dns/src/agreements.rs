//! What the configuration agrees on with other name servers: keys, who may have which zone, who is told when it changes,
//! and where it is had from.

use std::path::PathBuf;
use std::sync::Arc;

use postroad_config::{DnsKey, DnsPeer, DnsRule, KeyAlgorithm};
use postroad_service::{Clock, Drain};
use postroad_types::limits::DNS_TRANSFERS_IN_MAX;
use tokio::sync::Semaphore;

use crate::front::Agreed;
use crate::transfer::told::ToldServers;
use crate::transfer::{Access, Follower, Followers, Notifier, Peer, Poke, Rule, source_for};
use crate::tsig::{Algorithm, Key, Keys, SecretError};
use crate::wire::{Name, NameError};
use crate::zone::Hosted;

/// What is wrong with a key or with a name of one. No text shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    #[error("[[dns.keys]] name \"{name}\" is no domain name: {error}")]
    KeyName { name: String, error: NameError },
    #[error("[[dns.keys]] {name}: cannot read secret_file {}: {error}", file.display())]
    SecretFile { name: Name, file: PathBuf, error: std::io::Error },
    #[error("[[dns.keys]] {name}: secret_file {}: {error}", file.display())]
    Secret { name: Name, file: PathBuf, error: SecretError },
    #[error("[[dns.zones]] {zone}: there is no key \"{key}\"; expected one of [[dns.keys]]")]
    UnknownKey { zone: String, key: String },
}

/// Read from the configuration, with the secrets from their files.
pub(crate) struct Agreements {
    pub keys: Keys,
    pub transfer_to: Access,
    pub followers: Followers,
    pub update_from: Access,
    /// What those who are told of changes said to it.
    pub told_servers: ToldServers,
    told: Vec<(Name, Peer)>,
    followed: Vec<Followed>,
}

/// A zone that is had from others.
struct Followed {
    zone: Name,
    file: Option<PathBuf>,
    primaries: Vec<Peer>,
    poke: Arc<Poke>,
}

impl Agreements {
    pub(crate) fn read(config: &postroad_config::Dns) -> Result<Self, AgreementError> {
        let keys: Vec<Key> = config.keys.iter().map(read_key).collect::<Result<_, _>>()?;
        let keys = Keys::new(keys);
        let (mut transfer_to, mut update_from) = (Vec::new(), Vec::new());
        let (mut told, mut followed) = (Vec::new(), Vec::new());
        let mut followers = Followers::default();
        for zone in &config.zones {
            // A wrong origin is reported with the zones.
            let Ok(origin) = zone.origin.parse::<Name>() else { continue };
            let peers = |peers: &[DnsPeer]| -> Result<Vec<Peer>, AgreementError> {
                peers.iter().map(|peer| self::peer(&keys, config, &zone.origin, peer)).collect()
            };
            let rules = |rules: &[DnsRule]| -> Result<Vec<Rule>, AgreementError> {
                rules.iter().map(|rule| self::rule(&keys, &zone.origin, rule)).collect()
            };
            transfer_to.push((origin.clone(), rules(&zone.transfer_to)?));
            update_from.push((origin.clone(), rules(&zone.update_from)?));
            told.extend(peers(&zone.notify)?.into_iter().map(|peer| (origin.clone(), peer)));
            let primaries = peers(&zone.primaries)?;
            if !primaries.is_empty() {
                let poke = followers.add(origin.clone(), primaries.clone());
                followed.push(Followed { zone: origin, file: zone.file.clone(), primaries, poke });
            }
        }
        let told_servers = ToldServers::default();
        told.iter().for_each(|(zone, peer): &(Name, Peer)| told_servers.add(zone, peer.address));
        let (transfer_to, update_from) = (Access::new(transfer_to), Access::new(update_from));
        Ok(Self { keys, transfer_to, followers, update_from, told_servers, told, followed })
    }

    /// Starts to follow zones and to tell of changes, in tasks of `drain`. What is left is for who answers requests.
    pub(crate) fn start(self, hosted: &Arc<Hosted>, clock: &Arc<dyn Clock>, drain: &Drain) -> Agreed {
        for (zone, peer) in self.told {
            let Some(serial) = hosted.serial(&zone) else { continue };
            let (zones, clock, told) = (hosted.zones(), Arc::clone(clock), self.told_servers.clone());
            let notifier = Notifier { zone, peer, zones, clock, told };
            drain.spawn(notifier.run(serial, drain.clone()));
        }
        let permits = Arc::new(Semaphore::new(DNS_TRANSFERS_IN_MAX));
        for Followed { zone, file, primaries, poke } in self.followed {
            let (hosted, clock, permits) = (Arc::clone(hosted), Arc::clone(clock), Arc::clone(&permits));
            let follower = Follower { zone, file, primaries, poke, hosted, clock, permits };
            drain.spawn(follower.run(drain.clone()));
        }
        let Self { keys, transfer_to, followers, update_from, .. } = self;
        let hosted = Some(Arc::clone(hosted));
        Agreed { keys, transfer_to, followers, update_from, hosted }
    }
}

fn read_key(key: &DnsKey) -> Result<Key, AgreementError> {
    let name: Name =
        key.name.parse().map_err(|error| AgreementError::KeyName { name: key.name.clone(), error })?;
    let file = &key.secret_file;
    let text = std::fs::read(file)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| AgreementError::SecretFile { name: name.clone(), file: file.clone(), error })?;
    let algorithm = match key.algorithm {
        KeyAlgorithm::HmacSha256 => Algorithm::HmacSha256,
        KeyAlgorithm::HmacSha384 => Algorithm::HmacSha384,
        KeyAlgorithm::HmacSha512 => Algorithm::HmacSha512,
    };
    Key::from_base64(&name, algorithm, &text).map_err(|error| AgreementError::Secret {
        name,
        file: file.clone(),
        error,
    })
}

fn peer(
    keys: &Keys,
    config: &postroad_config::Dns,
    zone: &str,
    peer: &DnsPeer,
) -> Result<Peer, AgreementError> {
    let name = peer.key.as_deref().map(|key| known(keys, zone, key)).transpose()?;
    let key = name.and_then(|name| keys.get(&name).cloned());
    Ok(Peer { address: peer.address, key, source: source_for(peer.address, &config.listen) })
}

fn rule(keys: &Keys, zone: &str, rule: &DnsRule) -> Result<Rule, AgreementError> {
    let key = rule.key.as_deref().map(|key| known(keys, zone, key)).transpose()?;
    Ok(Rule { network: rule.network, key })
}

/// The name of a key that there is.
fn known(keys: &Keys, zone: &str, key: &str) -> Result<Name, AgreementError> {
    let known = key.parse::<Name>().ok().and_then(|name| keys.get(&name).map(|key| key.name().clone()));
    known.ok_or_else(|| AgreementError::UnknownKey { zone: zone.to_owned(), key: key.to_owned() })
}
