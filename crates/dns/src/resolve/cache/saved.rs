//! The cache as octets, so that it outlives the process.
//!
//! A line that names the format, 32 octets that stand for the settings it was filled under, the time in seconds since 1970
//! (8 octets); then the entries, each with its length (4 octets) and its CRC-32 (4) in front. All numbers are
//! big-endian. Entries that do not read are left out and the next one is read; where a length cannot be, the rest is
//! left out. Times are counted on while nothing ran. Failures are not kept, nor what is bogus.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postroad_types::limits::{DNS_RRSET_RECORDS_MAX, DNS_SAVED_ENTRY_OCTETS_MAX};

use super::entry::{Entry, Item, Moment};
use super::{Cache, lock};
use crate::resolve::evidence::{Evidence, Witness};
use crate::resolve::reply::Owned;
use crate::resolve::security::{Security, Unsigned};
use crate::resolve::validate::Trust;
use crate::resolve::{Delegation, NameServer};
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype, validate_rdata};

const FORMAT: &[u8] = b"postroad dns cache 1\n";
/// Chance never guesses a checksum; what is behind it must stand anything.
#[allow(unexpected_cfgs, reason = "it is set where inputs are made by chance, as fuzzers do")]
const SUMS_COUNT: bool = !cfg!(fuzzing);

/// The settings that the cache was filled under, as their digest: under others it may say what they forbid.
pub type Settings = [u8; 32];

/// The two times that a cache lives by.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Since the beginning that the cache counts from.
    pub now: Duration,
    /// Seconds since 1970.
    pub wall: u64,
}

/// What became of a saved cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// So many entries are back; so many were damaged and are not.
    Entries { good: usize, damaged: usize },
    /// It was filled under other settings, or is of another format.
    Foreign,
}

impl Cache {
    /// Writes everything that is worth keeping; the number of entries.
    pub fn save(&self, to: &mut impl Write, settings: &Settings, times: Times) -> io::Result<usize> {
        to.write_all(FORMAT)?;
        to.write_all(settings)?;
        to.write_all(&times.wall.to_be_bytes())?;
        let (now, mut body, mut entries) = (Moment::of(times.now), Vec::new(), 0);
        for shard in &self.shards {
            // One shard after the other: who asks meanwhile waits for a sixteenth of it at most.
            let mut octets = Vec::new();
            for slot in lock(shard).slots() {
                for item in slot.items.iter().filter(|item| item.gone > now) {
                    body.clear();
                    let whole = push_item(&mut body, &slot.name, item, now).is_some();
                    if !whole || body.len() > DNS_SAVED_ENTRY_OCTETS_MAX {
                        continue;
                    }
                    octets.extend_from_slice(&(body.len() as u32).to_be_bytes());
                    octets.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
                    octets.extend_from_slice(&body);
                    entries += 1;
                }
            }
            to.write_all(&octets)?;
        }
        Ok(entries)
    }

    /// Takes in what [`Cache::save`] wrote, as far as there is room and its time is not over.
    pub fn load(&self, from: &mut impl Read, settings: &Settings, times: Times) -> io::Result<Loaded> {
        let (mut format, mut filled_under, mut wall) = ([0; FORMAT.len()], Settings::default(), [0; 8]);
        for part in [&mut format[..], &mut filled_under, &mut wall] {
            match from.read_exact(part) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Loaded::Foreign),
                other => other?,
            }
        }
        if format != FORMAT || filled_under != *settings {
            return Ok(Loaded::Foreign);
        }
        let since = Duration::from_secs(times.wall.saturating_sub(u64::from_be_bytes(wall)));
        let (now, mut body) = (Moment::of(times.now), Vec::new());
        let (mut good, mut damaged) = (0, 0);
        loop {
            let mut head = [0; 8];
            match from.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            let (length, crc) = split(head);
            if length as usize > DNS_SAVED_ENTRY_OCTETS_MAX {
                damaged += 1;
                break;
            }
            body.resize(length as usize, 0);
            match from.read_exact(&mut body) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    damaged += 1;
                    break;
                }
                other => other?,
            }
            if SUMS_COUNT && crc32fast::hash(&body) != crc {
                damaged += 1;
                continue;
            }
            match (Octets { rest: &body }).item(now, since) {
                Some((name, Some(item))) => {
                    self.put_item(&name, item, now);
                    good += 1;
                }
                Some((_, None)) => {}
                None => damaged += 1,
            }
        }
        Ok(Loaded::Entries { good, damaged })
    }
}

fn split(head: [u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = head;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// `None`: it is not to be kept.
fn push_item(to: &mut Vec<u8>, name: &Name, item: &Item, now: Moment) -> Option<()> {
    to.extend_from_slice(name.as_wire());
    to.push(security_code(item.security)?);
    for time in item.times(now) {
        to.extend_from_slice(&time.to_be_bytes());
    }
    match &item.entry {
        Entry::Positive(rrset) => {
            to.push(0);
            push_rrset(to, rrset);
        }
        Entry::NoData(rtype, soa) => {
            to.push(1);
            to.extend_from_slice(&rtype.0.to_be_bytes());
            push_owned(to, soa.as_deref());
        }
        Entry::NxDomain(soa) => {
            to.push(2);
            push_owned(to, soa.as_deref());
        }
        Entry::Delegation(delegation) => {
            to.push(3);
            push_delegation(to, delegation);
        }
        Entry::Trust(Trust::Ds(ds)) => {
            to.push(4);
            push_rrset(to, ds);
        }
        Entry::Trust(Trust::Insecure(why)) => to.extend_from_slice(&[5, unsigned_code(*why)]),
        Entry::Trust(Trust::NoCut) => to.push(6),
        Entry::Failure(..) => return None,
    }
    let Some(evidence) = &item.evidence else {
        to.push(0);
        return Some(());
    };
    to.push(1);
    push_signatures(to, evidence.signatures.as_ref());
    to.push(u8::try_from(evidence.proof.len()).ok()?);
    for witness in &evidence.proof {
        to.extend_from_slice(witness.owner.as_wire());
        push_rrset(to, &witness.rrset);
        push_signatures(to, witness.signatures.as_ref());
    }
    Some(())
}

fn push_rrset(to: &mut Vec<u8>, rrset: &RrSet) {
    to.extend_from_slice(&rrset.rtype.0.to_be_bytes());
    to.extend_from_slice(&rrset.ttl.to_be_bytes());
    to.extend_from_slice(&rrset.count().to_be_bytes());
    for rdata in rrset.iter() {
        to.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        to.extend_from_slice(rdata);
    }
}

fn push_owned(to: &mut Vec<u8>, owned: Option<&Owned>) {
    to.push(owned.is_some().into());
    if let Some((owner, rrset)) = owned {
        to.extend_from_slice(owner.as_wire());
        push_rrset(to, rrset);
    }
}

fn push_signatures(to: &mut Vec<u8>, signatures: Option<&RrSet>) {
    to.push(signatures.is_some().into());
    if let Some(signatures) = signatures {
        push_rrset(to, signatures);
    }
}

/// Server and address counts are within [`Delegation::new`]'s bounds, which fit into an octet.
fn push_delegation(to: &mut Vec<u8>, delegation: &Delegation) {
    to.extend_from_slice(delegation.zone.as_wire());
    to.extend_from_slice(&delegation.ttl.to_be_bytes());
    to.push(delegation.servers.len() as u8);
    for NameServer { name, addresses } in &delegation.servers {
        to.extend_from_slice(name.as_wire());
        to.push(addresses.len() as u8);
        for address in addresses {
            match address {
                IpAddr::V4(v4) => {
                    to.push(4);
                    to.extend_from_slice(&v4.octets());
                }
                IpAddr::V6(v6) => {
                    to.push(16);
                    to.extend_from_slice(&v6.octets());
                }
            }
        }
    }
}

const UNSIGNED: [Unsigned; 7] = [
    Unsigned::NoDs,
    Unsigned::OptOut,
    Unsigned::Algorithm,
    Unsigned::Digest,
    Unsigned::Iterations,
    Unsigned::Setting,
    Unsigned::OwnZone,
];

fn unsigned_code(why: Unsigned) -> u8 {
    UNSIGNED.iter().position(|known| *known == why).unwrap_or_default() as u8
}

const SECURE: u8 = 0x80;
const INDETERMINATE: u8 = 0x81;
const UNCHECKED: u8 = 0x82;

fn security_code(security: Security) -> Option<u8> {
    match security {
        Security::Secure => Some(SECURE),
        Security::Insecure(why) => Some(unsigned_code(why)),
        Security::Indeterminate => Some(INDETERMINATE),
        Security::Unchecked => Some(UNCHECKED),
        Security::Bogus => None,
    }
}

/// The octets of an entry that are still to be read. `None` anywhere: they are not what was written.
struct Octets<'a> {
    rest: &'a [u8],
}

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        self.u8().filter(|octet| *octet < 2).map(|octet| octet == 1)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn name(&mut self) -> Option<Name> {
        let (name, rest) = Name::from_wire_prefix(self.rest).ok()?;
        self.rest = rest;
        Some(name)
    }

    fn rrset(&mut self) -> Option<RrSet> {
        let (rtype, ttl) = (Rtype(self.u16()?), self.u32()?);
        let count = self.u16().filter(|count| usize::from(*count) <= DNS_RRSET_RECORDS_MAX)?;
        let mut set = RrSetBuilder::new(rtype, ttl);
        for _ in 0..count {
            let length = usize::from(self.u16()?);
            set.push(self.take(length).filter(|rdata| validate_rdata(rtype, rdata))?);
        }
        set.build()
    }

    fn owned(&mut self) -> Option<Option<Arc<Owned>>> {
        if !self.flag()? {
            return Some(None);
        }
        Some(Some(Arc::new((self.name()?, Arc::new(self.rrset()?)))))
    }

    fn signatures(&mut self) -> Option<Option<RrSet>> {
        if self.flag()? { self.rrset().map(Some) } else { Some(None) }
    }

    fn delegation(&mut self) -> Option<Delegation> {
        let (zone, ttl) = (self.name()?, self.u32()?);
        let (mut names, mut glue) = (Vec::new(), Vec::new());
        for _ in 0..self.u8()? {
            let name = self.name()?;
            for _ in 0..self.u8()? {
                let address = match self.u8()? {
                    4 => IpAddr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?),
                    16 => IpAddr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?),
                    _ => return None,
                };
                glue.push((name.clone(), address));
            }
            names.push(name);
        }
        Some(Delegation::new(zone, ttl, names, glue))
    }

    fn evidence(&mut self) -> Option<Option<Arc<Evidence>>> {
        if !self.flag()? {
            return Some(None);
        }
        let signatures = self.signatures()?;
        let mut proof = Vec::new();
        for _ in 0..self.u8()? {
            let (owner, rrset) = (self.name()?, Arc::new(self.rrset()?));
            proof.push(Witness { owner, rrset, signatures: self.signatures()? });
        }
        Some(Some(Arc::new(Evidence { signatures, proof: proof.into() })))
    }

    /// The entry, as it is `since` it was saved; nothing where its time is over.
    fn item(mut self, now: Moment, since: Duration) -> Option<(Name, Option<Item>)> {
        let name = self.name()?;
        let security = match self.u8()? {
            SECURE => Security::Secure,
            INDETERMINATE => Security::Indeterminate,
            UNCHECKED => Security::Unchecked,
            why => Security::Insecure(*UNSIGNED.get(usize::from(why))?),
        };
        let times = [self.u32()?, self.u32()?, self.u32()?];
        let entry = match self.u8()? {
            0 => Entry::Positive(Arc::new(self.rrset()?)),
            1 => Entry::NoData(Rtype(self.u16()?), self.owned()?),
            2 => Entry::NxDomain(self.owned()?),
            3 => Entry::Delegation(Arc::new(self.delegation()?)),
            4 => Entry::Trust(Trust::Ds(Arc::new(self.rrset()?))),
            5 => Entry::Trust(Trust::Insecure(*UNSIGNED.get(usize::from(self.u8()?))?)),
            6 => Entry::Trust(Trust::NoCut),
            _ => return None,
        };
        let evidence = self.evidence()?;
        if !self.rest.is_empty() {
            return None;
        }
        Some((name, Item::restored(entry, security, evidence, times, since, now)))
    }
}
