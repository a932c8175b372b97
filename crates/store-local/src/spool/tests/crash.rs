//! Power cuts: work goes on at many messages at once, the disk forgets what was not flushed, and the spool is
//! opened on what is left. Every message that was accepted is there with all its octets, and as it stood at
//! the last promise or later; nothing that left for good comes back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use postroad_store::spool::{
    Attempt, Change, Filter, Lease, NewEnvelope, NewRecipient, Order, QueuedMessage, Spool,
};
use postroad_types::{BodyKind, QueueId, Reply, TraceId};

use crate::spool::crash_disk::{Chance, CrashDisk, Fault};
use crate::spool::{LogSpool, SpoolSettings};

/// Seeds tried, each with several cuts.
const SEEDS: u64 = 120;
const CUTS_PER_SEED: usize = 3;

/// What we know of one message.
struct Story {
    body: Vec<u8>,
    /// How it stood after each step, `None` once gone.
    stands: Vec<Option<QueuedMessage>>,
    /// The step that was made durable by a flush that returned.
    promised: usize,
    /// A step was refused, or on its way when the power went, and nothing was flushed since.
    open_end: bool,
    /// That step could have ended it.
    may_be_gone: bool,
    /// Its commit returned.
    accepted: bool,
    /// Its commit was refused, with the power on.
    refused: bool,
}

struct Scene {
    seed: u64,
    chance: Chance,
    disk: CrashDisk,
    stories: HashMap<QueueId, Story>,
    gone: HashSet<QueueId>,
    now: i64,
}

fn settings() -> SpoolSettings {
    SpoolSettings { segment_octets: 64 * 1024, cache_octets: 10_000, ..SpoolSettings::default() }
}

fn envelope(now: i64, recipients: usize) -> NewEnvelope {
    let recipient = |n: usize| format!("r{n}@b.test").parse::<postroad_types::Address>().unwrap().into();
    NewEnvelope {
        trace_id: TraceId::new([1; 16]),
        reverse_path: "a@a.test".parse().unwrap(),
        recipients: (0..recipients).map(recipient).collect(),
        body: BodyKind::SevenBit,
        smtputf8: false,
        envelope_id: None,
        options: Default::default(),
        accepted_at: now,
        expires_at: i64::MAX,
        first_attempt_at: now,
    }
}

fn attempt(at: i64) -> Attempt {
    Attempt { at, host: "mx".into(), reply: Reply::plain(250, "ok") }
}

impl Scene {
    fn open(&self) -> Arc<LogSpool> {
        LogSpool::open_on(Arc::new(self.disk.clone()), settings()).unwrap()
    }

    fn body(&mut self) -> Vec<u8> {
        let length = match self.chance.below(10) {
            0 => 70_000 + self.chance.below(200_000),
            1 => 0,
            2..5 => 5_000 + self.chance.below(20_000),
            _ => self.chance.below(3_000),
        };
        let word = self.chance.below(u64::MAX).to_le_bytes();
        let mut body = word.repeat(length as usize / 8 + 1);
        // Chunks and sectors differ from each other.
        for (n, octet) in body.iter_mut().step_by(501).enumerate() {
            *octet = n as u8;
        }
        body.truncate(length as usize);
        body
    }

    /// Work until the power goes.
    async fn work(&mut self, faulty: bool) {
        let spool = self.open();
        self.disk.power_off_after(self.chance.below(250));
        while !self.disk.is_off() {
            self.now += 1;
            if faulty {
                let faults: &[Fault] = match self.chance.below(12) {
                    0 => &[Fault::Flush],
                    1 => &[Fault::Write],
                    2 => &[Fault::Full],
                    _ => &[],
                };
                self.disk.fail(faults);
            }
            let bodies: Vec<_> = (0..self.chance.below(4)).map(|_| self.body()).collect();
            let accepting: Vec<_> = bodies.into_iter().map(|body| self.accept(&spool, body)).collect();
            let leases =
                spool.lease(self.now, self.chance.below(4) as usize, self.now + 1_000_000).await.unwrap();
            let leased: Vec<_> = leases.iter().map(|lease| lease.message.id.clone()).collect();
            let changing: Vec<_> = leases.into_iter().map(|lease| self.change(&spool, lease)).collect();
            // All at once, so that they share groups.
            let (accepted, changed) = tokio::join!(
                futures_util::future::join_all(accepting),
                futures_util::future::join_all(changing)
            );
            for (id, body, outcome) in accepted {
                self.accepted(&spool, id, body, outcome).await;
            }
            for (id, outcome, ends) in changed {
                self.stepped(&spool, &id, outcome, ends).await;
            }
            self.order(&spool, &leased).await;
            if self.chance.below(4) == 0 && spool.flush().await.is_ok() {
                if std::env::var("DBG").is_ok() {
                    eprintln!("FLUSHED {}", self.now);
                }
                self.flushed();
            }
        }
    }

    fn accept(
        &mut self,
        spool: &Arc<LogSpool>,
        body: Vec<u8>,
    ) -> impl Future<Output = (Option<QueueId>, Vec<u8>, bool)> + use<> {
        let (spool, recipients, now) = (spool.clone(), 1 + self.chance.below(3) as usize, self.now);
        let given_up = self.chance.below(10) == 0;
        async move {
            let Ok(mut message) = spool.create(0).await else { return (None, body, false) };
            let id = message.id().clone();
            for chunk in body.chunks(30_000) {
                if message.write(Bytes::copy_from_slice(chunk)).await.is_err() {
                    return (None, body, false);
                }
            }
            if given_up {
                return (None, body, false);
            }
            let committed = message.commit(envelope(now, recipients)).await.is_ok();
            (Some(id), body, committed)
        }
    }

    fn change(
        &mut self,
        spool: &Arc<LogSpool>,
        lease: Lease,
    ) -> impl Future<Output = (QueueId, bool, bool)> + use<> {
        let (spool, now) = (spool.clone(), self.now);
        let open: Vec<usize> = (0..lease.message.recipients.len())
            .filter(|index| !lease.message.recipients[*index].state.is_final())
            .collect();
        let some = open[self.chance.below(open.len() as u64) as usize];
        let done = |index: usize| Change::Done { index, attempt: attempt(now) };
        let (changes, ends) = match self.chance.below(5) {
            0 => (vec![done(some)], open.len() == 1),
            1 => (vec![Change::Fail { index: some, attempt: attempt(now) }, Change::Warned], false),
            2 => {
                let into: Vec<NewRecipient> = envelope(0, 2).recipients;
                (
                    vec![Change::Expand { index: some, attempt: attempt(now), into, next_attempt_at: now }],
                    false,
                )
            }
            3 => (open.iter().map(|index| done(*index)).collect(), true),
            _ => {
                (vec![Change::Defer { index: some, attempt: attempt(now), next_attempt_at: now + 1 }], false)
            }
        };
        async move {
            let outcome = spool.record(&lease.message.id, lease.token, changes).await.is_ok();
            // The lease is given back; when the message left, it is void.
            let _ = spool.release(&lease.message.id, lease.token).await;
            (lease.message.id, outcome, ends)
        }
    }

    async fn order(&mut self, spool: &Arc<LogSpool>, leased: &[QueueId]) {
        let order = match self.chance.below(12) {
            0 => Order::Remove,
            1 => Order::Hold,
            2 => Order::Release,
            _ => return,
        };
        let known: Vec<_> = self
            .stories
            .iter()
            .filter(|(id, story)| story.accepted && !leased.contains(id))
            .map(|(id, _)| id)
            .collect();
        let Some(id) = known.into_iter().min().cloned() else { return };
        let filter = Filter { ids: vec![id.clone()], ..Filter::default() };
        let outcome = spool.order(&filter, order.clone(), self.now).await.is_ok();
        self.stepped(spool, &id, outcome, order == Order::Remove).await;
    }

    async fn accepted(&mut self, spool: &Arc<LogSpool>, id: Option<QueueId>, body: Vec<u8>, committed: bool) {
        let Some(id) = id else { return };
        let stands = if committed { vec![Some(spool.get(&id).await.unwrap())] } else { vec![] };
        let refused = !committed && !self.disk.is_off();
        let (promised, open_end, may_be_gone) = (0, false, false);
        let story = Story { body, stands, promised, open_end, may_be_gone, accepted: committed, refused };
        self.stories.insert(id, story);
    }

    /// A step was made, or refused, or is not known.
    async fn stepped(&mut self, spool: &Arc<LogSpool>, id: &QueueId, made: bool, ends: bool) {
        let seed = self.seed;
        let stands = spool.get(id).await.ok();
        let off = self.disk.is_off();
        let story = self.stories.get_mut(id).unwrap();
        if made {
            story.stands.push(stands);
            return;
        }
        assert!(off || story.stands.last() == Some(&stands), "seed {seed}: a refused step changed {id}");
        // Until the next flush a power cut may show it all the same.
        (story.open_end, story.may_be_gone) = (true, story.may_be_gone || ends);
    }

    fn flushed(&mut self) {
        let mut gone = Vec::new();
        for (id, story) in &mut self.stories {
            story.promised = story.stands.len().saturating_sub(1);
            (story.open_end, story.may_be_gone) = (false, false);
            if story.refused || matches!(story.stands.last(), Some(None)) {
                gone.push(id.clone());
            }
        }
        for id in gone {
            self.stories.remove(&id);
            self.gone.insert(id);
        }
    }

    /// Opens the spool on what the cut left, and compares.
    async fn check(&mut self) {
        let seed = self.seed;
        self.disk = self.disk.crash(&mut self.chance);
        let spool = self.open();
        let report = spool.report().await.unwrap();
        assert!(report.damaged.is_empty(), "seed {seed}: a power cut is no damage: {:?}", report.damaged);
        for message in spool.list(&Filter::default(), None, usize::MAX).await.unwrap() {
            assert!(!self.gone.contains(&message.id), "seed {seed}: {} came back", message.id,);
            assert!(self.stories.contains_key(&message.id), "seed {seed}: {} was never sent", message.id);
        }
        let mut gone = Vec::new();
        for (id, story) in &mut self.stories {
            let stands = spool.get(id).await.ok();
            if story.accepted {
                let known = story.stands[story.promised..].contains(&stands);
                let unknown = story.open_end && (stands.is_some() || story.may_be_gone);
                assert!(
                    known || unknown,
                    "seed {seed}: {id} stands as {stands:#?}\nbut stood as {:#?}",
                    &story.stands[story.promised..]
                );
            }
            let Some(message) = stands else {
                gone.push(id.clone());
                continue;
            };
            let mut body = Vec::new();
            while let chunk = spool.read(id, body.len() as u64, 100_000).await.unwrap()
                && !chunk.is_empty()
            {
                body.extend_from_slice(&chunk);
            }
            assert!(body == story.body, "seed {seed}: the octets of {id} changed");
            // What was found when opening is durable.
            (story.stands, story.promised) = (vec![Some(message)], 0);
            (story.open_end, story.may_be_gone, story.accepted, story.refused) = (false, false, true, false);
        }
        for id in gone {
            self.stories.remove(&id);
            self.gone.insert(id);
        }
    }
}

async fn run(seed: u64, faulty: bool) {
    let (chance, disk) = (Chance::new(seed), CrashDisk::new());
    let mut scene = Scene { seed, chance, disk, stories: HashMap::new(), gone: HashSet::new(), now: 1 };
    for _ in 0..CUTS_PER_SEED {
        scene.work(faulty).await;
        scene.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unflushed_writes_are_dropped_at_the_cut() {
    for seed in 1..=SEEDS {
        run(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_flushes_fail_before_the_cut() {
    for seed in 1..=SEEDS {
        run(10_000 + seed, true).await;
    }
}
