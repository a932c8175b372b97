//! Zone files, and what is shown of a zone: it reads back to the same records.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use postroad_dns::resolve::Delegation;
use postroad_dns::wire::{Name, Rtype, display_rdata, validate_rdata};
use postroad_dns::zone::{RecordPlace, Zone, zone_from_text};

fn records(zone: &Zone) -> Vec<(Name, Rtype, u32, Vec<u8>)> {
    let mut records = Vec::new();
    zone.walk(&RecordPlace::default(), |node, rrset, rdata| {
        records.push((Name::clone(&node.owner), rrset.rtype, rrset.ttl, rdata.to_vec()));
        true
    });
    records.sort_by_key(|record| (record.0.to_string(), record.1.0, record.3.clone()));
    records
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A line may make a million records, which is allowed and takes its time.
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
    if text.contains("GENERATE") && digits > Some(4) {
        return;
    }
    let origin: Name = "test".parse().unwrap();
    let _ = Delegation::root_from_hints(input, Path::new("hints"));
    let Ok(zone) = zone_from_text(&origin, text) else { return };
    let before = records(&zone);
    let mut shown = String::new();
    for (owner, rtype, ttl, rdata) in &before {
        assert!(validate_rdata(*rtype, rdata));
        // These have more than one text for the same octets.
        let data = if matches!(*rtype, Rtype::SVCB | Rtype::HTTPS) {
            let digits: String = rdata.iter().map(|octet| format!("{octet:02X}")).collect();
            format!("\\# {} {digits}", rdata.len())
        } else {
            display_rdata(*rtype, rdata)
        };
        shown.push_str(&format!("{owner} {ttl} IN {rtype} {data}\n"));
    }
    let again = zone_from_text(&origin, &shown).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
    assert_eq!(records(&again), before);
});
