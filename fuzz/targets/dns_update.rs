//! Dynamic updates (RFC 2136) and commits: what comes of one is a zone, newer than the one before.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postroad_dns::wire::Rtype;
use postroad_dns::zone::serial::is_newer;
use postroad_dns::zone::{Commit, Update, Zone, difference, zone_from_text};

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.3\nc CNAME a\nd DNAME x.\n";

static PRESENT: LazyLock<Zone> = LazyLock::new(|| zone_from_text(&"test".parse().unwrap(), ZONE).unwrap());

fn is_next(zone: &Zone) {
    assert!(is_newer(zone.serial(), PRESENT.serial()));
    let apex = zone.apex_node().expect("an apex");
    assert!(apex.rrset(Rtype::SOA).is_some() && apex.rrset(Rtype::NS).is_some());
    let delta = difference(&PRESENT, zone, 1 << 24).expect("a difference");
    assert_eq!((delta.from, delta.to), (PRESENT.serial(), zone.serial()));
}

fuzz_target!(|input: &[u8]| {
    if let Ok(update) = Update::parse(input)
        && let Ok(Some(zone)) = update.apply(&PRESENT)
    {
        is_next(&zone);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines = |sign: char| text.lines().filter_map(move |line| line.strip_prefix(sign)).map(str::to_owned);
    let (remove, add): (Vec<_>, Vec<_>) = (lines('-').collect(), lines('+').collect());
    if let Ok(commit) = Commit::read(PRESENT.apex(), None, &remove, &add)
        && let Ok(Some(zone)) = commit.apply(&PRESENT)
    {
        is_next(&zone);
    }
});
