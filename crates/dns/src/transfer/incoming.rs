//! Takes the messages of a transfer and says what they bring (RFC 5936 section 2.2, RFC 1995 section 4).
//!
//! ```text
//! SOA(new) ─┬─ nothing more, and no newer than ours ─► up to date
//!           ├─ SOA(other) … SOA … SOA(new)           ─► differences, to who asked for them
//!           └─ any other records … SOA(new)          ─► the whole zone
//! ```
//!
//! A primary may be broken or hostile: octets and records are bounded, every message must belong to the question, and
//! nothing is believed about the zone here. Whether it is one is found out when it is put together.

use postroad_types::limits::{DNS_TRANSFER_IN_OCTETS_MAX, DNS_TRANSFER_IN_VERSIONS_MAX};

use crate::wire::{Malformed, Name, Reader, Record, Rtype};
use crate::zone::Changes;
use crate::zone::serial::is_newer;

const CLASS_IN: u16 = 1;
const OPCODE_QUERY: u8 = 0;

/// A transfer under way.
#[derive(Debug)]
pub struct Incoming {
    id: u16,
    apex: Name,
    /// Differences from this version on are welcome.
    have: Option<u32>,
    /// The version that comes: the first SOA, which also is the last.
    soa: Option<(u32, Record)>,
    state: State,
    octets: usize,
}

#[derive(Debug)]
enum State {
    /// The SOA has come, and what follows it decides.
    Begun,
    Whole(Vec<Record>),
    Removing(Vec<Changes>, Changes),
    Adding(Vec<Changes>, Changes, u32),
    Over,
}

/// What has come.
#[derive(Debug)]
pub enum Brought {
    /// There is nothing newer; the serial that the server has.
    UpToDate(u32),
    /// All records.
    Whole(Vec<Record>),
    /// What leads from our version to the newest.
    Changes(Vec<Changes>),
}

/// Why a transfer brings nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncomingError {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("a message does not belong to the question")]
    Unasked,
    /// The response code, which is not NOERROR.
    #[error("the server answers {}", rcode_name(*.0))]
    Code(u16),
    #[error("the server has no authority for the zone")]
    NotAuthoritative,
    #[error("the records come in no order that means something: {0}")]
    Disorder(&'static str),
    #[error("it is larger than {DNS_TRANSFER_IN_OCTETS_MAX} octets")]
    TooLarge,
    #[error("it ended early")]
    Early,
}

fn rcode_name(code: u16) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED: does it allow us the transfer?".to_owned(),
        9 => "NOTAUTH: does it serve the zone, and know the key?".to_owned(),
        other => format!("with code {other}"),
    }
}

/// The serial of a SOA record.
fn serial(record: &Record) -> Option<u32> {
    let numbers = record.rdata.last_chunk::<20>()?;
    numbers.first_chunk::<4>().map(|serial| u32::from_be_bytes(*serial))
}

impl Incoming {
    /// For the response to the question `id` for the zone `apex`: IXFR from the version `have` on, or AXFR.
    pub fn new(id: u16, apex: Name, have: Option<u32>) -> Self {
        Self { id, apex, have, soa: None, state: State::Begun, octets: 0 }
    }

    /// Takes the next message. `None`: there is more to come.
    pub fn message(&mut self, message: &[u8]) -> Result<Option<Brought>, IncomingError> {
        let mut reader = Reader::new(message)?;
        let header = reader.header();
        if header.id != self.id
            || !header.is_response()
            || header.opcode() != OPCODE_QUERY
            || header.truncated()
        {
            return Err(IncomingError::Unasked);
        }
        if header.rcode() != 0 {
            return Err(IncomingError::Code(header.rcode()));
        }
        let [questions, answers, ..] = header.counts;
        if questions > 1 || matches!(self.state, State::Over) {
            return Err(IncomingError::Unasked);
        }
        if questions == 1 {
            let (name, rtype, class) = reader.question()?;
            let asked = if self.have.is_some() { Rtype::IXFR } else { Rtype::AXFR };
            if name != self.apex || rtype != asked || class != CLASS_IN {
                return Err(IncomingError::Unasked);
            }
        }
        if answers == 0 {
            // NOERROR without anything: the server does not serve the zone, or does not know the question. Later: a
            // server could go on so for ever.
            let later = IncomingError::Disorder("a message without records");
            return Err(if self.soa.is_none() { IncomingError::NotAuthoritative } else { later });
        }
        for left in (0..answers).rev() {
            let record = reader.record()?;
            self.octets += size_of::<Record>() + record.owner.as_wire().len() + record.rdata.len();
            if self.octets > DNS_TRANSFER_IN_OCTETS_MAX {
                return Err(IncomingError::TooLarge);
            }
            if let Some(brought) = self.record(record)? {
                // What stands behind the end means nothing: the records before may not either.
                return if left == 0 {
                    Ok(Some(brought))
                } else {
                    Err(IncomingError::Disorder("more after the end"))
                };
            }
        }
        Ok(self.up_to_date())
    }

    /// A SOA alone ends the transfer when it is no newer than ours; else the rest is in the next message.
    fn up_to_date(&mut self) -> Option<Brought> {
        let (State::Begun, Some(have), Some((serial, _))) = (&self.state, self.have, &self.soa) else {
            return None;
        };
        if is_newer(*serial, have) {
            return None;
        }
        let serial = *serial;
        self.state = State::Over;
        Some(Brought::UpToDate(serial))
    }

    fn record(&mut self, record: Record) -> Result<Option<Brought>, IncomingError> {
        let is_soa = record.rtype == Rtype::SOA && record.owner == self.apex && record.class == CLASS_IN;
        let number = serial(&record).filter(|_| is_soa);
        if is_soa && number.is_none() {
            return Err(IncomingError::Malformed(Malformed));
        }
        let Some((last, newest)) = &self.soa else {
            let serial = number.ok_or(IncomingError::Disorder("expected the SOA first"))?;
            self.soa = Some((serial, record));
            return Ok(None);
        };
        let last = *last;
        let (state, brought) = match (std::mem::replace(&mut self.state, State::Over), number) {
            // A second SOA of another version: differences, which must begin with the version that we have.
            (State::Begun, Some(serial)) if self.have.is_some() && serial != last => {
                if self.have != Some(serial) {
                    return Err(IncomingError::Disorder("differences from a version that is not ours"));
                }
                (State::Removing(Vec::new(), Changes { removed: vec![record], added: Vec::new() }), None)
            }
            (State::Begun, None) => (State::Whole(vec![newest.clone(), record]), None),
            (State::Whole(records), Some(serial)) if serial == last => {
                (State::Over, Some(Brought::Whole(records)))
            }
            (State::Whole(mut records), None) => {
                records.push(record);
                (State::Whole(records), None)
            }
            (State::Removing(done, mut changes), Some(serial)) => {
                changes.added.push(record);
                (State::Adding(done, changes, serial), None)
            }
            (State::Removing(done, mut changes), None) => {
                changes.removed.push(record);
                (State::Removing(done, changes), None)
            }
            (State::Adding(mut done, mut changes, reached), number) => match number {
                None => {
                    changes.added.push(record);
                    (State::Adding(done, changes, reached), None)
                }
                Some(serial) if serial == reached => {
                    done.push(changes);
                    if serial == last {
                        (State::Over, Some(Brought::Changes(done)))
                    } else if done.len() >= DNS_TRANSFER_IN_VERSIONS_MAX {
                        return Err(IncomingError::TooLarge);
                    } else {
                        (State::Removing(done, Changes { removed: vec![record], added: Vec::new() }), None)
                    }
                }
                Some(_) => return Err(IncomingError::Disorder("differences that do not follow each other")),
            },
            (State::Begun | State::Whole(_), Some(_)) => {
                return Err(IncomingError::Disorder("a SOA of another version among the records"));
            }
            (State::Over, _) => return Err(IncomingError::Disorder("more after the end")),
        };
        self.state = state;
        Ok(brought)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transfer::{Filled, Outgoing};
    use crate::wire::{OPCODE_QUERY, Request, Writer, question_only};
    use crate::zone::{Hosted, Zone, ZoneSource};

    fn apex() -> Name {
        "example".parse().unwrap()
    }

    fn text(serial: u32, records: &str) -> String {
        format!(
            "$TTL 60\n@ SOA ns h {serial} 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nf TXT 1\nf TXT 2\n{records}\n"
        )
    }

    /// The messages of at most `limit` octets that our own server would send.
    fn messages(mut outgoing: Outgoing, rtype: Rtype, limit: usize) -> Vec<Vec<u8>> {
        let question = question_only(7, OPCODE_QUERY, &apex(), rtype);
        let request = Request::parse(&question).unwrap();
        let mut all = Vec::new();
        loop {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer, &request, limit);
            let filled = outgoing.fill(&mut writer);
            assert!(!writer.is_empty());
            writer.finish(&request, 1232);
            assert!(buffer.len() <= limit);
            all.push(buffer);
            if filled == Filled::Done {
                return all;
            }
        }
    }

    fn take(messages: &[Vec<u8>], have: Option<u32>) -> Result<Brought, IncomingError> {
        let mut incoming = Incoming::new(7, apex(), have);
        for (index, message) in messages.iter().enumerate() {
            if let Some(brought) = incoming.message(message)? {
                assert_eq!(index + 1, messages.len());
                return Ok(brought);
            }
        }
        Err(IncomingError::Early)
    }

    fn versions() -> (Arc<Zone>, Arc<Zone>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("zone");
        let many: String = (0..50).map(|n| format!("n{n} TXT \"{n}\"\n")).collect();
        std::fs::write(&file, text(1, &format!("{many}a A 192.0.2.2"))).unwrap();
        let source = ZoneSource { origin: apex(), file: Some(file.clone()), secondary: false };
        let hosted = Hosted::load(vec![source]).unwrap();
        let old = hosted.zones().load().get(&apex()).cloned().unwrap();
        for (serial, record) in [(2, "a A 192.0.2.3"), (5, "b A 192.0.2.3")] {
            std::fs::write(&file, text(serial, &format!("{many}{record}"))).unwrap();
            hosted.reload(None).unwrap();
        }
        let new = hosted.zones().load().get(&apex()).cloned().unwrap();
        (old, new)
    }

    #[test]
    fn what_we_send_we_take_in_messages_of_any_length() {
        let (old, new) = versions();
        for limit in [110, 200, 512, 16_384] {
            let whole = messages(Outgoing::whole(Arc::clone(&new)), Rtype::AXFR, limit);
            let Brought::Whole(records) = take(&whole, None).unwrap() else { panic!("not whole") };
            assert_eq!(records.len() as u64, new.records());
            let again =
                crate::zone::zone_from_records(&apex(), std::path::Path::new(""), records, "x").unwrap();
            assert_eq!((again.serial(), again.records()), (5, new.records()));

            let differences = messages(Outgoing::since(Arc::clone(&new), 1), Rtype::IXFR, limit);
            let Brought::Changes(changes) = take(&differences, Some(1)).unwrap() else {
                panic!("no changes")
            };
            assert_eq!(changes.len(), 2);
            let next = crate::zone::zone_with_changes(&old, changes, "x").unwrap();
            assert_eq!((next.serial(), next.records()), (5, new.records()));

            let unknown = messages(Outgoing::since(Arc::clone(&new), 0), Rtype::IXFR, limit);
            assert!(matches!(take(&unknown, Some(0)), Ok(Brought::Whole(_))));
            let same = messages(Outgoing::since(Arc::clone(&new), 5), Rtype::IXFR, limit);
            assert!(matches!(take(&same, Some(5)), Ok(Brought::UpToDate(5))));
        }
    }

    #[test]
    fn messages_that_do_not_belong_are_refused() {
        let (_, new) = versions();
        let good = messages(Outgoing::whole(Arc::clone(&new)), Rtype::AXFR, 16_384).remove(0);
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut message = good.clone();
            change(&mut message);
            take(&[message], None).unwrap_err()
        };
        assert_eq!(with(&|message| message[1] ^= 1), IncomingError::Unasked);
        assert_eq!(with(&|message| message[2] &= 0x7f), IncomingError::Unasked);
        assert_eq!(with(&|message| message[13] ^= 1), IncomingError::Unasked);
        assert_eq!(with(&|message| message[3] |= 5), IncomingError::Code(5));
        assert_eq!(with(&|message| message[7] -= 1), IncomingError::Early);
        assert_eq!(with(&|message| message.truncate(40)), IncomingError::Malformed(Malformed));
        assert!(matches!(take(std::slice::from_ref(&good), Some(1)), Err(IncomingError::Unasked)));
        let empty = with(&|message| message[6..12].fill(0));
        assert_eq!(empty, IncomingError::NotAuthoritative);
    }

    fn record(owner: &str, soa: Option<u32>) -> Record {
        let rdata =
            soa.map_or(vec![192, 0, 2, 1], |serial| [&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat());
        let rtype = if soa.is_some() { Rtype::SOA } else { Rtype::A };
        Record { owner: owner.parse().unwrap(), rtype, class: 1, ttl: 1, rdata }
    }

    #[test]
    fn records_in_another_order_mean_nothing() {
        let soa = |serial| record("example", Some(serial));
        let host = || record("a.example", None);
        let take = |have, records: Vec<Record>| {
            let mut incoming = Incoming::new(7, apex(), have);
            records.into_iter().try_fold(None, |_, record| incoming.record(record))
        };
        for (have, records) in [
            (None, vec![host()]),
            (None, vec![soa(3), soa(2)]),
            (None, vec![soa(3), host(), soa(2)]),
            (Some(1), vec![soa(3), soa(2)]),
            (Some(1), vec![soa(3), soa(3)]),
            (Some(1), vec![soa(3), soa(1), soa(2), soa(3)]),
            (Some(1), vec![soa(3), soa(1), soa(3), soa(3), host()]),
        ] {
            let error = take(have, records.clone()).unwrap_err();
            assert!(matches!(error, IncomingError::Disorder(_)), "{records:?}: {error}");
        }
        let changes = take(Some(1), vec![soa(3), soa(1), host(), soa(2), soa(2), soa(3), host(), soa(3)]);
        assert!(matches!(changes, Ok(Some(Brought::Changes(changes))) if changes.len() == 2));
    }
}
