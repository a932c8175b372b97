//! FETCH: what it takes is planned first, then asked in one call for all messages.
//!
//! | items | what is read of each message |
//! |---|---|
//! | uid, flags, size, date, mod-sequence | nothing: the view knows them |
//! | envelope, header sections | its header |
//! | the message, or a range of it, alone | passed through in chunks |
//! | body structure, parts | a small message whole; of a large one the structure, then each part by range |

mod large;
mod plan;
mod stream;
mod write;

use metrics::counter;
use postroad_types::TraceId;
use postroad_types::limits::IMAP_FETCH_HELD_OCTETS_MAX;
use postroad_wire_imap::command::Fetch;
use postroad_wire_imap::view::{Message, Numbered};
use postroad_wire_imap::{Code, FetchWriter, Flag, Status};

use self::plan::{Plan, Reads, Through};
use self::stream::{Messages, Octets};
use super::driver::{Driver, Failure, Outcome};
use super::selected::ranges;
use crate::conn::Protocol;
use crate::mailbox::{FetchRequest, FlagChange, FlagMode, MailboxError, Part};

pub(super) use large::Structures;

/// Octets of responses that are collected before they are written.
const BUFFER_OCTETS: usize = 64 * 1024;

/// A FETCH while it is carried out.
struct Fetching {
    plan: Plan,
    /// Uids that this FETCH sets `\Seen` on, rising: their flags are told though they were not asked for.
    newly_seen: Vec<u32>,
    out: Vec<u8>,
    /// Messages that could not be read.
    damaged: u32,
    answered: usize,
}

impl Driver {
    pub(in super::super) async fn fetch(&mut self, command: Fetch) -> Outcome {
        self.catch_up(command.by_uid).await?;
        let selected = self.selected_mut()?;
        let mut messages = selected.resolve(&command.messages, command.by_uid)?;
        if let Some(since) = command.changed_since {
            messages.retain(|m| selected.view.get(m.uid).is_some_and(|(_, known)| known.mod_seq > since));
        }
        if messages.is_empty() {
            return Ok(Status::ok("no such message, nothing fetched"));
        }
        let newly_seen = match command.items.iter().any(|item| item.sets_seen()) {
            true => self.set_seen(&messages).await?,
            false => Vec::new(),
        };
        let plan = Plan::new(command.items);
        let mut fetching = Fetching { plan, newly_seen, out: Vec::new(), damaged: 0, answered: 0 };
        self.send().await?;
        match fetching.plan.reads {
            Reads::Nothing => self.fetch_known(&mut fetching, &messages).await?,
            Reads::Header => self.fetch_headers(&mut fetching, &messages).await?,
            Reads::Through(through) => self.fetch_through(&mut fetching, &messages, through).await?,
            Reads::Whole => self.fetch_whole(&mut fetching, &messages).await?,
        }
        self.conn.write(&std::mem::take(&mut fetching.out)).await?;
        self.fetched += fetching.answered as u64;
        let missing = messages.len().saturating_sub(fetching.answered + fetching.damaged as usize);
        if missing > 0 {
            self.selected_mut()?.expect_changes();
        }
        self.tell_news_of_fetch(command.by_uid).await;
        if fetching.damaged > 0 {
            let text = format!("{} of the messages can't be read, the operator must look", fetching.damaged);
            return Ok(Status::no(text).with(Code::ServerBug));
        }
        if missing > 0 && !command.by_uid {
            return Ok(Status::no("some of the messages are gone").with(Code::ExpungeIssued));
        }
        Ok(Status::ok("fetched"))
    }

    /// Messages that vanished under the FETCH are told of as gone, where EXPUNGE is allowed.
    async fn tell_news_of_fetch(&mut self, may_expunge: bool) {
        if let Err(error) = self.refresh(false).await {
            tracing::debug!(%error, "news can't be read now");
        }
        self.tell(may_expunge);
    }

    /// Sets `\Seen` where it is not; answers the uids where it was not (RFC 3501 §6.4.5).
    async fn set_seen(&mut self, messages: &[Numbered]) -> Result<Vec<u32>, Failure> {
        let account = self.account()?;
        let selected = self.selected_mut()?;
        if selected.read_only {
            return Ok(Vec::new());
        }
        let seen = |m: &Numbered| {
            selected.view.get(m.uid).is_none_or(|(_, known)| known.flags.contains(&Flag::Seen))
        };
        let unseen: Vec<Numbered> = messages.iter().copied().filter(|m| !seen(m)).collect();
        if unseen.is_empty() {
            return Ok(Vec::new());
        }
        let change = FlagChange {
            folder: selected.folder.clone(),
            uid_validity: selected.uid_validity,
            uids: ranges(&unseen),
            mode: FlagMode::Add,
            flags: vec![Flag::Seen.as_str().to_owned()],
            unchanged_since: None,
        };
        let stored = self.context.mailbox.store_flags(account, change).await?;
        // Told with the message itself.
        self.selected_mut()?.learn(stored.changed, true);
        Ok(unseen.iter().map(|m| m.uid).collect())
    }

    async fn fetch_known(&mut self, fetching: &mut Fetching, messages: &[Numbered]) -> Result<(), Failure> {
        for message in messages {
            if let Some(writer) = self.begin(fetching, message.uid) {
                fetching.out = writer.finish();
                fetching.answered += 1;
            }
            self.write_if_full(fetching).await?;
        }
        Ok(())
    }

    async fn fetch_headers(&mut self, fetching: &mut Fetching, messages: &[Numbered]) -> Result<(), Failure> {
        let mut stream = self.open(messages, Part::Header, 0, 0).await?;
        while let Some(info) = stream.next_message().await? {
            let mut header = Vec::new();
            if !self.collect(fetching, &mut stream, info.uid, &mut header).await? {
                continue;
            }
            if let Some(mut writer) = self.begin(fetching, info.uid) {
                write::header_items(&mut writer, &fetching.plan.items, &header);
                fetching.out = writer.finish();
                fetching.answered += 1;
            }
            self.write_if_full(fetching).await?;
        }
        Ok(())
    }

    /// The octets go from the mailbox to the client as they come.
    async fn fetch_through(
        &mut self,
        fetching: &mut Fetching,
        messages: &[Numbered],
        through: Through,
    ) -> Result<(), Failure> {
        let mut stream = self.open(messages, Part::Full, through.offset, through.length).await?;
        while let Some(info) = stream.next_message().await? {
            // Before anything is said of it, it must be sure that there is something to be read.
            let mut octets = stream.next_octets().await?;
            if let Octets::Damaged(why) = octets {
                self.report_damaged(fetching, info.uid, &why);
                continue;
            }
            let size = through.size_of(info.size);
            let Some(mut writer) = self.begin(fetching, info.uid) else {
                stream.skip(octets).await?;
                continue;
            };
            write::begin_through(&mut writer, &fetching.plan.items, size);
            loop {
                match octets {
                    Octets::Chunk(chunk) => writer.chunk(&chunk),
                    Octets::End => break,
                    Octets::Damaged(why) => return Err(broken_off(&why)),
                }
                if writer.buffered() >= BUFFER_OCTETS {
                    self.conn.write(&writer.take()).await?;
                }
                octets = stream.next_octets().await.map_err(|error| broken_off(&error.to_string()))?;
            }
            if writer.missing() > 0 {
                return Err(broken_off("the message is shorter than it was said to be"));
            }
            fetching.out = writer.finish();
            fetching.answered += 1;
            if through.reaches_end(info.size) {
                self.trace_fetch(info.trace, info.uid, info.size);
            }
            self.write_if_full(fetching).await?;
        }
        Ok(())
    }

    async fn fetch_whole(&mut self, fetching: &mut Fetching, messages: &[Numbered]) -> Result<(), Failure> {
        let view = &self.selected_mut()?.view;
        let is_small =
            |m: &Numbered| view.get(m.uid).is_none_or(|(_, k)| k.size <= IMAP_FETCH_HELD_OCTETS_MAX);
        let (small, large): (Vec<Numbered>, Vec<Numbered>) = messages.iter().copied().partition(is_small);
        if !small.is_empty() {
            let mut stream = self.open(&small, Part::Full, 0, 0).await?;
            while let Some(info) = stream.next_message().await? {
                let mut octets = Vec::new();
                if !self.collect(fetching, &mut stream, info.uid, &mut octets).await? {
                    continue;
                }
                if let Some(mut writer) = self.begin(fetching, info.uid) {
                    let structure = postroad_mime::Structure::parse(&octets);
                    write::all_items(&mut writer, &fetching.plan.items, &octets, &structure);
                    fetching.out = writer.finish();
                    fetching.answered += 1;
                }
                if fetching.plan.has_whole_message {
                    self.trace_fetch(info.trace, info.uid, info.size);
                }
                self.write_if_full(fetching).await?;
            }
        }
        for message in large {
            self.fetch_large(fetching, message).await?;
        }
        Ok(())
    }

    /// All octets of a message; whether it could be read.
    async fn collect(
        &mut self,
        fetching: &mut Fetching,
        stream: &mut Messages,
        uid: u32,
        octets: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        loop {
            match stream.next_octets().await? {
                Octets::Chunk(chunk) => octets.extend_from_slice(&chunk),
                Octets::End => return Ok(true),
                Octets::Damaged(why) => {
                    self.report_damaged(fetching, uid, &why);
                    return Ok(false);
                }
            }
        }
    }

    /// Begins a message's response with all that the view knows; `None` if the client was not told of it.
    fn begin(&mut self, fetching: &mut Fetching, uid: u32) -> Option<FetchWriter> {
        let selected = self.selected.as_ref()?;
        let (number, message): (u32, &Message) = selected.view.get(uid)?;
        let mut writer = FetchWriter::new(std::mem::take(&mut fetching.out), number);
        let seen_now = fetching.newly_seen.binary_search(&uid).is_ok();
        write::known_items(&mut writer, &fetching.plan.items, message, seen_now, self.server.condstore());
        Some(writer)
    }

    async fn open(
        &mut self,
        messages: &[Numbered],
        part: Part,
        offset: u64,
        length: u64,
    ) -> Result<Messages, Failure> {
        let account = self.account()?;
        let selected = self.selected_mut()?;
        let request = FetchRequest {
            folder: selected.folder.clone(),
            uid_validity: selected.uid_validity,
            uids: ranges(messages),
            part,
            offset,
            length,
        };
        Ok(Messages::new(self.context.mailbox.fetch(account, request).await?))
    }

    async fn write_if_full(&mut self, fetching: &mut Fetching) -> Result<(), Failure> {
        if fetching.out.len() >= BUFFER_OCTETS {
            self.conn.write(&fetching.out).await?;
            fetching.out.clear();
        }
        Ok(())
    }

    fn report_damaged(&mut self, fetching: &mut Fetching, uid: u32, why: &str) {
        let folder = self.selected.as_ref().map_or("", |selected| selected.folder.as_str());
        tracing::error!(folder, uid, why, "a message can't be read");
        fetching.damaged += 1;
    }

    /// Writes down that a message has gone to its reader.
    fn trace_fetch(&self, trace: Option<TraceId>, uid: u32, octets: u64) {
        counter!("postroad_mra_fetched_total", "protocol" => Protocol::Imap.name()).increment(1);
        if let (Some(trace), Some(login), Some(selected)) = (trace, &self.login, &self.selected) {
            self.context.trace_fetched(trace, Protocol::Imap, login, &selected.folder, uid, octets);
        }
    }
}

/// Inside a literal nothing else can be said: the connection ends.
fn broken_off(why: &str) -> Failure {
    let error = MailboxError::Unavailable(why.to_owned());
    Failure::Connection(std::io::Error::other(format!("a message broke off: {error}")))
}
