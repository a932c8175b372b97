//! A message on its way from the queue into mailboxes: held in memory while it is small, in an unnamed file when it
//! is large, and read from there as often as it has recipients.
//!
//! Nothing here must outlive the call: the queue has the message until Delivery has answered.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use postroad_store::StoreError;
use postroad_store::mailbox::BodySource;
use postroad_types::limits;

/// Makes the directory for large messages and removes what a crash left in it.
pub fn prepare(dir: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::io(format_args!("{}", dir.display()), &error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        std::fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    Ok(())
}

/// Takes a message's chunks.
pub struct Intake<'a> {
    dir: &'a Path,
    expected_octets: u64,
    taken_octets: u64,
    memory: BytesMut,
    file: Option<File>,
}

impl<'a> Intake<'a> {
    pub fn new(dir: &'a Path, expected_octets: u64) -> Self {
        Intake { dir, expected_octets, taken_octets: 0, memory: BytesMut::new(), file: None }
    }

    /// [`StoreError::Invalid`] when it is more than was announced.
    pub async fn take(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.taken_octets += chunk.len() as u64;
        if self.taken_octets > self.expected_octets {
            return Err(StoreError::Invalid(format!(
                "more than the {} octets announced",
                self.expected_octets
            )));
        }
        if self.file.is_none() && self.expected_octets > limits::INTAKE_MEMORY_OCTETS_MAX {
            self.file = Some(unnamed(self.dir)?);
        }
        match &mut self.file {
            None => self.memory.extend_from_slice(&chunk),
            // A write to the page cache; no flush is needed or wanted here.
            Some(file) => {
                file.write_all(&chunk).map_err(|error| StoreError::io("taking a large message", &error))?
            }
        }
        Ok(())
    }

    /// The whole message. [`StoreError::Invalid`] when it is less than was announced.
    pub fn finish(self) -> Result<Message, StoreError> {
        if self.taken_octets != self.expected_octets {
            return Err(StoreError::Invalid(format!(
                "{} octets instead of the {} announced",
                self.taken_octets, self.expected_octets
            )));
        }
        let place = match self.file {
            Some(file) => Place::File(Arc::new(file)),
            None => Place::Memory(self.memory.freeze()),
        };
        Ok(Message { size_octets: self.taken_octets, place })
    }
}

/// A file without a name: it is gone when it is closed, whatever happens.
fn unnamed(dir: &Path) -> Result<File, StoreError> {
    let failed = |error: io::Error| StoreError::io(format_args!("{}", dir.display()), &error);
    let path = dir.join(format!("{:016x}", rand::random::<u64>()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

/// A message that was taken whole.
#[derive(Debug)]
pub struct Message {
    size_octets: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Bytes),
    File(Arc<File>),
}

#[async_trait]
impl BodySource for Message {
    fn size_octets(&self) -> u64 {
        self.size_octets
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let left = usize::try_from(self.size_octets.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        match &self.place {
            Place::Memory(octets) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(octets.len());
                Ok(octets.slice(from..from + length))
            }
            Place::File(file) => {
                let file = file.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let mut octets = vec![0; length];
                    file.read_exact_at(&mut octets, offset).map(|()| Bytes::from(octets))
                });
                let octets = read.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
                octets.map_err(|error| StoreError::io("reading a large message back", &error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn whole(message: &Message) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let chunk = message.read(all.len() as u64, 10_007).await.unwrap();
            if chunk.is_empty() {
                return all;
            }
            all.extend_from_slice(&chunk);
        }
    }

    #[tokio::test]
    async fn small_and_large_come_back_as_they_were_and_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 1, 100_000, usize::try_from(limits::INTAKE_MEMORY_OCTETS_MAX).unwrap() + 1] {
            let octets: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let mut intake = Intake::new(dir.path(), size as u64);
            for chunk in octets.chunks(60_000) {
                intake.take(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            assert!(whole(&intake.finish().unwrap()).await == octets, "{size}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn a_message_that_is_not_as_announced_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut short = Intake::new(dir.path(), 3);
        short.take(Bytes::from_static(b"ab")).await.unwrap();
        assert!(matches!(short.finish(), Err(StoreError::Invalid(_))));
        let mut long = Intake::new(dir.path(), 1);
        assert!(matches!(long.take(Bytes::from_static(b"ab")).await, Err(StoreError::Invalid(_))));
    }
}
