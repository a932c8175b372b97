//! Which NSEC and NSEC3 records prove what an answer says is not there (RFC 4035 section 3.1.3, RFC 5155 section 7.2).

use super::hashed::Denial;
use super::{Node, Zone};
use crate::dnssec::nsec3_hash;
use crate::wire::{KeyBuf, Name, Rtype};

/// Names whose NSEC or NSEC3 records belong to an answer, each once.
#[derive(Debug, Default)]
pub struct Proof<'z>(Vec<&'z Node>);

impl<'z> Proof<'z> {
    fn add(&mut self, node: Option<&'z Node>) {
        self.0.extend(node.filter(|node| !self.0.iter().any(|known| std::ptr::eq(*known, *node))));
    }

    pub fn iter(&self) -> impl Iterator<Item = &'z Node> {
        self.0.iter().copied()
    }
}

impl Zone {
    /// That the name in wire form does not exist, nor a wildcard for it.
    pub fn prove_missing<'z>(&'z self, name: &[u8], proof: &mut Proof<'z>) {
        match &self.denial {
            Denial::Plain => {}
            Denial::Nsec => {
                let key = KeyBuf::from_wire(name);
                proof.add(self.nsec_at_or_before(&key));
                if let Some(encloser) = self.encloser_octets(&key) {
                    let encloser = key.truncated(self.apex_key.len() + encloser);
                    proof.add(self.nsec_at_or_before(&encloser.wildcard_child()));
                }
            }
            Denial::Nsec3 { salt, iterations } => {
                if let Some(encloser) = self.prove_encloser(name, proof)
                    && let Ok(wildcard) = encloser.with_label(b"*")
                {
                    proof.add(self.hashed.covering(&nsec3_hash(&wildcard, salt, *iterations)));
                }
            }
        }
    }

    /// That the name in wire form does not exist itself, where a wildcard answers for it.
    pub fn prove_expansion<'z>(&'z self, name: &[u8], proof: &mut Proof<'z>) {
        match &self.denial {
            Denial::Plain => {}
            Denial::Nsec => proof.add(self.nsec_at_or_before(&KeyBuf::from_wire(name))),
            Denial::Nsec3 { salt, iterations } => {
                // The wildcard's signature tells where its encloser is (RFC 5155 section 7.2.6).
                if let Some((_, next_closer)) = self.provable_encloser(name) {
                    proof.add(self.hashed.covering(&nsec3_hash(&next_closer, salt, *iterations)));
                }
            }
        }
    }

    /// That the node has no records of the type asked for: it itself, or as the wildcard for the name asked for. Also
    /// that a delegation has no DS.
    pub fn prove_no_data<'z>(&'z self, node: &Node, name: &[u8], proof: &mut Proof<'z>) {
        let expanded = !node.owner.as_wire().eq_ignore_ascii_case(name);
        match &self.denial {
            Denial::Plain => {}
            Denial::Nsec => {
                proof.add(self.nsec_at_or_before(&node.owner.key()));
                if expanded {
                    proof.add(self.nsec_at_or_before(&KeyBuf::from_wire(name)));
                }
            }
            Denial::Nsec3 { salt, iterations } => {
                let own = self.hashed.exact(&nsec3_hash(&node.owner, salt, *iterations));
                if expanded {
                    self.prove_encloser(name, proof);
                } else if own.is_none() {
                    // Left out of the chain: an insecure delegation, or a name that only leads to such.
                    self.prove_encloser(node.owner.as_wire(), proof);
                }
                proof.add(own);
            }
        }
    }

    /// The node of the last name not behind `key` that has an NSEC record: what is in the zone but not its own has none.
    fn nsec_at_or_before(&self, key: &KeyBuf) -> Option<&Node> {
        let name = self.relative(key)?;
        self.nodes.at_or_before(name).map(|node| &**node).find(|node| node.rrset(Rtype::NSEC).is_some())
    }

    /// Length of the relative key of the closest encloser.
    fn encloser_octets(&self, key: &KeyBuf) -> Option<usize> {
        self.index.closest(self.relative(key)?).map(|(octets, _)| octets)
    }

    /// Proves the closest encloser of a name that has no NSEC3 record, and returns it.
    fn prove_encloser<'z>(&'z self, name: &[u8], proof: &mut Proof<'z>) -> Option<Name> {
        let Denial::Nsec3 { salt, iterations } = &self.denial else { return None };
        let (encloser, next_closer) = self.provable_encloser(name)?;
        proof.add(self.hashed.exact(&nsec3_hash(&encloser, salt, *iterations)));
        proof.add(self.hashed.covering(&nsec3_hash(&next_closer, salt, *iterations)));
        Some(encloser)
    }

    /// The deepest name above `name` that has an NSEC3 record, and the name one label longer. With opt-out that may be
    /// above the closest encloser.
    fn provable_encloser(&self, name: &[u8]) -> Option<(Name, Name)> {
        let Denial::Nsec3 { salt, iterations } = &self.denial else { return None };
        let key = KeyBuf::from_wire(name);
        let octets = self.apex_key.len() + self.encloser_octets(&key)?;
        let labels = key.as_bytes().get(..octets)?.iter().filter(|octet| **octet == 0).count();
        let mut next_closer = Name::from_wire(name).ok()?;
        while next_closer.label_count() > labels + 1 {
            next_closer = next_closer.parent()?;
        }
        // A name that exists and has no record is its own next closer name.
        loop {
            let encloser = next_closer.parent().filter(|encloser| encloser.is_at_or_below(&self.apex))?;
            if self.hashed.exact(&nsec3_hash(&encloser, salt, *iterations)).is_some() {
                return Some((encloser, next_closer));
            }
            next_closer = encloser;
        }
    }
}
