//! Zone files: a text is a zone or is told to be none, and what is shown of a zone's records reads back to the same.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use postroad_dns::resolve::Delegation;
use postroad_dns::wire::{Name, display_rdata, validate_rdata};
use postroad_dns::zone::zone_from_text;

fuzz_target!(|text: &str| {
    let origin: Name = "test".parse().unwrap();
    let _ = Delegation::root_from_hints(text.as_bytes(), Path::new("hints"));
    let Ok(zone) = zone_from_text(&origin, text) else { return };
    if zone.records() > 200 {
        return;
    }
    let mut shown = String::new();
    for node in zone.nodes() {
        for (_, set) in node.all_sets() {
            for rdata in set.iter() {
                assert!(validate_rdata(set.rtype, rdata));
                let data = display_rdata(set.rtype, rdata);
                shown.push_str(&format!("{} {} IN {} {data}\n", node.owner, set.ttl, set.rtype));
            }
        }
    }
    let again = zone_from_text(&origin, &shown).expect("what is shown can be read");
    assert_eq!(again.records(), zone.records(), "{shown}");
});
