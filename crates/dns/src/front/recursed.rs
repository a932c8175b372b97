//! Answers of the resolver as responses: with signatures and proofs for those who want them (RFC 4035 section 3.2), with
//! AD for those who understand it (RFC 6840 sections 5.7 and 5.8), with the reason where there is no answer (RFC 8914).

use crate::resolve::evidence::Witness;
use crate::resolve::security::Security;
use crate::resolve::{Answer, Held};
use crate::serve::{Rotation, rcode};
use crate::wire::options::extended;
use crate::wire::{Name, Request, RrSet, Rtype, Section, Writer};

/// Writes an answer of the resolver.
pub(super) fn write(answer: &Answer, request: &Request<'_>, writer: &mut Writer<'_>, rotation: Rotation) {
    let dnssec_ok = request.edns.is_some_and(|edns| edns.dnssec_ok);
    writer.rcode = answer.rcode;
    writer.extended_error = extended_error(answer);
    let secure = answer.security == Security::Secure && !answer.stale;
    writer.authentic = secure && (dnssec_ok || request.authentic_data);
    if !records(answer, dnssec_ok, writer, rotation) {
        writer.truncated = true;
    }
}

fn extended_error(answer: &Answer) -> Option<u16> {
    let missing = answer.rcode == rcode::NXDOMAIN;
    match (&answer.failure, answer.security) {
        (Some(failure), _) => Some(failure.extended_error),
        (None, _) if answer.stale => {
            Some(if missing { extended::STALE_NXDOMAIN } else { extended::STALE_ANSWER })
        }
        (None, _) if answer.blocked => Some(extended::BLOCKED),
        (None, Security::Insecure(why)) => why.extended_error(),
        (None, _) => None,
    }
}

/// Writes all record sets with what belongs to them. False: they do not fit.
fn records(answer: &Answer, dnssec_ok: bool, writer: &mut Writer<'_>, rotation: Rotation) -> bool {
    let set = |writer: &mut Writer<'_>, section, owner: &Name, set: &RrSet, ttl, first| {
        writer.rrset(section, owner.as_wire(), set, ttl, first)
    };
    let signatures = |writer: &mut Writer<'_>, section, owner: &Name, signatures: Option<&RrSet>, ttl| {
        let wanted = signatures.filter(|_| dnssec_ok);
        wanted.is_none_or(|signatures| set(writer, section, owner, signatures, ttl, 0))
    };
    for held in &answer.records {
        let Held { owner, rrset, ttl, .. } = held;
        if !set(writer, Section::Answer, owner, rrset, *ttl, rotation.first(rrset))
            || !signatures(writer, Section::Answer, owner, held.signatures(), *ttl)
        {
            return false;
        }
    }
    if let Some(soa) = &answer.authority
        && (!set(writer, Section::Authority, &soa.owner, &soa.rrset, soa.ttl, 0)
            || !signatures(writer, Section::Authority, &soa.owner, soa.signatures(), soa.ttl))
    {
        return false;
    }
    if !dnssec_ok {
        return true;
    }
    let mut given: Vec<(&Name, Rtype)> = Vec::new();
    for held in answer.records.iter().chain(&answer.authority) {
        let proof = held.evidence.iter().flat_map(|evidence| &evidence.proof);
        for Witness { owner, rrset, signatures: signed } in proof {
            if given.contains(&(owner, rrset.rtype)) {
                continue;
            }
            given.push((owner, rrset.rtype));
            if !set(writer, Section::Authority, owner, rrset, held.ttl, 0)
                || !signatures(writer, Section::Authority, owner, signed.as_ref(), held.ttl)
            {
                return false;
            }
        }
    }
    true
}
