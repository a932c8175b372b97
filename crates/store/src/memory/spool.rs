//! A spool in memory: the whole contract but that of surviving the process. For tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use postroad_types::QueueId;
use tokio::sync::broadcast;

use crate::error::StoreError;
use crate::queue::{self, DestinationTally, Outcome, QueueTable};
use crate::spool::{
    Change, DestinationCount, Filter, Lease, Micros, NewEnvelope, NewMessage, Order, QueuedMessage, Spool,
    SpoolEvent, SpoolReport,
};

/// Events that a slow watcher may be behind.
const EVENTS_MAX: usize = 4096;

/// Messages in memory. Clones are the same spool.
#[derive(Clone, Debug)]
pub struct MemorySpool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<QueueTable<Bytes>>,
    events: broadcast::Sender<SpoolEvent>,
}

impl Default for MemorySpool {
    fn default() -> Self {
        let table = Mutex::new(QueueTable::new(1));
        MemorySpool { shared: Arc::new(Shared { table, events: broadcast::channel(EVENTS_MAX).0 }) }
    }
}

impl MemorySpool {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, QueueTable<Bytes>> {
        // The table's steps do not panic half-way; and it is memory for tests only.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: SpoolEvent) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    fn tell_outcome(&self, id: &QueueId, outcome: &Outcome<Bytes>) {
        self.tell(match outcome {
            Outcome::Changed => SpoolEvent::Changed(id.clone()),
            Outcome::Gone(_) => SpoolEvent::Gone(id.clone()),
        });
    }
}

#[derive(Debug)]
struct MemoryMessage {
    id: QueueId,
    body: BytesMut,
    shared: Arc<Shared>,
}

#[async_trait]
impl NewMessage for MemoryMessage {
    fn id(&self) -> &QueueId {
        &self.id
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    async fn commit(self: Box<Self>, envelope: NewEnvelope) -> Result<QueueId, StoreError> {
        let body = self.body.freeze();
        let message = queue::admit(self.id.clone(), envelope, body.len() as u64)?;
        self.shared.table().insert(message, body);
        self.shared.tell(SpoolEvent::Accepted(self.id.clone()));
        Ok(self.id)
    }
}

#[async_trait]
impl Spool for MemorySpool {
    async fn create(&self, _size_hint: u64) -> Result<Box<dyn NewMessage>, StoreError> {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let id = QueueId::new(micros, rand::random());
        Ok(Box::new(MemoryMessage { id, body: BytesMut::new(), shared: self.shared.clone() }))
    }

    async fn read(&self, id: &QueueId, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let table = self.shared.table();
        let (_, body) = table.get(id).ok_or_else(|| not_found(id))?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        Ok(body.slice(from..from.saturating_add(length).min(body.len())))
    }

    async fn get(&self, id: &QueueId) -> Result<QueuedMessage, StoreError> {
        self.shared.table().get(id).map(|(message, _)| message.clone()).ok_or_else(|| not_found(id))
    }

    async fn lease(&self, now: Micros, limit: usize, until: Micros) -> Result<Vec<Lease>, StoreError> {
        Ok(self.shared.table().lease(now, limit, until))
    }

    async fn next_due(&self) -> Result<Option<Micros>, StoreError> {
        Ok(self.shared.table().next_due())
    }

    async fn record(&self, id: &QueueId, token: u64, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut table = self.shared.table();
        table.check_changes(id, token, &changes)?;
        if let Some(outcome) = table.apply_changes(id, changes) {
            self.shared.tell_outcome(id, &outcome);
        }
        Ok(())
    }

    async fn release(&self, id: &QueueId, token: u64) -> Result<(), StoreError> {
        self.shared.table().release(id, token)
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<&QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let mut after = after.cloned();
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.shared.table().page(filter, after.as_ref(), limit - found.len());
            found.extend(page.found);
            match page.rest {
                Some(rest) => after = Some(rest),
                None => break,
            }
        }
        Ok(found)
    }

    async fn destinations(&self, now: Micros) -> Result<Vec<DestinationCount>, StoreError> {
        let mut tally = DestinationTally::new(now);
        let mut after = None;
        loop {
            after = self.shared.table().tally(&mut tally, after.as_ref());
            if after.is_none() {
                return Ok(tally.finish());
            }
        }
    }

    async fn order(&self, filter: &Filter, order: Order, now: Micros) -> Result<Vec<QueueId>, StoreError> {
        let mut obeyed = Vec::new();
        let mut after = None;
        loop {
            let mut table = self.shared.table();
            let page = table.page_of_ids(filter, after.as_ref());
            for id in page.found {
                if let Some(outcome) = table.apply_order(&id, &order, now) {
                    self.shared.tell_outcome(&id, &outcome);
                    obeyed.push(id);
                }
            }
            after = page.rest;
            if after.is_none() {
                return Ok(obeyed);
            }
        }
    }

    fn watch(&self) -> broadcast::Receiver<SpoolEvent> {
        self.shared.events.subscribe()
    }

    async fn report(&self) -> Result<SpoolReport, StoreError> {
        let counts = self.shared.table().counts();
        Ok(SpoolReport {
            messages: counts.messages,
            recipients: counts.recipients,
            octets: counts.octets,
            ..SpoolReport::default()
        })
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn not_found(id: &QueueId) -> StoreError {
    StoreError::NotFound(format!("message {id} is not in the spool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_suite() {
        crate::contract::spool::all(|| async { Arc::new(MemorySpool::new()) as Arc<dyn Spool> }).await;
    }
}
