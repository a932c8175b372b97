//! The signed version of a zone as it is kept over a restart: the whole of one version, and behind it what differs in those
//! that came after, each with its end; so a change costs the disk what differs, too. When as much has come behind as there
//! was, the whole is written anew.
//!
//! ```text
//!  "postroad signed 1\n"  frame…            frame: octets u32, kind u8, content, SHA-256 of kind and content (first 8 octets)
//!                                            kinds: names; the end of a version with its serial
//!  name: flags u8 (1: a hash, 2: gone), owner, number of sets u16, for each: type u16, covered u16, TTL u32, octets u32, data
//! ```
//!
//! What a crash left half written is cut off with the next version.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::dnssec::hashed::hash_of_owner;
use crate::wire::{Name, RrSet, Rtype};
use crate::zone::{Node, NodeChanges, Owner, Zone};

const MAGIC: &[u8] = b"postroad signed 1\n";
const NAMES: u8 = 1;
const END: u8 = 2;
const HASH: u8 = 1;
const GONE: u8 = 2;
const SUM_OCTETS: usize = 8;
/// Chance never guesses a checksum; what is behind it must stand anything.
#[allow(unexpected_cfgs, reason = "it is set where inputs are made by chance, as fuzzers do")]
const SUMS_COUNT: bool = !cfg!(fuzzing);
/// A frame is closed when it has so many octets; one name may make it longer.
const FRAME_OCTETS: usize = 64 * 1024;
const FRAME_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// So much may come behind any whole version.
const BEHIND_OCTETS: u64 = 1024 * 1024;

/// The file of a zone.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    state: Option<State>,
}

/// What is in it.
#[derive(Debug, Clone, Copy)]
struct State {
    serial: u32,
    /// Octets of the whole version, and of everything.
    whole: u64,
    all: u64,
}

impl KeptFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: None }
    }

    /// The last version, which shares with the zone below what is in both. `None` if there is none. Blocks on the file.
    pub(super) fn read(&mut self, unsigned: &Zone) -> io::Result<Option<Zone>> {
        self.state = None;
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (zone, state) = read(&mut BufReader::with_capacity(FRAME_OCTETS, file), unsigned)?;
        self.state = Some(state);
        Ok(Some(zone))
    }

    /// Keeps a version; `before` is one of which what differs may be enough. Blocks on the file.
    pub(super) fn write(&mut self, before: Option<&Zone>, zone: &Zone) -> io::Result<()> {
        // What fails in the middle is not relied upon.
        let state = self.state.take();
        if state.is_some_and(|state| state.serial == zone.serial()) {
            self.state = state;
            return Ok(());
        }
        let room = |state: &State| state.all - state.whole < state.whole.max(BEHIND_OCTETS);
        let behind = state.filter(room).zip(before).filter(|(state, before)| before.serial() == state.serial);
        let state = match behind {
            Some((state, before)) => self.append(state, before, zone)?,
            None => self.replace(zone)?,
        };
        self.state = Some(state);
        Ok(())
    }

    fn append(&self, state: State, before: &Zone, zone: &Zone) -> io::Result<State> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(state.all)?;
        file.seek(io::SeekFrom::End(0))?;
        let mut to = Frames::new(BufWriter::new(file), state.all);
        let names = before.tree().differences(zone.tree()).map(|pair| (0, pair));
        let hashes = before.hashes().differences(zone.hashes()).map(|pair| (HASH, pair));
        for (flags, (old, new)) in names.chain(hashes) {
            match (old, new) {
                (_, Some(new)) => to.name(flags, &new.owner, Some(new))?,
                (Some(old), None) => to.name(flags | GONE, &old.owner, None)?,
                (None, None) => {}
            }
        }
        let (file, all) = to.end(zone.serial())?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        Ok(State { serial: zone.serial(), all, ..state })
    }

    fn replace(&self, zone: &Zone) -> io::Result<State> {
        let beside = self.path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let mut to = BufWriter::with_capacity(FRAME_OCTETS, file);
        to.write_all(MAGIC)?;
        let mut to = Frames::new(to, MAGIC.len() as u64);
        for node in zone.tree().iter() {
            to.name(0, &node.owner, Some(node))?;
        }
        for node in zone.hashes().iter() {
            to.name(HASH, &node.owner, Some(node))?;
        }
        let (file, all) = to.end(zone.serial())?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(State { serial: zone.serial(), whole: all, all })
    }
}

/// The last version that is whole in what a file of a signed zone holds.
pub fn last_version(from: &mut impl io::Read, unsigned: &Zone) -> io::Result<Zone> {
    read(from, unsigned).map(|(zone, _)| zone)
}

fn read(from: &mut impl io::Read, unsigned: &Zone) -> io::Result<(Zone, State)> {
    let mut reading = Reading { unsigned, whole: None, pending: Vec::new(), ends: (0, 0), at: 0 };
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(malformed("it is of another kind, or of another release"));
    }
    reading.at = MAGIC.len() as u64;
    while let Some((kind, content)) = frame(from, &mut reading.at)? {
        match kind {
            NAMES => reading.names(&content)?,
            END => reading.end()?,
            _ => return Err(malformed("a part of it is of no known kind")),
        }
    }
    let (whole, all) = reading.ends;
    let zone = reading.whole.filter(Zone::is_signed).ok_or_else(|| malformed("no version in it is whole"))?;
    let state = State { serial: zone.serial(), whole, all };
    Ok((zone, state))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn sum(kind: u8, content: &[u8]) -> [u8; SUM_OCTETS] {
    let whole = digest(&SHA256, &[&[kind], content].concat());
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

/// The next frame; `None` at the end, also where the rest is not whole.
fn frame(from: &mut impl io::Read, at: &mut u64) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 5];
    let mut content = Vec::new();
    let mut known = [0; SUM_OCTETS];
    let mut read = || {
        from.read_exact(&mut head)?;
        let [octets @ .., kind] = head;
        let octets = u32::from_be_bytes(octets) as usize;
        if octets > FRAME_OCTETS_MAX {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        content.resize(octets, 0);
        from.read_exact(&mut content)?;
        from.read_exact(&mut known)?;
        Ok(kind)
    };
    match read() {
        Ok(kind) if !SUMS_COUNT || sum(kind, &content) == known => {
            *at += (head.len() + content.len() + known.len()) as u64;
            Ok(Some((kind, content)))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes frames.
struct Frames<W> {
    to: W,
    content: Vec<u8>,
    at: u64,
}

impl<W: Write> Frames<W> {
    fn new(to: W, at: u64) -> Self {
        Self { to, content: Vec::with_capacity(2 * FRAME_OCTETS), at }
    }

    fn name(&mut self, flags: u8, owner: &Name, node: Option<&Arc<Node>>) -> io::Result<()> {
        self.content.push(flags);
        self.content.extend_from_slice(owner.as_wire());
        let sets = || node.into_iter().flat_map(|node| node.all_sets());
        self.content.extend_from_slice(&(sets().count() as u16).to_be_bytes());
        for (covered, set) in sets() {
            self.content.extend_from_slice(&set.rtype.0.to_be_bytes());
            self.content.extend_from_slice(&covered.0.to_be_bytes());
            self.content.extend_from_slice(&set.ttl.to_be_bytes());
            self.content.extend_from_slice(&(set.packed().len() as u32).to_be_bytes());
            self.content.extend_from_slice(set.packed());
        }
        if self.content.len() >= FRAME_OCTETS { self.flush(NAMES) } else { Ok(()) }
    }

    fn flush(&mut self, kind: u8) -> io::Result<()> {
        self.to.write_all(&(self.content.len() as u32).to_be_bytes())?;
        self.to.write_all(&[kind])?;
        self.to.write_all(&self.content)?;
        self.to.write_all(&sum(kind, &self.content))?;
        self.at += (5 + self.content.len() + SUM_OCTETS) as u64;
        self.content.clear();
        Ok(())
    }

    /// Ends a version; what it was written to, and the octets there.
    fn end(mut self, serial: u32) -> io::Result<(W, u64)> {
        self.flush(NAMES)?;
        self.content.extend_from_slice(&serial.to_be_bytes());
        self.flush(END)?;
        Ok((self.to, self.at))
    }
}

/// A name as it stands in the file.
struct Kept {
    is_hash: bool,
    now: Now,
}

/// What is there now.
enum Now {
    Node(Arc<Node>),
    /// Nothing at this key.
    Gone(Box<[u8]>),
}

impl Kept {
    fn key(&self) -> &[u8] {
        match &self.now {
            Now::Node(node) => node.key(),
            Now::Gone(key) => key,
        }
    }
}

/// The versions so far.
struct Reading<'a> {
    unsigned: &'a Zone,
    whole: Option<Zone>,
    /// Of the version that is under way.
    pending: Vec<Kept>,
    /// Where the whole version ends, and the last.
    ends: (u64, u64),
    at: u64,
}

impl Reading<'_> {
    fn names(&mut self, mut content: &[u8]) -> io::Result<()> {
        while !content.is_empty() {
            let (kept, rest) = self.name(content).ok_or_else(|| malformed("a name in it has no form"))?;
            self.pending.push(kept);
            content = rest;
        }
        Ok(())
    }

    fn name<'c>(&self, content: &'c [u8]) -> Option<(Kept, &'c [u8])> {
        let (flags, rest) = content.split_first()?;
        let (owner, rest) = Name::from_wire_prefix(rest).ok()?;
        let (count, mut rest) = rest.split_first_chunk::<2>()?;
        let (mut own, mut denial, mut signatures) = (Vec::new(), None, Vec::new());
        for _ in 0..u16::from_be_bytes(*count) {
            let (head, after) = rest.split_first_chunk::<12>()?;
            let [t0, t1, c0, c1, l0, l1, l2, l3, o0, o1, o2, o3] = *head;
            let (packed, after) = after.split_at_checked(u32::from_be_bytes([o0, o1, o2, o3]) as usize)?;
            let rtype = Rtype(u16::from_be_bytes([t0, t1]));
            let set = RrSet::from_packed(rtype, u32::from_be_bytes([l0, l1, l2, l3]), packed)?;
            match rtype {
                Rtype::RRSIG => signatures.push((Rtype(u16::from_be_bytes([c0, c1])), set)),
                Rtype::NSEC | Rtype::NSEC3 => denial = Some(set),
                _ => own.push(set),
            }
            rest = after;
        }
        let apex = self.unsigned.apex();
        let is_hash = flags & HASH != 0;
        let key: Box<[u8]> = if is_hash {
            hash_of_owner(&owner, apex)?.into()
        } else {
            owner
                .is_at_or_below(apex)
                .then(|| owner.key())?
                .as_bytes()
                .get(apex.key().as_bytes().len()..)?
                .into()
        };
        let below = self.unsigned.at(&key).filter(|_| !is_hash);
        if flags & GONE != 0 {
            return Some((Kept { is_hash, now: Now::Gone(key) }, rest));
        }
        let node = if let Some(below) = below {
            let is_same = |(left, right): (&RrSet, &RrSet)| {
                (left.rtype, left.ttl, left.packed()) == (right.rtype, right.ttl, right.packed())
            };
            let shared = below.own_sets();
            let same = own.len() == shared.len() && own.iter().zip(shared.iter()).all(is_same);
            let sets = if same { Arc::clone(shared) } else { own.into() };
            Node::new(Arc::clone(&below.owner), sets, denial, signatures).placed_as(below)
        } else {
            Node::new(Arc::new(Owner::new(owner, key)), own.into(), denial, signatures)
        };
        Some((Kept { is_hash, now: Now::Node(Arc::new(node)) }, rest))
    }

    fn end(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.ends.1 = self.at;
        if let Some(whole) = self.whole.take() {
            let (mut names, mut hashes) = (NodeChanges::new(), NodeChanges::new());
            for kept in pending {
                let changes = if kept.is_hash { &mut hashes } else { &mut names };
                let key = kept.key().into();
                changes.insert(
                    key,
                    match kept.now {
                        Now::Node(node) => Some(node),
                        Now::Gone(_) => None,
                    },
                );
            }
            self.whole = Some(whole.with_nodes(&names, &hashes));
            return Ok(());
        }
        self.ends.0 = self.at;
        let ordered = pending.windows(2).all(|pair| match pair {
            [left, right] => (left.is_hash, left.key()) < (right.is_hash, right.key()),
            _ => true,
        });
        if !ordered {
            return Err(malformed("its names are in no order"));
        }
        let first_hash = pending.partition_point(|kept| !kept.is_hash);
        let nodes = pending.into_iter().filter_map(|kept| match kept.now {
            Now::Node(node) => Some(node),
            Now::Gone(_) => None,
        });
        let mut nodes: Vec<Arc<Node>> = nodes.collect();
        let hashes = nodes.split_off(first_hash.min(nodes.len()));
        self.whole = Some(Zone::of_nodes(self.unsigned.apex(), self.unsigned.file(), nodes, hashes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::Algorithm;
    use crate::keys::{Denial, Role};
    use crate::signing::sign::tests::{inputs, key, policy};
    use crate::signing::{Inputs, sign};
    use crate::zone::zone_from_text;

    fn below(records: &str) -> Zone {
        let text = format!("$TTL 60\n@ SOA ns.other. h 1 1 1 1 1\n@ NS ns.other.\n{records}");
        zone_from_text(&"example".parse().unwrap(), &text).unwrap()
    }

    fn shown(zone: &Zone) -> Vec<String> {
        let show = |node: &Arc<Node>| {
            let sets: Vec<_> =
                node.all_sets().map(|(covered, set)| (covered, set.rtype, set.ttl, set.packed())).collect();
            format!("{} {:?} {sets:?}", node.owner, node.marks())
        };
        zone.tree().iter().chain(zone.hashes().iter()).map(show).collect()
    }

    #[test]
    fn versions_come_back_and_what_is_half_written_does_not_count() {
        for denial in [Denial::Nsec, Denial::Nsec3] {
            let (keys, policy) = ([key(Algorithm::ED25519, Role::Csk)], policy(denial));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("signed.zone");
            let mut file = KeptFile::new(path.clone());
            assert!(file.read(&below("")).unwrap().is_none());
            let mut present: Option<Zone> = None;
            let mut lengths = Vec::new();
            for records in [
                "a A 192.0.2.1\nb.c TXT x\n",
                "a A 192.0.2.2\nb.c TXT x\nd NS e.d\ne.d A 192.0.2.3\n",
                "z A 192.0.2.1\n",
            ] {
                let unsigned = below(records);
                let serial = present.as_ref().map(Zone::serial);
                let inputs = Inputs { serial, ..inputs(&unsigned, present.as_ref(), &keys, &policy) };
                let zone = sign(inputs).unwrap().zone.unwrap();
                file.write(present.as_ref(), &zone).unwrap();
                lengths.push(fs::metadata(&path).unwrap().len());
                let again = KeptFile::new(path.clone()).read(&unsigned).unwrap().unwrap();
                assert_eq!(shown(&again), shown(&zone));
                assert_eq!((again.serial(), again.records()), (zone.serial(), zone.records()));
                // What is the same below is there once.
                let one =
                    unsigned.tree().iter().find(|node| !node.key().is_empty() && !node.is_empty()).unwrap();
                assert!(Arc::ptr_eq(again.at(one.key()).unwrap().own_sets(), one.own_sets()));
                present = Some(zone);
            }
            assert!(lengths.is_sorted());
            let whole = fs::read(&path).unwrap();
            let unsigned = below("");
            for length in (0..whole.len()).step_by(7) {
                fs::write(&path, &whole[..length]).unwrap();
                let mut cut = KeptFile::new(path.clone());
                match cut.read(&unsigned) {
                    Ok(zone) => {
                        let serial = zone.unwrap().serial();
                        let expected = lengths.iter().filter(|end| **end <= length as u64).count() as u32;
                        assert_eq!(serial, expected);
                        let zone = present.as_ref().unwrap();
                        cut.write(None, zone).unwrap();
                        assert_eq!(
                            KeptFile::new(path.clone()).read(&unsigned).unwrap().unwrap().serial(),
                            zone.serial()
                        );
                    }
                    Err(_) => assert!(lengths.iter().all(|end| *end > length as u64)),
                }
            }
            let mut wrong = whole.clone();
            wrong[lengths[0] as usize + 9] ^= 1;
            fs::write(&path, &wrong).unwrap();
            assert_eq!(KeptFile::new(path.clone()).read(&unsigned).unwrap().unwrap().serial(), 1);
        }
    }
}
