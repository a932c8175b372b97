//! Authoritative answers (RFC 1034 section 4.3.2): writes straight from the zones into the response.
//!
//! - AA on what the zones own; a referral has neither AA nor answers, NS in authority and glue in additional
//!   (RFC 9471: in-domain glue that does not fit sets TC).
//! - CNAME and DNAME (RFC 6672) are followed through all zones served here; the response code is that of the last
//!   name (RFC 6604).
//! - NXDOMAIN and NODATA carry the SOA with the least of its TTL and its minimum (RFC 2308 section 3).
//! - ANY gets one record set (RFC 8482 section 4.1), and so does RRSIG: the signatures of one set.
//! - Who asks with DO gets signatures, DS records, and proof of what is not there ([`signed`]).
//! - Positive answers carry no NS records in authority: resolvers ignore them, and they cost the room that
//!   addresses of mail hosts need.

mod rotation;
mod signed;

use std::borrow::Cow;

use postroad_types::limits::{DNS_ADDITIONAL_NAMES_MAX, DNS_ALIAS_STEPS_MAX};
pub use rotation::Rotation;

use crate::wire::{KeyBuf, Name, Request, RrSet, Rtype, Section, Writer};
use crate::zone::{Lookup, Node, Proof, Zone, Zones};

/// Response codes (RFC 1035 section 4.1.1, RFC 2136, RFC 8945, RFC 6891 section 9).
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const YXDOMAIN: u16 = 6;
    pub const YXRRSET: u16 = 7;
    pub const NXRRSET: u16 = 8;
    pub const NOTAUTH: u16 = 9;
    pub const NOTZONE: u16 = 10;
    pub const BADVERS: u16 = 16;
}

/// What the zones had to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// No zone here holds the name; nothing is written.
    NotHosted,
    /// The response is complete.
    Answered,
    /// The response ends in a referral, or in an alias to a name outside the zones: complete for an asker who does
    /// not want recursion, a beginning for one who does.
    Incomplete,
}

/// Where the names that an answer leads along end.
enum End<'z> {
    /// No zone here holds the name.
    Outside,
    Unavailable,
    Referral(&'z Zone, &'z Node),
    Missing(&'z Zone),
    NoData(&'z Zone, &'z Node),
    /// The set that was asked for is written.
    Complete(&'z RrSet),
    /// The answer section says all that can be said.
    Alone,
}

/// Answers `request` from `zones`.
pub fn answer(zones: &Zones, request: &Request<'_>, writer: &mut Writer<'_>, rotation: Rotation) -> Served {
    let dnssec = request.edns.as_ref().is_some_and(|edns| edns.dnssec_ok);
    let mut proof = Proof::default();
    let mut name = Cow::Borrowed(request.question.name);
    let end = write_answers(zones, request.question.rtype, &mut name, dnssec, &mut proof, writer, rotation);
    match end {
        End::Outside if writer.is_empty() => return Served::NotHosted,
        End::Outside => {
            signed::write_proof(&proof, writer);
            return Served::Incomplete;
        }
        // Aliases that led here are no answer to who wants what they lead to.
        End::Unavailable => writer.rcode = rcode::SERVFAIL,
        End::Referral(zone, cut) => {
            signed::write_proof(&proof, writer);
            refer(zones, zone, cut, dnssec, writer, rotation);
            return Served::Incomplete;
        }
        End::Missing(zone) => {
            writer.rcode = rcode::NXDOMAIN;
            negative(zone, dnssec, writer);
            if dnssec {
                zone.prove_missing(&name, &mut proof);
                signed::write_proof(&proof, writer);
            }
        }
        End::NoData(zone, node) => {
            negative(zone, dnssec, writer);
            if dnssec {
                zone.prove_no_data(node, &name, &mut proof);
                signed::write_proof(&proof, writer);
            }
        }
        End::Complete(rrset) => {
            signed::write_proof(&proof, writer);
            additional(zones, rrset, dnssec, writer, rotation);
        }
        End::Alone => signed::write_proof(&proof, writer),
    }
    Served::Answered
}

/// Writes the answer section: aliases, and the set that they lead to. `name` is the last of them then, and `proof` that
/// names which wildcards answered for do not exist.
fn write_answers<'z>(
    zones: &'z Zones,
    rtype: Rtype,
    name: &mut Cow<'z, [u8]>,
    dnssec: bool,
    proof: &mut Proof<'z>,
    writer: &mut Writer<'_>,
    rotation: Rotation,
) -> End<'z> {
    let mut visited: Vec<Cow<'_, [u8]>> = Vec::new();
    loop {
        let key = KeyBuf::from_wire(name);
        let Some(zone) = zones.find(&key, rtype) else { return End::Outside };
        if !zone.is_available() {
            return End::Unavailable;
        }
        let found = zone.lookup(&key, rtype);
        if visited.is_empty() {
            writer.authoritative = !matches!(found, Lookup::Delegated(_));
        }
        let target: Cow<'_, [u8]> = match found {
            Lookup::Delegated(cut) => return End::Referral(zone, cut),
            Lookup::Missing => return End::Missing(zone),
            Lookup::Dname(node) => {
                let Some(dname) = node.rrset(Rtype::DNAME) else { return End::Alone };
                let Some(target) = redirect(name, node, dname, dnssec, writer) else { return End::Alone };
                if matches!(rtype, Rtype::CNAME | Rtype::ANY) {
                    return End::Alone;
                }
                Cow::Owned(target)
            }
            Lookup::Found(node) | Lookup::Wildcard(node) => {
                let alias = node
                    .rrset(Rtype::CNAME)
                    .filter(|_| !matches!(rtype, Rtype::CNAME | Rtype::ANY | Rtype::NSEC | Rtype::RRSIG));
                let rrset = match rtype {
                    Rtype::ANY => node.rrsets().next(),
                    Rtype::RRSIG => node.all_sets().map(|(_, set)| set).find(|set| set.rtype == rtype),
                    rtype => node.rrset(rtype),
                };
                let Some(rrset) = alias.or(rrset) else { return End::NoData(zone, node) };
                let fits = writer.rrset(Section::Answer, name, rrset, rrset.ttl, rotation.first(rrset));
                if !fits || (dnssec && !signed::write_signatures(Section::Answer, name, node, rrset, writer))
                {
                    writer.truncated = true;
                    return End::Alone;
                }
                if dnssec && matches!(found, Lookup::Wildcard(_)) {
                    zone.prove_expansion(name, proof);
                }
                if alias.is_none() {
                    return End::Complete(rrset);
                }
                Cow::Borrowed(rrset.first())
            }
        };
        visited.push(std::mem::replace(name, target));
        let loops = visited.iter().any(|before| before.eq_ignore_ascii_case(name));
        if loops || visited.len() > DNS_ALIAS_STEPS_MAX {
            // The aliases themselves are the answer; who follows them will see that they lead nowhere.
            return End::Alone;
        }
    }
}

/// Puts the zone's SOA into authority.
fn negative(zone: &Zone, dnssec: bool, writer: &mut Writer<'_>) {
    let Some(apex) = zone.apex_node() else { return };
    let Some(soa) = apex.rrset(Rtype::SOA) else { return };
    let fits = zone.negative_soa().and_then(|soa| writer.soa(soa)).unwrap_or_else(|| {
        writer.rrset(Section::Authority, apex.owner.as_wire(), soa, zone.negative_ttl(), 0)
    });
    let signed = |writer: &mut Writer<'_>| {
        // Signatures have the TTL of what they sign (RFC 4034 section 3).
        signed::write_signatures_for(Section::Authority, apex, soa, zone.negative_ttl(), writer)
    };
    if !fits || (dnssec && !signed(writer)) {
        writer.truncated = true;
    }
}

/// Writes the DNAME and the CNAME made of it; the new name in wire form, or `None` when the response ends here.
fn redirect(
    name: &[u8],
    node: &Node,
    dname: &RrSet,
    dnssec: bool,
    writer: &mut Writer<'_>,
) -> Option<Vec<u8>> {
    let owner = node.owner.as_wire();
    let fits = writer.rrset(Section::Answer, owner, dname, dname.ttl, 0);
    if !fits || (dnssec && !signed::write_signatures(Section::Answer, owner, node, dname, writer)) {
        writer.truncated = true;
        return None;
    }
    let target = Name::from_wire(dname.first()).ok()?;
    let Ok(renamed) = Name::from_wire(name).ok()?.replace_suffix(&node.owner, &target)? else {
        writer.rcode = rcode::YXDOMAIN;
        return None;
    };
    if !writer.synthesised(Section::Answer, name, Rtype::CNAME, dname.ttl, renamed.as_wire()) {
        writer.truncated = true;
        return None;
    }
    Some(renamed.as_wire().to_vec())
}

/// The names in a set's data whose addresses the asker will want next.
fn targets(rrset: &RrSet) -> impl Iterator<Item = &[u8]> {
    let skip = match rrset.rtype {
        Rtype::NS => Some(0),
        Rtype::MX => Some(2),
        Rtype::SRV => Some(6),
        _ => None,
    };
    let sets = skip.map(|skip| rrset.iter().filter_map(move |rdata| rdata.get(skip..)));
    sets.into_iter().flatten().take(DNS_ADDITIONAL_NAMES_MAX)
}

/// Adds the addresses of hosts that MX, NS and SRV records name, as far as zones here hold them and room is left.
fn additional(zones: &Zones, rrset: &RrSet, dnssec: bool, writer: &mut Writer<'_>, rotation: Rotation) {
    for (index, target) in targets(rrset).enumerate() {
        // Several SRV or MX records often name one host.
        if targets(rrset).take(index).any(|before| before.eq_ignore_ascii_case(target)) {
            continue;
        }
        let key = KeyBuf::from_wire(target);
        let Some(zone) = zones.find(&key, Rtype::A) else { continue };
        if let Lookup::Found(node) | Lookup::Wildcard(node) = zone.lookup(&key, Rtype::A) {
            addresses(node, target, dnssec, writer, rotation);
        }
    }
}

/// Writes A and AAAA of a node; false when they do not all fit.
fn addresses(node: &Node, owner: &[u8], dnssec: bool, writer: &mut Writer<'_>, rotation: Rotation) -> bool {
    let mut fits = true;
    for set in [Rtype::A, Rtype::AAAA].into_iter().filter_map(|rtype| node.rrset(rtype)) {
        fits &= writer.rrset(Section::Additional, owner, set, set.ttl, rotation.first(set));
        if dnssec && fits {
            // Without room for them the answer is whole all the same (RFC 4035 section 3.1.1).
            let _ = signed::write_signatures(Section::Additional, owner, node, set, writer);
        }
    }
    fits
}

/// Writes the NS records of a zone cut and the addresses of those servers that this zone knows.
fn refer(zones: &Zones, zone: &Zone, cut: &Node, dnssec: bool, writer: &mut Writer<'_>, rotation: Rotation) {
    let Some(servers) = cut.rrset(Rtype::NS) else { return };
    if !writer.rrset(Section::Authority, cut.owner.as_wire(), servers, servers.ttl, rotation.first(servers)) {
        writer.truncated = true;
        return;
    }
    if dnssec && !signed::write_delegation(zone, cut, writer) {
        writer.truncated = true;
        return;
    }
    let cut_key = cut.owner.key();
    for target in targets(servers) {
        let key = KeyBuf::from_wire(target);
        if let Some(node) = zone.glue(&key) {
            let in_domain = key.as_bytes().starts_with(cut_key.as_bytes());
            if !addresses(node, target, dnssec, writer, rotation) && in_domain {
                writer.truncated = true;
            }
        } else if let Some(other) = zones.find(&key, Rtype::A)
            && let Lookup::Found(node) = other.lookup(&key, Rtype::A)
        {
            addresses(node, target, dnssec, writer, rotation);
        }
    }
}

#[cfg(test)]
mod tests;
