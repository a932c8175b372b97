//! What a message from another server means for the question it was asked, and which of its records may be believed.
//!
//! The server was asked because it serves `zone`. So only records at or below `zone` count (bailiwick); only those of
//! the name asked for, of the aliases that lead on from it, the SOA of a negative answer and the NS of a referral with
//! its glue are looked at. Whatever else stands in the message is dropped: it never reaches the cache or a client.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name as HickoryName, Record};
use postroad_types::limits::{DNS_ALIAS_STEPS_MAX, DNS_RRSET_RECORDS_MAX, DNS_TTL_S_MAX};

use super::Delegation;
use super::delegation::address;
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype, rdata_to_wire, validate_rdata};

/// A record set and its owner.
pub type Owned = (Name, Arc<RrSet>);

/// What a message means.
#[derive(Debug)]
pub enum Reply {
    /// Aliases, and the records that were asked for.
    Answer(Vec<Owned>),
    /// Aliases that lead to a name that this message says nothing about.
    Alias(Vec<Owned>, Name),
    /// Aliases, and the last name has no such records.
    NoData(Vec<Owned>, Option<Owned>),
    /// Aliases, and the last name does not exist.
    NxDomain(Vec<Owned>, Option<Owned>),
    /// Other servers know more.
    Referral(Delegation),
    /// The answer did not fit into the datagram.
    Truncated,
    /// The server does not understand EDNS, or says so (FORMERR, NOTIMP).
    NotUnderstood(ResponseCode),
    /// The server does not serve the zone, or cannot.
    Refused(ResponseCode),
    /// The server answers for the zone, but not with authority: it points upwards or nowhere.
    Lame(&'static str),
}

/// Says what `message`, from a server of `zone`, means for the question for `rtype` records of `name`.
pub fn read(message: &Message, name: &Name, rtype: Rtype, zone: &Name) -> Reply {
    if message.metadata.truncation {
        return Reply::Truncated;
    }
    let mut records = message.answers.iter().chain(&message.authorities);
    if records.any(|record| record.dns_class != DNSClass::IN) {
        return Reply::Lame("records of another class");
    }
    let missing = match message.metadata.response_code {
        ResponseCode::NoError => false,
        ResponseCode::NXDomain => true,
        code @ (ResponseCode::FormErr | ResponseCode::NotImp) => return Reply::NotUnderstood(code),
        code => return Reply::Refused(code),
    };
    let (aliases, last) = match follow(&message.answers, name, rtype, zone) {
        Followed::Complete(chain) => return Reply::Answer(chain),
        Followed::Outside(chain, target) => return Reply::Alias(chain, target),
        Followed::Open(chain, last) => (chain, last),
    };
    let soa = soa(message, &last, zone);
    if missing {
        // With aliases the code is that of the last name (RFC 6604), if the server is one that can know.
        return match (aliases.is_empty(), soa) {
            (false, None) => Reply::Alias(aliases, last),
            (_, soa) => Reply::NxDomain(aliases, soa),
        };
    }
    if soa.is_some() {
        return Reply::NoData(aliases, soa);
    }
    if !aliases.is_empty() {
        return Reply::Alias(aliases, last);
    }
    match referral(message, name, zone) {
        Some(Ok(delegation)) => Reply::Referral(delegation),
        Some(Err(reason)) => Reply::Lame(reason),
        None if message.metadata.authoritative => Reply::NoData(aliases, None),
        None => Reply::Lame("neither answer nor referral"),
    }
}

enum Followed {
    Complete(Vec<Owned>),
    /// The aliases lead out of the zone.
    Outside(Vec<Owned>, Name),
    /// The aliases, possibly none, lead to a name without the records asked for.
    Open(Vec<Owned>, Name),
}

fn follow(answers: &[Record], name: &Name, rtype: Rtype, zone: &Name) -> Followed {
    let mut chain: Vec<Owned> = Vec::new();
    let mut last = name.clone();
    while chain.len() <= DNS_ALIAS_STEPS_MAX {
        let target = if let Some((owner, dname, target)) = renamed(answers, &last, zone) {
            let mut alias = RrSetBuilder::new(Rtype::CNAME, dname.ttl);
            alias.push(target.as_wire());
            chain.push((owner, dname));
            chain.extend(alias.build().map(|alias| (last.clone(), Arc::new(alias))));
            if rtype == Rtype::CNAME {
                return Followed::Complete(chain);
            }
            Some(target)
        } else if let Some(rrset) = rrset(answers, &last, rtype) {
            chain.push((last, rrset));
            return Followed::Complete(chain);
        } else if rtype == Rtype::CNAME {
            break;
        } else if let Some(alias) = rrset(answers, &last, Rtype::CNAME) {
            let target = Name::from_wire(alias.first()).ok();
            chain.push((last.clone(), alias));
            target
        } else {
            None
        };
        let Some(target) = target else { break };
        if chain.iter().any(|(owner, _)| *owner == target) || !target.is_at_or_below(zone) {
            return Followed::Outside(chain, target);
        }
        last = target;
    }
    Followed::Open(chain, last)
}

/// A DNAME above `name` within `zone`, and what it makes of `name`: the CNAME that the server made is not needed, and
/// so not believed (RFC 6672 section 3.4).
fn renamed(answers: &[Record], name: &Name, zone: &Name) -> Option<(Name, Arc<RrSet>, Name)> {
    let owners = answers.iter().filter(|record| record.record_type() == Rtype::DNAME.into());
    let owner = owners
        .filter_map(|record| Name::from_hickory(&record.name).ok())
        .find(|owner| name.is_below(owner) && owner.is_at_or_below(zone))?;
    let dname = rrset(answers, &owner, Rtype::DNAME)?;
    let target = name.replace_suffix(&owner, &Name::from_wire(dname.first()).ok()?)?.ok()?;
    Some((owner, dname, target))
}

/// The records of one owner and type. A TTL with the highest bit set counts as 0 (RFC 2181 section 8).
fn rrset(records: &[Record], owner: &Name, rtype: Rtype) -> Option<Arc<RrSet>> {
    let mut set: Option<RrSetBuilder> = None;
    for record in records {
        let matches = Rtype::from(record.record_type()) == rtype
            && record.dns_class == DNSClass::IN
            && is(&record.name, owner);
        if !matches {
            continue;
        }
        let Some(wire) = rdata_to_wire(&record.data).filter(|wire| validate_rdata(rtype, wire)) else {
            continue;
        };
        let ttl = if record.ttl > DNS_TTL_S_MAX { 0 } else { record.ttl };
        let set = set.get_or_insert_with(|| RrSetBuilder::new(rtype, ttl));
        let single = matches!(rtype, Rtype::CNAME | Rtype::DNAME | Rtype::SOA);
        if set.len() >= if single { 1 } else { DNS_RRSET_RECORDS_MAX } {
            break;
        }
        set.lower_ttl(ttl);
        set.push(&wire);
    }
    set?.build().map(Arc::new)
}

/// Whether two names are the same.
fn is(name: &HickoryName, other: &Name) -> bool {
    let (mut left, mut right) = (name.iter(), other.labels());
    std::iter::from_fn(|| match (left.next(), right.next()) {
        (None, None) => None,
        (Some(left), Some(right)) => Some(left.eq_ignore_ascii_case(right)),
        _ => Some(false),
    })
    .all(|same| same)
}

/// The SOA in authority: of a zone at or below the one that was asked, and at or above the name.
fn soa(message: &Message, name: &Name, zone: &Name) -> Option<Owned> {
    let record = message.authorities.iter().find(|record| record.record_type() == Rtype::SOA.into())?;
    let owner = Name::from_hickory(&record.name).ok()?;
    if !name.is_at_or_below(&owner) || !owner.is_at_or_below(zone) {
        return None;
    }
    let rrset = rrset(&message.authorities, &owner, Rtype::SOA)?;
    Some((owner, rrset))
}

/// Seconds that a negative answer with this SOA may be kept: the least of its TTL and its minimum field
/// (RFC 2308 section 5).
pub fn negative_ttl(soa: &RrSet) -> u32 {
    let minimum = soa.first().last_chunk::<4>().map_or(0, |octets| u32::from_be_bytes(*octets));
    soa.ttl.min(minimum)
}

fn referral(message: &Message, name: &Name, zone: &Name) -> Option<Result<Delegation, &'static str>> {
    let record = message.authorities.iter().find(|record| record.record_type() == Rtype::NS.into())?;
    let cut = Name::from_hickory(&record.name).ok()?;
    if !cut.is_below(zone) || !name.is_at_or_below(&cut) {
        return Some(Err("it refers upwards or aside"));
    }
    let servers = rrset(&message.authorities, &cut, Rtype::NS)?;
    let names: Vec<Name> = servers.iter().filter_map(|rdata| Name::from_wire(rdata).ok()).collect();
    let glue = message.additionals.iter().filter_map(|record| {
        let rtype = Rtype::from(record.record_type());
        let owner = Name::from_hickory(&record.name).ok()?;
        // Glue counts for hosts within the zone that gives it, and for nothing but this delegation.
        if !matches!(rtype, Rtype::A | Rtype::AAAA) || !owner.is_at_or_below(zone) || !names.contains(&owner)
        {
            return None;
        }
        let address = address(&rdata_to_wire(&record.data)?)?;
        (!useless(address)).then_some((owner, address))
    });
    Some(Ok(Delegation::new(cut, servers.ttl, names.iter().cloned(), glue)))
}

/// Addresses that no server can have.
pub(super) fn useless(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    address.is_unspecified() || address.is_multicast() || broadcast
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::{RData, RecordType};

    use super::*;

    fn record(owner: &str, rtype: RecordType, data: &str) -> Record {
        let data = RData::try_from_str(rtype, data).unwrap();
        Record::from_rdata(HickoryName::from_str(owner).unwrap(), 300, data)
    }

    fn message(code: ResponseCode, sections: [&[(&str, RecordType, &str)]; 3]) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        let [answers, authorities, additionals] = sections
            .map(|section| section.iter().map(|(owner, rtype, data)| record(owner, *rtype, data)).collect());
        (message.answers, message.authorities, message.additionals) = (answers, authorities, additionals);
        message
    }

    fn shown(reply: &Reply) -> String {
        let chain = |chain: &[Owned]| {
            chain
                .iter()
                .map(|(owner, rrset)| format!("{owner} {}*{} ", rrset.rtype, rrset.count()))
                .collect::<String>()
        };
        let soa = |soa: &Option<Owned>| soa.as_ref().map_or("-".to_owned(), |(owner, _)| owner.to_string());
        match reply {
            Reply::Answer(records) => format!("answer {}", chain(records)),
            Reply::Alias(aliases, target) => format!("alias {}→ {target}", chain(aliases)),
            Reply::NoData(aliases, owner) => format!("nodata {}{}", chain(aliases), soa(owner)),
            Reply::NxDomain(aliases, owner) => format!("nxdomain {}{}", chain(aliases), soa(owner)),
            Reply::Referral(to) => format!(
                "referral {} {}",
                to.zone,
                to.servers.iter().map(|s| format!("{}{:?}", s.name, s.addresses)).collect::<String>()
            ),
            other => format!("{other:?}"),
        }
    }

    fn ask(message: &Message, name: &str, rtype: Rtype, zone: &str) -> String {
        shown(&read(message, &name.parse().unwrap(), rtype, &zone.parse().unwrap())).trim_end().to_owned()
    }

    const SOA: &str = "ns. host. 1 1 1 1 60";
    use RecordType as T;
    use ResponseCode::{NXDomain, NoError};

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let reply = message(
            NoError,
            [
                &[
                    ("mx.beta.test.", T::A, "192.0.2.1"),
                    ("mx.beta.test.", T::AAAA, "::1"),
                    ("bank.test.", T::A, "192.0.2.66"),
                ],
                &[("beta.test.", T::NS, "evil.test.")],
                &[("www.beta.test.", T::A, "192.0.2.66")],
            ],
        );
        assert_eq!(ask(&reply, "mx.beta.test", Rtype::A, "beta.test"), "answer mx.beta.test. A*1");
        assert_eq!(ask(&reply, "mx.beta.test", Rtype::A, "test"), "answer mx.beta.test. A*1");
    }

    #[test]
    fn aliases_are_followed_within_the_zone_only() {
        let reply = message(
            NoError,
            [
                &[
                    ("www.beta.test.", T::CNAME, "web.beta.test."),
                    ("web.beta.test.", T::CNAME, "host.alpha.test."),
                    ("host.alpha.test.", T::A, "192.0.2.66"),
                ],
                &[],
                &[],
            ],
        );
        let expected = "alias www.beta.test. CNAME*1 web.beta.test. CNAME*1 → host.alpha.test.";
        assert_eq!(ask(&reply, "www.beta.test", Rtype::A, "beta.test"), expected);
        assert_eq!(
            ask(&reply, "www.beta.test", Rtype::A, "test"),
            "answer www.beta.test. CNAME*1 web.beta.test. CNAME*1 host.alpha.test. A*1"
        );
        assert_eq!(ask(&reply, "www.beta.test", Rtype::CNAME, "beta.test"), "answer www.beta.test. CNAME*1");
        let circle = message(
            NoError,
            [&[("a.test.", T::CNAME, "b.test."), ("b.test.", T::CNAME, "a.test.")], &[], &[]],
        );
        assert_eq!(
            ask(&circle, "a.test", Rtype::A, "test"),
            "alias a.test. CNAME*1 b.test. CNAME*1 → a.test."
        );
    }

    #[test]
    fn negative_answers_need_a_soa_in_bailiwick() {
        for (owner, expected) in [
            ("beta.test.", "nxdomain beta.test."),
            ("test.", "nxdomain -"),
            ("other.beta.test.", "nxdomain -"),
        ] {
            let reply = message(NXDomain, [&[], &[(owner, T::SOA, SOA)], &[]]);
            assert_eq!(ask(&reply, "x.beta.test", Rtype::A, "beta.test"), expected, "{owner}");
        }
        let reply = message(NoError, [&[], &[("beta.test.", T::SOA, SOA)], &[]]);
        assert_eq!(ask(&reply, "x.beta.test", Rtype::A, "test"), "nodata beta.test.");
        let reply = message(
            NXDomain,
            [&[("x.beta.test.", T::CNAME, "y.beta.test.")], &[("beta.test.", T::SOA, SOA)], &[]],
        );
        assert_eq!(
            ask(&reply, "x.beta.test", Rtype::A, "beta.test"),
            "nxdomain x.beta.test. CNAME*1 beta.test."
        );
    }

    #[test]
    fn referrals_lead_downwards_and_their_glue_stays_in_the_zone() {
        let down = message(
            NoError,
            [
                &[],
                &[("beta.test.", T::NS, "ns1.beta.test."), ("beta.test.", T::NS, "ns.example.com.")],
                &[
                    ("ns1.beta.test.", T::A, "192.0.2.53"),
                    ("ns1.beta.test.", T::A, "0.0.0.0"),
                    ("ns.example.com.", T::A, "192.0.2.66"),
                    ("www.beta.test.", T::A, "192.0.2.66"),
                ],
            ],
        );
        assert_eq!(
            ask(&down, "mx.beta.test", Rtype::A, "test"),
            "referral beta.test. ns1.beta.test.[192.0.2.53]ns.example.com.[]"
        );
        for (cut, zone) in
            [("test.", "beta.test"), ("beta.test.", "beta.test"), ("alpha.test.", "test"), (".", "test")]
        {
            let reply = message(NoError, [&[], &[(cut, T::NS, "ns.x.")], &[]]);
            let shown = ask(&reply, "mx.beta.test", Rtype::A, zone);
            assert!(shown.starts_with("Lame"), "{cut} {zone}: {shown}");
        }
    }

    #[test]
    fn refusals_and_empty_messages() {
        let mut empty = message(NoError, [&[], &[], &[]]);
        assert!(ask(&empty, "x.test", Rtype::A, "test").starts_with("Lame"));
        empty.metadata.authoritative = true;
        assert_eq!(ask(&empty, "x.test", Rtype::A, "test"), "nodata -");
        empty.metadata.truncation = true;
        assert_eq!(ask(&empty, "x.test", Rtype::A, "test"), "Truncated");
        let refused = message(ResponseCode::Refused, [&[], &[], &[]]);
        assert!(ask(&refused, "x.test", Rtype::A, "test").starts_with("Refused"));
    }
}
