//! Dynamic updates (RFC 2136): what they make of a zone is a zone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postroad_dns::zone::{Update, Zone, zone_from_text};

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let text = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\nb CNAME a\nc NS ns.c\n";
    zone_from_text(&"test".parse().unwrap(), text).unwrap()
});

fuzz_target!(|request: &[u8]| {
    let Ok(update) = Update::parse(request) else { return };
    if let Ok(Some(zone)) = update.apply(&ZONE) {
        assert!(zone.soa().is_some() && zone.records() >= 2);
    }
});
