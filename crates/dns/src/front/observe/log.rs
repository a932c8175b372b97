//! The query log: a line for every request, written by a thread of its own.
//!
//! ```text
//! 2026-11-21T13:00:00.123456Z 192.0.2.7 udp example.org. MX NOERROR kept 11
//! ```
//!
//! Time, client, transport, name, type, response code (`-` where none was sent), what became of it ([`super::How`]), and
//! how long that took in microseconds. Fields never hold spaces: names are escaped as in zone files. The file may be
//! renamed at any time; within a second another is begun under its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, UNIX_EPOCH};

use metrics::{Counter, counter};
use postroad_types::limits::DNS_QUERY_LOG_WAITING_MAX;
use tracing::warn;

use super::{Clients, Seen};
use crate::wire::utc;

/// How often it is looked whether the file is still the one of that name.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is said that nothing can be written.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Takes requests to be written down.
#[derive(Debug)]
pub struct QueryLog {
    waiting: SyncSender<Seen>,
    dropped: Counter,
}

impl QueryLog {
    /// Opens the file, or begins it, and starts the thread, which ends with the log.
    pub fn open(path: &Path, clients: Clients) -> io::Result<Self> {
        let writer = Writer { file: BufWriter::new(open(path)?), path: path.to_owned(), clients };
        let (waiting, seen) = sync_channel(DNS_QUERY_LOG_WAITING_MAX);
        std::thread::Builder::new().name("dns-query-log".to_owned()).spawn(move || writer.run(&seen))?;
        Ok(QueryLog { waiting, dropped: counter!("postroad_dns_query_log_dropped_total") })
    }

    /// Never waits: what does not fit is counted and not written.
    pub(super) fn note(&self, seen: Seen) {
        if self.waiting.try_send(seen).is_err() {
            self.dropped.increment(1);
        }
    }
}

/// It tells who asked for what: not for everybody to read.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    clients: Clients,
}

impl Writer {
    fn run(mut self, seen: &Receiver<Seen>) {
        let (mut looked, mut said) = (Instant::now(), None::<Instant>);
        let mut next = seen.recv().ok();
        while let Some(request) = next {
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.look();
            }
            let written = writeln!(self.file, "{}", line(&request, self.clients));
            next = match seen.try_recv() {
                Ok(request) => Some(request),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    let written = written.and_then(|()| self.file.flush());
                    self.say(written, &mut said);
                    seen.recv().ok()
                }
            };
        }
        self.say(self.file.get_ref().sync_data(), &mut said);
    }

    /// Begins another file when this one is no longer the one of its name.
    fn look(&mut self) {
        let is_same =
            |here: fs::Metadata, there: fs::Metadata| (here.dev(), here.ino()) == (there.dev(), there.ino());
        let here = self.file.get_ref().metadata();
        if let (Ok(here), Ok(there)) = (here, fs::metadata(&self.path))
            && is_same(here, there)
        {
            return;
        }
        if let Ok(file) = open(&self.path) {
            // What is lost with the old file, if anything is, is said at the next write.
            let _ = self.file.flush();
            self.file = BufWriter::new(file);
        }
    }

    fn say(&self, written: io::Result<()>, said: &mut Option<Instant>) {
        if let Err(error) = written
            && said.is_none_or(|said| said.elapsed() >= SAY_EVERY)
        {
            *said = Some(Instant::now());
            warn!(file = %self.path.display(), %error, "the query log cannot be written; requests are missing in it");
        }
    }
}

fn line(seen: &Seen, clients: Clients) -> String {
    let since = seen.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let client = clients.told(seen.client).map_or_else(|| "-".to_owned(), |client| client.to_string());
    let rcode = if seen.rcode.is_empty() { "-" } else { seen.rcode };
    format!(
        "{} {client} {} {} {} {rcode} {} {}",
        utc(since),
        seen.transport.name(),
        seen.name,
        seen.rtype,
        seen.how.name(),
        seen.took.as_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::{How, Transport};
    use crate::wire::Rtype;

    fn seen(name: &str) -> Seen {
        Seen {
            name: name.parse().unwrap(),
            rtype: Rtype::MX,
            client: "192.0.2.7".parse().unwrap(),
            transport: Transport::Tls,
            how: How::Made,
            rcode: "NOERROR",
            took: Duration::from_micros(11),
            at: UNIX_EPOCH + Duration::from_micros(1_795_266_000_123_456),
        }
    }

    /// Until the log's thread has written that many lines.
    fn lines(path: &Path, number: usize) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= number || begun.elapsed() > Duration::from_secs(10) {
                return text.lines().map(str::to_owned).collect();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_line_has_eight_fields_whatever_is_asked() {
        let line = line(&seen("a\\032b.test"), Clients::Network);
        assert_eq!(line, "2026-11-21T13:00:00.123456Z 192.0.2.0 tls a\\032b.test. MX NOERROR here 11");
        let dropped = Seen { how: How::Dropped, rcode: "", ..seen(".") };
        assert!(super::line(&dropped, Clients::None).ends_with("Z - tls . MX - dropped 11"));
    }

    #[test]
    fn lines_are_written_also_after_the_file_was_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("queries"), folder.path().join("queries.1"));
        let log = QueryLog::open(&path, Clients::Full).unwrap();
        for name in ["a.test", "b.test"] {
            log.note(seen(name));
        }
        assert!(lines(&path, 2)[1].contains(" 192.0.2.7 tls b.test. "));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0);
        fs::rename(&path, &moved).unwrap();
        let begun = Instant::now();
        while !path.exists() && begun.elapsed() < Duration::from_secs(10) {
            log.note(seen("c.test"));
            std::thread::yield_now();
        }
        log.note(seen("d.test"));
        assert!(!lines(&path, 1).is_empty() && lines(&moved, 2).len() >= 2);
        assert!(QueryLog::open(&folder.path().join("none/x"), Clients::Full).is_err());
    }
}
