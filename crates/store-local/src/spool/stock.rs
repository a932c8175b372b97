//! Segment files before and after their use: the next one is made ready before it is needed, and one that
//! nobody needs any more is used again, for a file whose blocks were written before is flushed faster than one
//! whose blocks are only reserved.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;
use super::frame::{SegmentHeader, VERSION};
use super::state::{Segment, file_name};

/// The file kept for reuse.
pub(super) const SPARE: &str = "spare";

#[derive(Debug)]
pub(super) struct Stock {
    disk: Arc<dyn Disk>,
    segment_octets: u64,
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    ready: Option<Arc<Segment>>,
    next: u32,
    /// As in [`SegmentHeader::run`].
    run: u32,
    has_spare: bool,
}

impl Stock {
    /// Segments are numbered from `run` on.
    pub(super) fn new(disk: Arc<dyn Disk>, segment_octets: u64, run: u32) -> Self {
        let shelf = Mutex::new(Shelf { ready: None, next: run, run, has_spare: false });
        Stock { disk, segment_octets, shelf }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next segment ready, if none is.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let mut shelf = self.shelf();
        if shelf.ready.is_none() {
            shelf.ready = Some(self.make(&mut shelf)?);
        }
        Ok(())
    }

    /// The next segment: durable, empty, and numbered above all before it.
    pub(super) fn take(&self) -> io::Result<Arc<Segment>> {
        let mut shelf = self.shelf();
        match shelf.ready.take() {
            Some(ready) if ready.number >= shelf.run => Ok(ready),
            Some(ready) => {
                // Made ready before a segment was abandoned.
                let header = SegmentHeader { number: ready.number, run: ready.number, ..ready.header };
                shelf.run = ready.number;
                ready.file.write_at(0, &header.encode()).and_then(|()| ready.file.sync())?;
                Ok(Arc::new(Segment::new(header, ready.file.clone())))
            }
            None => self.make(&mut shelf),
        }
    }

    /// A segment was abandoned: those that follow prove nothing about it.
    pub(super) fn begin_run(&self) {
        let mut shelf = self.shelf();
        shelf.run = shelf.next;
    }

    fn make(&self, shelf: &mut Shelf) -> io::Result<Arc<Segment>> {
        let number = shelf.next;
        let name = file_name(number);
        let recycled = std::mem::take(&mut shelf.has_spare);
        let file = if recycled {
            self.disk.rename(SPARE, &name)?;
            self.disk.open(&name)?
        } else {
            self.disk.create(&name, self.segment_octets)?
        };
        // From here on the number is used up, whatever happens: a name is never given twice.
        shelf.next += 1;
        let header =
            SegmentHeader { version: VERSION, number, run: shelf.run, recycled, salt: rand::random() };
        let finished = file.write_at(0, &header.encode()).and_then(|()| file.sync());
        if let Err(error) = finished.and_then(|()| self.disk.sync_directory()) {
            // Room is given back; if that fails too, the next start removes the file.
            let _ = self.disk.remove(&name);
            return Err(error);
        }
        Ok(Arc::new(Segment::new(header, file)))
    }

    /// Takes a segment out of the spool that nobody needs any more. When this returned it does not come back
    /// after a crash, so the next one may go.
    pub(super) fn retire(&self, segment: &Segment) -> io::Result<()> {
        let mut shelf = self.shelf();
        let name = file_name(segment.number);
        let whole = segment.file.length().is_ok_and(|length| length == self.segment_octets);
        let taken_out = if whole && !shelf.has_spare && !segment.is_suspect() {
            self.disk.rename(&name, SPARE).map(|()| shelf.has_spare = true)
        } else {
            self.disk.remove(&name)
        };
        match taken_out {
            // Done at an earlier try, of which the flush failed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        self.disk.sync_directory()
    }

    /// A segment that was made ready and not used goes away.
    pub(super) fn close(&self) {
        let mut shelf = self.shelf();
        if let Some(ready) = shelf.ready.take() {
            // If that fails, the next start removes it.
            let _ = self.disk.remove(&file_name(ready.number));
        }
        if std::mem::take(&mut shelf.has_spare) {
            let _ = self.disk.remove(SPARE);
        }
    }
}
