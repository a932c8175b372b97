//! A spool that fails on purpose.

use async_trait::async_trait;
use bytes::Bytes;
use postroad_types::QueueId;
use tokio::sync::broadcast;

use super::Plan;
use crate::error::StoreError;
use crate::spool::{
    Change, DestinationCount, Filter, Lease, Micros, NewEnvelope, NewMessage, Order, QueuedMessage, Spool,
    SpoolEvent, SpoolReport,
};

/// Wraps a spool. The calls' names in the plan are those of [`Spool`] and, for messages on their way in,
/// `write` and `commit`.
#[derive(Clone, Debug)]
pub struct FaultySpool<S> {
    inner: S,
    plan: Plan,
}

impl<S> FaultySpool<S> {
    pub fn new(inner: S, plan: Plan) -> Self {
        FaultySpool { inner, plan }
    }
}

struct FaultyMessage {
    inner: Box<dyn NewMessage>,
    plan: Plan,
}

#[async_trait]
impl NewMessage for FaultyMessage {
    fn id(&self) -> &QueueId {
        self.inner.id()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.plan.run("write", self.inner.write(chunk)).await
    }

    async fn commit(self: Box<Self>, envelope: NewEnvelope) -> Result<QueueId, StoreError> {
        self.plan.run("commit", self.inner.commit(envelope)).await
    }
}

#[async_trait]
impl<S: Spool> Spool for FaultySpool<S> {
    async fn create(&self, size_hint: u64) -> Result<Box<dyn NewMessage>, StoreError> {
        let inner = self.plan.run("create", self.inner.create(size_hint)).await?;
        Ok(Box::new(FaultyMessage { inner, plan: self.plan.clone() }))
    }

    async fn read(&self, id: &QueueId, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.plan.run("read", self.inner.read(id, offset, length)).await
    }

    async fn get(&self, id: &QueueId) -> Result<QueuedMessage, StoreError> {
        self.plan.run("get", self.inner.get(id)).await
    }

    async fn lease(&self, now: Micros, limit: usize, until: Micros) -> Result<Vec<Lease>, StoreError> {
        self.plan.run("lease", self.inner.lease(now, limit, until)).await
    }

    async fn next_due(&self) -> Result<Option<Micros>, StoreError> {
        self.plan.run("next_due", self.inner.next_due()).await
    }

    async fn record(&self, id: &QueueId, token: u64, changes: Vec<Change>) -> Result<(), StoreError> {
        self.plan.run("record", self.inner.record(id, token, changes)).await
    }

    async fn release(&self, id: &QueueId, token: u64) -> Result<(), StoreError> {
        self.plan.run("release", self.inner.release(id, token)).await
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<&QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.plan.run("list", self.inner.list(filter, after, limit)).await
    }

    async fn destinations(&self, now: Micros) -> Result<Vec<DestinationCount>, StoreError> {
        self.plan.run("destinations", self.inner.destinations(now)).await
    }

    async fn order(&self, filter: &Filter, order: Order, now: Micros) -> Result<Vec<QueueId>, StoreError> {
        self.plan.run("order", self.inner.order(filter, order, now)).await
    }

    fn watch(&self) -> broadcast::Receiver<SpoolEvent> {
        self.inner.watch()
    }

    async fn report(&self) -> Result<SpoolReport, StoreError> {
        self.plan.run("report", self.inner.report()).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.plan.run("flush", self.inner.flush()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::faulty::{Fault, When};
    use crate::memory::MemorySpool;

    fn full() -> StoreError {
        StoreError::Unavailable("disk full".into())
    }

    #[tokio::test]
    async fn without_rules_it_is_the_spool_it_wraps() {
        crate::contract::spool::all(|| async {
            Arc::new(FaultySpool::new(MemorySpool::new(), Plan::new(1))) as Arc<dyn Spool>
        })
        .await;
    }

    #[tokio::test]
    async fn calls_fail_as_planned() {
        let plan = Plan::new(1);
        let inner = MemorySpool::new();
        let spool = FaultySpool::new(inner.clone(), plan.clone());
        plan.add("create", When::Nth(2), Fault::Before(full()));
        assert!(spool.create(0).await.is_ok());
        assert_eq!(spool.create(0).await.map(|_| ()), Err(full()));
        assert!(spool.create(0).await.is_ok());

        plan.add("flush", When::PerThousand(500), Fault::Before(full()));
        let mut failed = 0;
        for _ in 0..200 {
            failed += u32::from(spool.flush().await.is_err());
        }
        assert!((50..150).contains(&failed), "{failed} of 200");
        assert_eq!(plan.faults(), 1 + u64::from(failed));
        plan.clear();
        assert!(spool.flush().await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_can_be_lost_or_late() {
        let plan = Plan::new(1);
        let inner = MemorySpool::new();
        let spool = FaultySpool::new(inner.clone(), plan.clone());
        plan.add("commit", When::Always, Fault::After(full()));
        let message = spool.create(0).await.unwrap();
        let envelope = NewEnvelope {
            trace_id: postroad_types::TraceId::new([0; 16]),
            reverse_path: postroad_types::ReversePath::Null,
            recipients: vec!["a@b.test".parse::<postroad_types::Address>().unwrap().into()],
            body: postroad_types::BodyKind::SevenBit,
            smtputf8: false,
            envelope_id: None,
            options: Default::default(),
            accepted_at: 0,
            expires_at: 9,
            first_attempt_at: 0,
        };
        assert_eq!(message.commit(envelope).await, Err(full()));
        assert_eq!(inner.report().await.unwrap().messages, 1, "it was done all the same");
        plan.add("report", When::Always, Fault::Slow(Duration::from_millis(50)));
        let began = tokio::time::Instant::now();
        spool.report().await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
