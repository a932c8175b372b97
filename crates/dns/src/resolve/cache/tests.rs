use super::*;
use crate::wire::RrSetBuilder;

const BOUNDS: TtlBounds = TtlBounds {
    min: Duration::ZERO,
    max: Duration::from_secs(86_400),
    max_negative: Duration::from_secs(3600),
    stale: Duration::ZERO,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn a(ttl: u32) -> Arc<RrSet> {
    let mut set = RrSetBuilder::new(Rtype::A, ttl);
    set.push(&[192, 0, 2, 1]);
    Arc::new(set.build().unwrap())
}

fn plain() -> Proven {
    Proven::not(Security::Indeterminate)
}

#[test]
fn ttls_count_down_and_end() {
    let (cache, start) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
    let owner = name("mx.beta.test");
    cache.put_positive(&owner, a(300), plain(), start);
    let at = |seconds| cache.answer(&name("MX.Beta.Test"), Rtype::A, start + Duration::from_secs(seconds));
    assert_eq!(at(0).unwrap().ttl, 300);
    assert_eq!(at(299).unwrap().ttl, 1);
    assert!(at(300).is_none());
    assert_eq!(cache.names(), 1);
    cache.forget_expired(start + Duration::from_secs(300));
    assert_eq!((cache.names(), cache.octets()), (0, 0));
}

#[test]
fn ttls_are_capped_and_zero_is_not_kept() {
    let (cache, start) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
    cache.put_positive(&name("long"), a(0x7fff_ffff), plain(), start);
    assert_eq!(cache.answer(&name("long"), Rtype::A, start).unwrap().ttl, 86_400);
    cache.put_positive(&name("zero"), a(0), plain(), start);
    assert!(cache.answer(&name("zero"), Rtype::A, start).is_none());
    cache.put_negative(&name("gone"), Entry::NxDomain(None), 100_000, plain(), start);
    assert_eq!(cache.answer(&name("gone"), Rtype::A, start).unwrap().ttl, 3600);
}

#[test]
fn what_contradicts_replaces() {
    let (cache, now) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
    let owner = name("x.test");
    cache.put_negative(&owner, Entry::NxDomain(None), 60, plain(), now);
    assert!(matches!(cache.answer(&owner, Rtype::MX, now).unwrap().entry, Entry::NxDomain(_)));
    cache.put_positive(&owner, a(60), plain(), now);
    assert!(cache.answer(&owner, Rtype::MX, now).is_none());
    cache.put_negative(&owner, Entry::NoData(Rtype::MX, None), 60, plain(), now);
    assert!(matches!(cache.answer(&owner, Rtype::A, now).unwrap().entry, Entry::Positive(_)));
    assert!(matches!(cache.answer(&owner, Rtype::MX, now).unwrap().entry, Entry::NoData(..)));
    let mut alias = RrSetBuilder::new(Rtype::CNAME, 60);
    alias.push(name("y.test").as_wire());
    cache.put_positive(&owner, Arc::new(alias.build().unwrap()), plain(), now);
    match cache.answer(&owner, Rtype::A, now).unwrap().entry {
        Entry::Positive(rrset) => assert_eq!(rrset.rtype, Rtype::CNAME),
        other => panic!("{other:?}"),
    }
}

#[test]
fn failures_are_kept_longer_each_time_and_end_with_success() {
    let (cache, start) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
    let (owner, first, most) = (name("down.test"), Duration::from_secs(5), Duration::from_secs(60));
    let fails = |at: u64| cache.failure(&owner, Rtype::A, start + Duration::from_secs(at)).is_some();
    cache.put_failure(&owner, Rtype::A, "timeout".into(), first, most, start);
    assert!(fails(4) && !fails(5));
    assert!(cache.failure(&owner, Rtype::MX, start).is_none());
    cache.put_failure(&owner, Rtype::A, "timeout".into(), first, most, start + Duration::from_secs(6));
    assert!(fails(15) && !fails(16));
    cache.put_positive(&owner, a(1), plain(), start + Duration::from_secs(17));
    cache.put_failure(&owner, Rtype::A, "timeout".into(), first, most, start + Duration::from_secs(20));
    assert!(fails(24) && !fails(25));
}

#[test]
fn the_bound_holds_and_names_in_use_stay() {
    let (cache, now) = (Cache::new(256 * 1024, BOUNDS), Duration::from_secs(1000));
    let kept = name("kept.test");
    cache.put_positive(&kept, a(3600), plain(), now);
    for index in 0..20_000 {
        cache.put_positive(&name(&format!("n{index}.flood.test")), a(3600), plain(), now);
        assert!(cache.answer(&kept, Rtype::A, now).is_some(), "{index}");
    }
    assert!(cache.octets() <= 256 * 1024, "{}", cache.octets());
    assert!(cache.names() > 200, "{}", cache.names());
}

#[test]
fn a_name_and_all_below_it_are_flushed() {
    let (cache, now) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
    for owner in ["beta.test", "mx.beta.test", "alpha.test", "xbeta.test"] {
        cache.put_positive(&name(owner), a(60), plain(), now);
    }
    assert_eq!(cache.dump(&name("test"), now).len(), 4);
    assert_eq!(cache.flush(&name("beta.test")), 2);
    assert!(cache.answer(&name("xbeta.test"), Rtype::A, now).is_some());
    assert_eq!(cache.flush(&Name::root()), 2);
    assert_eq!(cache.octets(), 0);
}
