//! A whole message for a content filter to look at: in memory while it is small, then in a file without a name,
//! which is gone with whoever has it open. Nothing of it need last: the message is not answered yet.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use postroad_types::limits::{BODY_CHUNK_OCTETS, SCAN_MEMORY_OCTETS_MAX};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// The octets of one message.
#[derive(Debug)]
pub struct Hold {
    dir: PathBuf,
    memory: BytesMut,
    file: Option<File>,
    size: u64,
}

impl Hold {
    /// Large messages go into a file in `dir`, which is there.
    pub fn new(dir: PathBuf) -> Self {
        Hold { dir, memory: BytesMut::new(), file: None, size: 0 }
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub async fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.size += chunk.len() as u64;
        if self.file.is_none() && self.memory.len() + chunk.len() > SCAN_MEMORY_OCTETS_MAX {
            let dir = self.dir.clone();
            let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir));
            let mut file = File::from_std(made.await.map_err(io::Error::other)??);
            file.write_all(&std::mem::take(&mut self.memory)).await?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(chunk).await,
            None => {
                self.memory.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    /// The next octets from `offset` on; empty at the end.
    pub async fn read(&mut self, offset: u64) -> io::Result<Bytes> {
        let Some(file) = &mut self.file else {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = self.memory.get(from..).unwrap_or_default();
            return Ok(Bytes::copy_from_slice(rest.get(..BODY_CHUNK_OCTETS).unwrap_or(rest)));
        };
        file.flush().await?;
        file.seek(SeekFrom::Start(offset)).await?;
        let mut chunk = BytesMut::with_capacity(BODY_CHUNK_OCTETS);
        file.read_buf(&mut chunk).await?;
        Ok(chunk.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_in_is_read_from_memory_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 100, SCAN_MEMORY_OCTETS_MAX, SCAN_MEMORY_OCTETS_MAX * 3 + 17] {
            let octets: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut hold = Hold::new(dir.path().to_owned());
            for chunk in octets.chunks(10_007) {
                hold.push(chunk).await.unwrap();
            }
            assert_eq!(hold.file.is_some(), size > SCAN_MEMORY_OCTETS_MAX);
            for start in [0, size / 2, size] {
                let mut read = Vec::new();
                loop {
                    let chunk = hold.read((start + read.len()) as u64).await.unwrap();
                    if chunk.is_empty() {
                        break;
                    }
                    read.extend_from_slice(&chunk);
                }
                assert!(read == octets[start..], "{size} octets from {start} on");
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }
}
