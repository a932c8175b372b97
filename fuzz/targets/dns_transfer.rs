//! Zone transfers as a primary sends them: a zone, changes that lead to one, or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use postroad_dns::transfer::incoming::{Brought, Incoming};
use postroad_dns::wire::Name;
use postroad_dns::zone::{zone_from_records, zone_from_text, zone_with_changes};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\n";

// The first octet says whether changes were asked for; messages follow with their lengths in front.
fuzz_target!(|octets: &[u8]| {
    let Some((first, mut rest)) = octets.split_first() else { return };
    let origin: Name = "test".parse().unwrap();
    let mut incoming = Incoming::new(7, origin.clone(), (first & 1 == 1).then_some(1));
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        match incoming.message(message) {
            Err(_) => return,
            Ok(None) => {}
            Ok(Some(Brought::Whole(records))) => {
                let _ = zone_from_records(&origin, Path::new(""), records, "fuzz");
                return;
            }
            Ok(Some(Brought::Changes(changes))) => {
                let old = zone_from_text(&origin, ZONE).unwrap();
                let _ = zone_with_changes(&old, changes, "fuzz");
                return;
            }
            Ok(Some(_)) => return,
        }
    }
});
