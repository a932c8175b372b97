//! Connections that wait for another message to the same host: a few seconds, and not too many.
//!
//! A connection is found by the host's name and address: under another name it would have been greeted the same, but
//! its certificate was looked at for this one. The one that waited shortest is taken first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postroad_types::limits;
use tokio::time::Instant;

use super::session::Session;
use crate::route::Hop;

/// Idle connections.
#[derive(Debug)]
pub struct Pool {
    idle_for: Duration,
    per_host_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each host's, the longest waiting first.
    by_hop: HashMap<Hop, Vec<(Instant, Session)>>,
    sessions: usize,
    /// A task looks after those whose time is over.
    swept: bool,
    closed: bool,
}

impl Pool {
    /// A connection waits for `idle_for` at most; zero: none is kept.
    pub fn new(idle_for: Duration, per_host_max: usize) -> Arc<Self> {
        Arc::new(Pool { idle_for, per_host_max, waiting: Mutex::default() })
    }

    /// A connection that can take a message now.
    pub fn take(&self, hop: &Hop) -> Option<Session> {
        let mut waiting = self.lock();
        while let Some((_, mut session)) = waiting.by_hop.get_mut(hop).and_then(Vec::pop) {
            waiting.sessions -= 1;
            // Dropped if the server closed it, which is its good right.
            if !session.is_stale() {
                return Some(session);
            }
        }
        waiting.by_hop.remove(hop);
        None
    }

    /// Keeps a connection for the next message, or says QUIT on it if it cannot be kept.
    pub fn put(self: &Arc<Self>, session: Session) {
        let hop = session.facts().hop.clone();
        let mut waiting = self.lock();
        let full = waiting.sessions >= limits::RELAY_IDLE_CONNECTIONS_MAX
            || waiting.by_hop.get(&hop).is_some_and(|same| same.len() >= self.per_host_max);
        if full || waiting.closed || self.idle_for.is_zero() || !session.is_reusable() {
            drop(waiting);
            tokio::spawn(session.quit());
            return;
        }
        waiting.by_hop.entry(hop).or_default().push((Instant::now() + self.idle_for, session));
        waiting.sessions += 1;
        if !std::mem::replace(&mut waiting.swept, true) {
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Says QUIT on all that wait, and keeps no more.
    pub async fn close(&self) {
        let sessions: Vec<Session> = {
            let mut waiting = self.lock();
            waiting.closed = true;
            waiting.sessions = 0;
            waiting.by_hop.drain().flat_map(|(_, same)| same).map(|(_, session)| session).collect()
        };
        futures_util::future::join_all(sessions.into_iter().map(Session::quit)).await;
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().sessions
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends connections whose time is over, until none is left.
    async fn sweep(self: Arc<Self>) {
        loop {
            let next = {
                let mut waiting = self.lock();
                for session in waiting.take_expired(Instant::now()) {
                    tokio::spawn(session.quit());
                }
                // Each host's first is its oldest.
                let next =
                    waiting.by_hop.values().filter_map(|same| same.first()).map(|(until, _)| *until).min();
                waiting.swept = next.is_some();
                next
            };
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No step leaves it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take_expired(&mut self, now: Instant) -> Vec<Session> {
        let mut expired = Vec::new();
        self.by_hop.retain(|_, same| {
            let old = same.partition_point(|(until, _)| *until <= now);
            expired.extend(same.drain(..old).map(|(_, session)| session));
            !same.is_empty()
        });
        self.sessions -= expired.len();
        expired
    }
}
