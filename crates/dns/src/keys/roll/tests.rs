//! Whole rolls on a fake clock. Every version of the DS set, of the DNSKEY set and of signed records that was ever served
//! is remembered; at each instant everything that a validator may hold of them must validate together.

use super::*;

const KEY_TTL: u32 = 3600;
const ZONE_TTL: u32 = 7200;
const DS_TTL: u32 = 86_400;
const RECORDS: usize = 5;

fn policy() -> Policy {
    Policy {
        validity: 20_000,
        refresh: 10_000,
        jitter: 0,
        propagation: 300,
        parent_propagation: 600,
        parent_ds_ttl: DS_TTL,
        zsk_lifetime: 0,
        ..Policy::default()
    }
}

/// Tags with their algorithms.
type Tags = BTreeSet<(u16, Algorithm)>;

/// What was served from one time on until the next.
struct Served<T>(Vec<(u64, T)>);

impl<T: Clone + PartialEq> Served<T> {
    fn put(&mut self, now: u64, version: T) {
        if self.0.last().is_none_or(|(_, last)| *last != version) {
            self.0.push((now, version));
        }
    }

    /// All that caches may hold at `now` when they keep it for `keep` seconds.
    fn held(&self, now: u64, keep: u64) -> impl Iterator<Item = &T> {
        let ends = self.0.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
        // What was replaced right now was still served the moment before.
        self.0
            .iter()
            .zip(ends)
            .filter(move |(_, end)| *end == u64::MAX || end + keep > now)
            .map(|((_, version), _)| version)
    }
}

#[derive(Clone, PartialEq)]
struct KeySet {
    keys: Tags,
    signed_by: BTreeSet<u16>,
}

struct World {
    policy: Policy,
    keys: Vec<KeyState>,
    now: u64,
    next_tag: u16,
    /// For each record the keys that have signed it and until when it need not be signed anew.
    records: Vec<(Tags, u64)>,
    zone: Vec<Served<Tags>>,
    key_sets: Served<KeySet>,
    ds: Served<Tags>,
    /// The parent does what CDS says so many seconds later.
    parent_delay: u64,
    parent_wants: Vec<(u64, Tags)>,
    log: Vec<String>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            keys: Vec::new(),
            now: 1_000_000,
            next_tag: 1,
            records: vec![(Tags::new(), 0); RECORDS],
            // Until then it was served without signatures.
            zone: (0..RECORDS).map(|_| Served(vec![(0, Tags::new())])).collect(),
            key_sets: Served(vec![(0, KeySet { keys: Tags::new(), signed_by: BTreeSet::new() })]),
            ds: Served(vec![(0, Tags::new())]),
            parent_delay: 5000,
            parent_wants: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Does all that is due now, and checks what may be held by then. When to look again.
    fn turn(&mut self) -> u64 {
        self.parent();
        let events = loop {
            let signed_by =
                self.records.iter().flat_map(|(tags, _)| tags.iter().map(|(tag, _)| *tag)).collect();
            let on_parent = self.ds.0.last().unwrap().1.clone();
            let ds: Vec<DsSeen> = self.keys.iter().map(|key| self.seen(key, &on_parent)).collect();
            let facts = Facts { zone_ttl: ZONE_TTL, key_ttl: KEY_TTL, signed_by: &signed_by, ds: &ds };
            let step = step(&self.policy, &mut self.keys, self.now, facts);
            for (role, algorithm) in step.generate.iter().copied() {
                self.keys.push(KeyState::new(self.next_tag, algorithm, role, self.now));
                self.next_tag += 1;
            }
            self.log.extend(step.removed.iter().map(|key| format!("{} removed {}", self.now, key.tag)));
            let signed = self.sign();
            if !step.changed && !signed && step.generate.is_empty() {
                break step.events;
            }
        };
        self.serve();
        self.check();
        let resign = self.records.iter().map(|(_, due)| *due).min().unwrap();
        let parent = self.parent_wants.iter().map(|(at, _)| *at);
        let next = events.iter().filter_map(|event| event.at).chain(parent).chain([resign]).min().unwrap();
        assert!(next > self.now, "{} {events:?}", self.now);
        next
    }

    fn seen(&self, key: &KeyState, on_parent: &Tags) -> DsSeen {
        let there = on_parent.contains(&(key.tag, key.algorithm));
        let seen = if there { Seen::Everywhere } else { Seen::Nowhere };
        DsSeen { tag: key.tag, seen, ttl: there.then_some(DS_TTL) }
    }

    /// As the signer does: a record is signed once per algorithm, and anew when it is due or its key is not trusted.
    fn sign(&mut self) -> bool {
        let active: Vec<&KeyState> = self.keys.iter().filter(|key| key.signs_zone()).collect();
        let trusted: BTreeSet<u16> =
            self.keys.iter().filter(|key| key.is_trusted()).map(|key| key.tag).collect();
        let algorithms: BTreeSet<Algorithm> = active.iter().map(|key| key.algorithm).collect();
        let mut changed = false;
        for (index, (tags, due)) in self.records.iter_mut().enumerate() {
            let before = tags.clone();
            let renew = *due <= self.now;
            tags.retain(|(tag, algorithm)| !renew && trusted.contains(tag) && algorithms.contains(algorithm));
            for key in &active {
                if !tags.iter().any(|(_, algorithm)| *algorithm == key.algorithm) {
                    tags.insert((key.tag, key.algorithm));
                }
            }
            if renew {
                *due = self.now + 10_000 + 1000 * index as u64;
            }
            changed |= *tags != before;
        }
        changed
    }

    fn serve(&mut self) {
        for ((tags, _), served) in self.records.iter().zip(&mut self.zone) {
            served.put(self.now, tags.clone());
        }
        let published = self.keys.iter().filter(|key| key.is_published());
        let keys = published.map(|key| (key.tag, key.algorithm)).collect();
        let signed_by = self.keys.iter().filter(|key| key.signs_keys()).map(|key| key.tag).collect();
        self.key_sets.put(self.now, KeySet { keys, signed_by });
        let wanted: Tags =
            crate::keys::state::asked_of_parent(&self.keys).map(|key| (key.tag, key.algorithm)).collect();
        let last = self.parent_wants.last().map_or(&self.ds.0.last().unwrap().1, |(_, wants)| wants);
        if !wanted.is_empty() && *last != wanted {
            self.parent_wants.push((self.now + self.parent_delay, wanted));
        }
    }

    fn parent(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.parent_wants.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, wants) in due {
            self.ds.put(now, wants);
        }
    }

    /// Every DS set, DNSKEY set and signed record that caches may hold.
    fn check(&self) {
        let late = self.policy.propagation;
        for ds in self.ds.held(self.now, u64::from(DS_TTL) + self.policy.parent_propagation) {
            for key_set in self.key_sets.held(self.now, u64::from(KEY_TTL) + late) {
                if ds.is_empty() {
                    continue;
                }
                // RFC 4035 section 2.2: the set is signed with each algorithm of the DS set, by a key that it names.
                for (_, algorithm) in ds {
                    let entry = ds.iter().any(|key| {
                        key.1 == *algorithm
                            && key_set.keys.contains(key)
                            && key_set.signed_by.contains(&key.0)
                    });
                    assert!(entry, "{}: DS {ds:?}, keys {:?}\n{self:?}", self.now, key_set.keys);
                }
                // And each record with each algorithm of the DNSKEY set.
                let algorithms: BTreeSet<Algorithm> =
                    key_set.keys.iter().map(|(_, algorithm)| *algorithm).collect();
                for record in &self.zone {
                    for tags in record.held(self.now, u64::from(ZONE_TTL) + late) {
                        for algorithm in &algorithms {
                            let signed =
                                tags.iter().any(|key| key.1 == *algorithm && key_set.keys.contains(key));
                            assert!(
                                signed,
                                "{}: keys {:?}, signed by {tags:?}\n{self:?}",
                                self.now, key_set.keys
                            );
                        }
                    }
                }
            }
        }
    }

    /// Goes on until nothing but time's passing is awaited, for `seconds` at most.
    fn run(&mut self, seconds: u64) {
        let end = self.now + seconds;
        while self.now < end {
            let next = self.turn();
            // In between, too.
            let middle = self.now + (next - self.now) / 2;
            self.now = middle;
            self.check();
            self.now = next.min(end);
        }
        self.turn();
    }

    fn tags(&self) -> Vec<(u16, Role, &'static str)> {
        self.keys.iter().map(|key| (key.tag, key.role, crate::keys::words::state(key))).collect()
    }

    fn roll(&mut self, role: Option<Role>) {
        roll(&mut self.keys, role, self.now).unwrap();
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.log.join("\n"))?;
        self.keys.iter().try_for_each(|key| writeln!(f, "{key:?}"))
    }
}

const DAY: u64 = 86_400;

#[test]
fn a_new_zone_asks_for_its_ds_when_every_cache_knows_that_it_is_signed() {
    for single_key in [true, false] {
        let mut world = World::new(Policy { single_key, ..policy() });
        let start = world.now;
        world.turn();
        assert!(world.keys.iter().all(|key| key.published == Some(start)));
        world.run(3 * DAY);
        let key = world.keys.iter().find(|key| key.role.signs_keys()).unwrap();
        assert_eq!(key.ds_asked, Some(start + u64::from(ZONE_TTL) + 300));
        assert_eq!(key.ds_seen, Some(start + u64::from(ZONE_TTL) + 300 + 5000));
        assert!(world.keys.iter().all(|key| crate::keys::words::state(key) == "active"));
    }
}

#[test]
fn each_roll_keeps_the_zone_valid_for_every_cache() {
    for single_key in [true, false] {
        for role in [None, Some(Role::Ksk), Some(Role::Zsk)] {
            let mut world = World::new(Policy { single_key, ..policy() });
            world.run(3 * DAY);
            let before = world.tags();
            world.roll(role);
            assert_eq!(roll(&mut world.keys, role, world.now), Err(RollError::UnderWay));
            world.run(10 * DAY);
            let after = world.tags();
            assert_eq!(after.len(), before.len(), "{world:?}");
            let replaced = before.iter().filter(|key| !after.contains(key)).count();
            assert_eq!(replaced, if single_key || role.is_some() { 1 } else { 2 }, "{world:?}");
            assert!(after.iter().all(|(_, _, state)| *state == "active"), "{world:?}");
        }
    }
}

#[test]
fn an_algorithm_roll_keeps_the_zone_valid_for_every_cache() {
    for single_key in [true, false] {
        let mut world = World::new(Policy { single_key, ..policy() });
        world.run(3 * DAY);
        world.policy.algorithm = Algorithm::ED25519;
        world.turn();
        let new = |world: &World| {
            world.keys.iter().filter(|key| key.algorithm == Algorithm::ED25519).cloned().collect::<Vec<_>>()
        };
        assert!(new(&world).iter().all(|key| key.published.is_none()), "signatures come first");
        assert!(new(&world).iter().any(KeyState::signs_zone));
        world.run(10 * DAY);
        assert_eq!(new(&world).len(), world.keys.len(), "{world:?}");
        assert!(world.records.iter().all(|(tags, _)| tags.len() == 1));
        // And back again before it is through.
        world.policy.algorithm = Algorithm::RSASHA256;
        for wait in [4000, 9000, 20_000, 60_000] {
            world.run(wait);
            world.policy.algorithm = if world.policy.algorithm == Algorithm::ED25519 {
                Algorithm::RSASHA256
            } else {
                Algorithm::ED25519
            };
        }
        world.run(20 * DAY);
        assert!(world.keys.iter().all(|key| key.algorithm == world.policy.algorithm), "{world:?}");
    }
}

#[test]
fn a_zone_changes_between_one_key_and_two() {
    let mut world = World::new(policy());
    world.run(3 * DAY);
    for single_key in [false, true] {
        world.policy.single_key = single_key;
        world.run(10 * DAY);
        let roles: Vec<Role> = world.keys.iter().map(|key| key.role).collect();
        assert_eq!(roles, world.policy.roles(), "{world:?}");
    }
    // Both at once.
    world.policy = Policy { single_key: false, algorithm: Algorithm::ED25519, ..world.policy };
    world.run(10 * DAY);
    assert_eq!(world.keys.len(), 2, "{world:?}");
}

#[test]
fn keys_are_replaced_when_their_lifetime_is_over() {
    let mut world =
        World::new(Policy { single_key: false, zsk_lifetime: 10 * DAY, ksk_lifetime: 30 * DAY, ..policy() });
    world.run(100 * DAY);
    // Ten ZSKs and three KSKs, but for what a roll takes.
    assert!((11..=16).contains(&world.next_tag), "{}\n{world:?}", world.next_tag);
    assert!(world.keys.len() <= 4);
}

#[test]
fn nothing_goes_before_the_parent_has_followed() {
    let mut world = World::new(policy());
    world.run(3 * DAY);
    world.parent_delay = 1000 * DAY;
    world.roll(None);
    world.run(100 * DAY);
    assert_eq!(world.tags(), [(1, Role::Csk, "retired"), (2, Role::Csk, "ready")]);
    assert!(world.keys[0].is_published() && !world.keys[0].signs_zone());
}

#[test]
fn a_ds_that_only_some_servers_of_the_parent_have_does_not_count() {
    let mut keys = vec![
        KeyState::new(1, Algorithm::ED25519, Role::Csk, 0),
        KeyState::new(2, Algorithm::ED25519, Role::Csk, 0),
    ];
    for key in &mut keys {
        (key.published, key.ds_asked, key.signing) = (Some(0), Some(0), Some(0));
    }
    (keys[0].replaced, keys[0].stopped, keys[0].unsigned, keys[0].ds_seen) =
        (Some(5), Some(5), Some(5), Some(1));
    let policy = Policy { algorithm: Algorithm::ED25519, ..policy() };
    let mut at = |now: u64, old: Seen, new: Seen| {
        let signed_by = BTreeSet::from([2]);
        let ds = [DsSeen { tag: 1, seen: old, ttl: Some(60) }, DsSeen { tag: 2, seen: new, ttl: Some(90) }];
        let step =
            step(&policy, &mut keys, now, Facts { zone_ttl: 1, key_ttl: 1, signed_by: &signed_by, ds: &ds });
        (step.awaits_parent(), keys.first().and_then(|key| key.ds_gone), keys.len())
    };
    assert_eq!(at(1000, Seen::Somewhere, Seen::Somewhere), (true, None, 2));
    assert_eq!(at(2000, Seen::Nowhere, Seen::Somewhere), (true, None, 2));
    assert_eq!(at(3000, Seen::Somewhere, Seen::Everywhere), (true, None, 2));
    assert_eq!(at(4000, Seen::Nowhere, Seen::Everywhere), (false, Some(4000), 2));
    // The DS's TTL and the parent's delay, then those of the DNSKEY set.
    assert_eq!(at(4659, Seen::Nowhere, Seen::Everywhere).2, 2);
    assert_eq!(at(4661, Seen::Nowhere, Seen::Everywhere).2, 2);
    assert_eq!(at(5000, Seen::Nowhere, Seen::Everywhere).2, 1);
}
