//! What the server keeps in files over a restart: versions of a signed zone, and the resolver's cache. Whatever stands there
//! is read or refused; what is read of a cache is the same when it is written and read again.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use postroad_dns::resolve::cache::saved::{Loaded, Settings, Times};
use postroad_dns::resolve::cache::{Cache, TtlBounds};
use postroad_dns::signing::kept::last_version;
use postroad_dns::wire::Name;
use postroad_dns::zone::{Zone, zone_from_text};

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\nb NS ns.b\nns.b A 192.0.2.3\n";
const TIMES: Times = Times { now: Duration::from_secs(1 << 20), wall: 1 << 31 };

static UNSIGNED: LazyLock<Zone> = LazyLock::new(|| zone_from_text(&"test".parse().unwrap(), ZONE).unwrap());

fn empty() -> Cache {
    let (week, hour) = (Duration::from_secs(604_800), Duration::from_secs(3600));
    Cache::new(1 << 24, TtlBounds { min: Duration::ZERO, max: week, max_negative: hour, stale: week })
}

fuzz_target!(|input: &[u8]| {
    if let Ok(zone) = last_version(&mut &input[..], &UNSIGNED) {
        assert!(zone.is_signed());
    }
    let cache = empty();
    if let Ok(Loaded::Entries { good, .. }) = cache.load(&mut &input[..], &Settings::default(), TIMES) {
        let mut saved = Vec::new();
        let kept = cache.save(&mut saved, &Settings::default(), TIMES).unwrap();
        assert!(kept <= good);
        let again = empty();
        let loaded = again.load(&mut &saved[..], &Settings::default(), TIMES).unwrap();
        assert_eq!(loaded, Loaded::Entries { good: kept, damaged: 0 });
        let shown = |cache: &Cache| format!("{:?}", cache.dump(&Name::root(), TIMES.now));
        assert_eq!(shown(&again), shown(&cache));
    }
});
