//! What an answer from a signed zone has besides, for who asks with DO (RFC 4035 section 3.1, RFC 5155 section 7.2).

use crate::wire::{RrSet, Rtype, Section, Writer};
use crate::zone::{Node, Proof, Zone};

/// Writes the signatures of one of the node's sets. False: they do not fit.
pub(super) fn write_signatures(
    section: Section,
    owner: &[u8],
    node: &Node,
    rrset: &RrSet,
    writer: &mut Writer<'_>,
) -> bool {
    let signatures = node.signatures(rrset.rtype);
    signatures.is_none_or(|signatures| writer.rrset(section, owner, signatures, rrset.ttl, 0))
}

/// As [`write_signatures`], under the node's own name and with another TTL.
pub(super) fn write_signatures_for(
    section: Section,
    node: &Node,
    rrset: &RrSet,
    ttl: u32,
    writer: &mut Writer<'_>,
) -> bool {
    let signatures = node.signatures(rrset.rtype);
    signatures.is_none_or(|signatures| writer.rrset(section, node.owner.as_wire(), signatures, ttl, 0))
}

/// Writes the records of a proof with their signatures into authority, or says that the response is cut.
pub(super) fn write_proof(proof: &Proof<'_>, writer: &mut Writer<'_>) {
    for node in proof.iter() {
        let set = node.rrset(Rtype::NSEC3).or_else(|| node.rrset(Rtype::NSEC));
        if set.is_some_and(|set| !write_signed(node, set, writer)) {
            writer.truncated = true;
            return;
        }
    }
}

/// Writes the DS records of a zone cut, or the proof that there are none. False: they do not fit.
pub(super) fn write_delegation(zone: &Zone, cut: &Node, writer: &mut Writer<'_>) -> bool {
    if let Some(ds) = cut.rrset(Rtype::DS) {
        return write_signed(cut, ds, writer);
    }
    let mut proof = Proof::default();
    zone.prove_no_data(cut, cut.owner.as_wire(), &mut proof);
    write_proof(&proof, writer);
    !writer.truncated
}

fn write_signed(node: &Node, set: &RrSet, writer: &mut Writer<'_>) -> bool {
    let owner = node.owner.as_wire();
    writer.rrset(Section::Authority, owner, set, set.ttl, 0)
        && write_signatures(Section::Authority, owner, node, set, writer)
}
