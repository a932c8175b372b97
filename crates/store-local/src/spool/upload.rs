//! A message on its way in.
//!
//! A small body waits in memory and lies in the same record as its envelope: one write, one flush, and one
//! read later. A large one goes to the log in chunks while it comes, so that a session's memory is bounded;
//! without the message's record these are nothing, and their segment is given back like any other.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use postroad_store::spool::{NewEnvelope, NewMessage};
use postroad_store::{StoreError, queue};
use postroad_types::QueueId;

use super::codec::{self, BodyPlace};
use super::frame;
use super::mailslot::Mailslot;
use super::state::Shared;
use super::writer::{Command, Commit, Pinned};
use super::{CHUNK_OCTETS, INLINE_OCTETS_MAX, ask};

#[derive(Debug)]
pub(super) struct Upload {
    id: QueueId,
    shared: Arc<Shared>,
    writer: Arc<Mailslot<Command>>,
    waiting: BytesMut,
    chunks: Vec<Pinned>,
    size_octets: u64,
}

impl Upload {
    pub(super) fn new(
        id: QueueId,
        shared: Arc<Shared>,
        writer: Arc<Mailslot<Command>>,
        size_hint: u64,
    ) -> Self {
        let capacity = usize::try_from(size_hint).unwrap_or(usize::MAX).min(INLINE_OCTETS_MAX);
        let waiting = BytesMut::with_capacity(capacity);
        Upload { id, shared, writer, waiting, chunks: Vec::new(), size_octets: 0 }
    }

    async fn put_chunk(&mut self, octets: Bytes) -> Result<(), StoreError> {
        self.shared.admit(self.size_octets)?;
        let id = self.id.clone();
        self.chunks.push(ask(&self.writer, |answer| Command::Chunk { id, octets, answer }).await?);
        Ok(())
    }
}

#[async_trait]
impl NewMessage for Upload {
    fn id(&self) -> &QueueId {
        &self.id
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.size_octets += chunk.len() as u64;
        self.waiting.extend_from_slice(&chunk);
        if self.waiting.len() > INLINE_OCTETS_MAX {
            while self.waiting.len() >= CHUNK_OCTETS {
                let octets = self.waiting.split_to(CHUNK_OCTETS).freeze();
                self.put_chunk(octets).await?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>, envelope: NewEnvelope) -> Result<QueueId, StoreError> {
        let message = queue::admit(self.id.clone(), envelope, self.size_octets)?;
        let mut body = self.waiting.split().freeze();
        if !self.chunks.is_empty() && !body.is_empty() {
            self.put_chunk(std::mem::take(&mut body)).await?;
        }
        self.shared.admit(self.size_octets)?;
        let place = if self.chunks.is_empty() {
            BodyPlace::Inline
        } else {
            BodyPlace::Extents(self.chunks.iter().map(|chunk| chunk.extent).collect())
        };
        let head = codec::encode_message(&message, 0, &place);
        let payload_crc = frame::payload_crc(&[&head, &body]);
        let chunks = std::mem::take(&mut self.chunks);
        ask(&self.writer, |answer| {
            Command::Commit(Box::new(Commit { message, head, body, payload_crc, chunks, answer }))
        })
        .await?;
        Ok(self.id)
    }
}
