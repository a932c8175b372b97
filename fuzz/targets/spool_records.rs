//! The spool's reader over records whose checksums are right and whose content is anything: it never panics, and what
//! it can't read costs no other message.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use postroad_store_local::spool::check;

const SALT: u64 = 7;
const HEADER_OCTETS: usize = 4096;

/// A directory in memory, if there is one.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let shm = PathBuf::from("/dev/shm");
        let base = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let directory = base.join(format!("postroad-fuzz-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    })
}

/// As `spool/frame.rs` of store-local describes it: a segment's head, twice.
fn segment_head(version: u32) -> Vec<u8> {
    let mut copy = b"PRspool\0".to_vec();
    for field in [version, 1, 1, 0] {
        copy.extend_from_slice(&field.to_le_bytes());
    }
    copy.extend_from_slice(&SALT.to_le_bytes());
    copy.extend_from_slice(&crc32fast::hash(&copy).to_le_bytes());
    let mut head = copy.clone();
    head.resize(HEADER_OCTETS / 2, 0);
    head.extend_from_slice(&copy);
    head.resize(HEADER_OCTETS, 0);
    head
}

fn put_record(segment: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let (begin, at) = (segment.len(), segment.len() as u32);
    segment.extend_from_slice(&[0xd7, b'P', b'R', b'q', kind, 0, 0, 0]);
    for field in [payload.len() as u32, 0, crc32fast::hash(payload)] {
        segment.extend_from_slice(&field.to_le_bytes());
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&SALT.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(&segment[begin..]);
    segment.extend_from_slice(&hasher.finalize().to_le_bytes());
    segment.extend_from_slice(payload);
}

fuzz_target!(|input: &[u8]| {
    let Some((version, mut rest)) = input.split_first() else { return };
    let mut segment = segment_head(1 + u32::from(version & 1));
    // Each record: its kind, its payload's length, the payload.
    while let [kind, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (payload, left) = more.split_at(length);
        put_record(&mut segment, 1 + kind % 5, payload);
        rest = left;
    }
    let directory = directory();
    fs::write(directory.join("00000001.seg"), &segment).unwrap();
    check(directory).unwrap();
});
