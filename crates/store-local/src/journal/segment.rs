//! One file of the journal.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use postroad_store::StoreError;

use super::record::Record;
use crate::maildir::sync_dir;

const MAGIC: &[u8; 4] = b"PRj1";
/// Magic, segment number, length, checksum.
const HEAD_OCTETS: usize = 4 + 8 + 4 + 4;

#[derive(Debug)]
pub struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    /// Appends whose mail is not in its Maildir yet.
    held: AtomicUsize,
    /// It is not written to any more.
    sealed: AtomicBool,
}

impl Segment {
    /// Begins a segment, on top of a file that is no longer needed where there is one.
    pub fn begin(dir: &Path, number: u64, reusable: Option<PathBuf>) -> Result<Self, StoreError> {
        let path = dir.join(format!("journal-{number:010}"));
        let failed = |e| StoreError::io(format_args!("beginning {}", path.display()), &e);
        if let Some(old) = reusable {
            fs::rename(old, &path).map_err(failed)?;
        }
        let mut options = File::options();
        let file =
            options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        sync_dir(dir)?;
        Ok(Segment { number, path, file, held: AtomicUsize::new(0), sealed: AtomicBool::new(false) })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes records at `offset` and flushes; returns how many octets they took.
    pub fn append(&self, offset: u64, payloads: &[Vec<u8>]) -> Result<u64, StoreError> {
        let size = payloads.iter().map(|payload| payload.len() + HEAD_OCTETS).sum();
        let mut octets = Vec::with_capacity(size);
        for payload in payloads {
            frame(self.number, payload, &mut octets)?;
        }
        let written = self.file.write_all_at(&octets, offset).and_then(|()| self.file.sync_data());
        written.map_err(|e| StoreError::io(format_args!("writing {}", self.path.display()), &e))?;
        Ok(octets.len() as u64)
    }

    pub fn hold(&self, appends: usize) {
        self.held.fetch_add(appends, Ordering::AcqRel);
    }

    pub fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Whether that was the last that held it, and nobody will again.
    pub fn let_go(&self) -> bool {
        self.held.fetch_sub(1, Ordering::AcqRel) == 1 && self.sealed.load(Ordering::Acquire)
    }

    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }
}

fn frame(number: u64, payload: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let length = u32::try_from(payload.len())
        .map_err(|_| StoreError::Invalid("a message is too large for the journal".into()))?;
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(number, payload).to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

fn checksum(number: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The sound record that `octets` begin with, and its length.
fn sound(number: u64, octets: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = octets.split_at_checked(HEAD_OCTETS)?;
    let (magic, head) = head.split_at_checked(4)?;
    let (at, head) = head.split_first_chunk::<8>()?;
    let (length, head) = head.split_first_chunk::<4>()?;
    let sum = u32::from_le_bytes(*head.first_chunk::<4>()?);
    if magic != MAGIC || u64::from_le_bytes(*at) != number {
        return None;
    }
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (checksum(number, payload) == sum).then_some((payload, HEAD_OCTETS + payload.len()))
}

/// Reads a segment's records. What can't be read is passed over and reported.
pub fn read(number: u64, path: &Path, records: &mut Vec<Record>) -> Result<(), StoreError> {
    let octets =
        fs::read(path).map_err(|e| StoreError::io(format_args!("reading {}", path.display()), &e))?;
    let mut begin = MAGIC.to_vec();
    begin.extend_from_slice(&number.to_le_bytes());
    let (mut at, mut damaged) = (0, false);
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((payload, length)) = sound(number, rest) {
            match Record::decode(payload) {
                Some(record) => records.push(record),
                None => damaged = true,
            }
            at += length;
            continue;
        }
        // The end; or damage, when a sound record follows.
        let next = find(rest, 1, &begin, |tail| sound(number, tail).is_some());
        let Some(next) = next else { break };
        damaged = true;
        at += next;
    }
    if damaged {
        let kept = path.with_file_name(format!("damaged-{number:010}"));
        fs::copy(path, &kept).map_err(|e| StoreError::io(format_args!("copying {}", path.display()), &e))?;
        tracing::error!(
            segment = %path.display(), kept = %kept.display(),
            "the journal has a damaged record: mail delivered shortly before the crash may be incomplete"
        );
    }
    Ok(())
}

/// The first place from `from` on where `pattern` begins something acceptable.
fn find(octets: &[u8], from: usize, pattern: &[u8], accept: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = octets.get(at..)?;
        at += rest.windows(pattern.len()).position(|window| window == pattern)?;
        if octets.get(at..).is_some_and(&accept) {
            return Some(at);
        }
        at += 1;
    }
}

/// The journal's files as a start finds them.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their numbers.
    pub segments: Vec<(u64, PathBuf)>,
    pub free: Vec<PathBuf>,
    numbers_of_free: Vec<u64>,
}

impl Found {
    pub fn list(dir: &Path) -> Result<Self, StoreError> {
        let failed = |e| StoreError::io(format_args!("listing {}", dir.display()), &e);
        let mut found = Found::default();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some((kind, number)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
            let Ok(number) = number.parse() else { continue };
            match kind {
                "journal" => found.segments.push((number, entry.path())),
                "free" => {
                    found.free.push(entry.path());
                    found.numbers_of_free.push(number);
                }
                _ => {}
            }
        }
        found.segments.sort_unstable();
        Ok(found)
    }

    /// Numbers only rise, or an old file's records could count again.
    pub fn last_number(&self) -> u64 {
        let used = self.segments.iter().map(|(number, _)| *number);
        used.chain(self.numbers_of_free.iter().copied()).max().unwrap_or(0)
    }
}
