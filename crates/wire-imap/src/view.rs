//! A selected mailbox as its client knows it: message numbers, and the news that it was not told.
//!
//! A message's number is its place among the messages that the client was told of. The mailbox goes on
//! changing under other sessions; what changed is learned at any time and told when the protocol allows:
//! EXISTS and FETCH (FLAGS) with any command, EXPUNGE, which shifts numbers, never while a command runs that
//! uses numbers (FETCH, STORE, SEARCH; RFC 3501 §7.4.1). Until it is told, an expunged message keeps its number.

use crate::flag::Flags;
use crate::response::Untagged;
use crate::sequence::SequenceSet;

/// What is known of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub uid: u32,
    pub flags: Flags,
    pub mod_seq: u64,
    /// This session is the first that is told of it.
    pub recent: bool,
    /// In octets.
    pub size: u64,
    /// INTERNALDATE in microseconds since 1970.
    pub internal_date_us: i64,
}

#[derive(Clone, Debug)]
struct Entry {
    message: Message,
    /// Expunged, and the client does not know.
    gone: bool,
    /// Its flags are others than the client knows.
    changed: bool,
}

/// A message that a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub number: u32,
    pub uid: u32,
}

/// A message number that the client cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no message {0}: the mailbox has {1}")]
pub struct NoSuchNumber(pub u32, pub u32);

#[derive(Clone, Debug, Default)]
pub struct View {
    /// In uid order; the place is the number less one.
    told: Vec<Entry>,
    /// New and not told of, in uid order, all above the told ones.
    arrived: Vec<Message>,
    /// Whether anything in `told` is gone or changed.
    has_gone: bool,
    has_changed: bool,
}

impl View {
    /// Of a mailbox that is being selected: all its messages are told of with the EXISTS that follows.
    /// Messages are in uid order.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        let told = messages.into_iter().map(Entry::of).collect();
        View { told, ..View::default() }
    }

    /// Messages that the client knows of.
    pub fn exists(&self) -> u32 {
        u32::try_from(self.told.len()).unwrap_or(u32::MAX)
    }

    pub fn recent(&self) -> u32 {
        u32::try_from(self.told.iter().filter(|e| e.message.recent).count()).unwrap_or(u32::MAX)
    }

    /// The number of the first message without `\Seen`.
    pub fn first_unseen(&self) -> Option<u32> {
        let at = self.told.iter().position(|e| !e.message.flags.contains(&crate::Flag::Seen))?;
        u32::try_from(at + 1).ok()
    }

    /// All keywords that messages have, and the system flags.
    pub fn flags_in_use(&self) -> Flags {
        let mut flags = Flags::from_names(["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"]);
        for entry in &self.told {
            for keyword in entry.message.flags.keywords() {
                crate::Flag::parse(keyword).into_iter().for_each(|flag| flags.insert(flag));
            }
        }
        flags
    }

    /// The message of that uid, if the client was told of it.
    pub fn get(&self, uid: u32) -> Option<(u32, &Message)> {
        let at = self.place(uid)?;
        Some((u32::try_from(at + 1).ok()?, &self.told.get(at)?.message))
    }

    pub fn messages(&self) -> impl Iterator<Item = (u32, &Message)> {
        (1..).zip(self.told.iter().map(|entry| &entry.message))
    }

    fn place(&self, uid: u32) -> Option<usize> {
        self.told.binary_search_by_key(&uid, |entry| entry.message.uid).ok()
    }

    /// The messages of a set, in order. Uids that are not there are passed over; a message number that is not
    /// there is the client's error (RFC 3501 §9, `seq-number`). `1:*` of an empty mailbox is nothing.
    pub fn resolve(&self, set: &SequenceSet, by_uid: bool) -> Result<Vec<Numbered>, NoSuchNumber> {
        let exists = self.exists();
        let mut found = Vec::new();
        if by_uid {
            let highest = self.told.last().map_or(0, |entry| entry.message.uid);
            for (first, last) in set.ranges(highest) {
                let start = self.told.partition_point(|entry| entry.message.uid < first);
                let inside = self.told.iter().enumerate().skip(start);
                let inside = inside.take_while(|(_, entry)| entry.message.uid <= last);
                found.extend(inside.map(|(at, entry)| numbered(at, entry)));
            }
            return Ok(found);
        }
        if let Some(wrong) = set.highest_named().filter(|n| *n > exists)
            && !(exists == 0 && wrong == 1)
        {
            return Err(NoSuchNumber(wrong, exists));
        }
        for (first, last) in set.ranges(exists) {
            let inside = self.told.iter().enumerate().skip(first as usize - 1);
            found.extend(inside.take((last - first) as usize + 1).map(|(at, entry)| numbered(at, entry)));
        }
        Ok(found)
    }

    /// What the mailbox says has changed: messages new or with new flags, and uid ranges that are gone.
    pub fn learn(&mut self, changed: impl IntoIterator<Item = Message>, expunged: &[(u32, u32)]) {
        for message in changed {
            self.learn_message(message, true);
        }
        for (first, last) in expunged {
            let start = self.told.partition_point(|entry| entry.message.uid < *first);
            let inside = self.told.iter_mut().skip(start);
            for entry in inside.take_while(|entry| entry.message.uid <= *last) {
                entry.gone = true;
                self.has_gone = true;
            }
            self.arrived.retain(|message| !(*first..=*last).contains(&message.uid));
        }
    }

    /// What this session's own STORE made of messages, of which the client wants to hear nothing (.SILENT).
    pub fn learn_silently(&mut self, changed: impl IntoIterator<Item = Message>) {
        for message in changed {
            self.learn_message(message, false);
        }
    }

    /// The client asked to hear a message's flags though they may be the same as before.
    pub fn tell_again(&mut self, uid: u32) {
        if let Some(entry) = self.place(uid).and_then(|at| self.told.get_mut(at)) {
            entry.changed = true;
            self.has_changed = true;
        }
    }

    fn learn_message(&mut self, message: Message, tell: bool) {
        if let Some(entry) = self.place(message.uid).and_then(|at| self.told.get_mut(at)) {
            // Answers of several calls may overtake each other.
            if message.mod_seq < entry.message.mod_seq {
                return;
            }
            let news = entry.message.flags != message.flags || entry.message.mod_seq != message.mod_seq;
            entry.message.flags = message.flags;
            entry.message.mod_seq = message.mod_seq;
            entry.changed |= news && tell;
            self.has_changed |= entry.changed;
            return;
        }
        if self.told.last().is_some_and(|last| message.uid < last.message.uid) {
            // Expunged and told of long ago.
            return;
        }
        match self.arrived.binary_search_by_key(&message.uid, |m| m.uid) {
            Ok(at) => {
                if let Some(known) = self.arrived.get_mut(at) {
                    *known = message;
                }
            }
            Err(at) => self.arrived.insert(at, message),
        }
    }

    /// Whether there is anything to tell.
    pub fn has_news(&self) -> bool {
        self.has_gone || self.has_changed || !self.arrived.is_empty()
    }

    /// Tells the news. `may_expunge`: the command at hand does not forbid EXPUNGE. `mod_seqs`: the client knows
    /// CONDSTORE.
    pub fn tell(&mut self, may_expunge: bool, mod_seqs: bool) -> Vec<Untagged> {
        let mut responses = Vec::new();
        if may_expunge && std::mem::take(&mut self.has_gone) {
            let mut number = 0;
            self.told.retain(|entry| {
                if entry.gone {
                    // Each EXPUNGE shifts the numbers behind it at once.
                    responses.push(Untagged::Expunge(number + 1));
                } else {
                    number += 1;
                }
                !entry.gone
            });
        }
        if !self.arrived.is_empty() {
            self.told.extend(self.arrived.drain(..).map(Entry::of));
            responses.push(Untagged::Exists(self.exists()));
            responses.push(Untagged::Recent(self.recent()));
        }
        if std::mem::take(&mut self.has_changed) {
            for (number, entry) in (1..).zip(&mut self.told) {
                // Of a message that is gone nothing is said any more but that.
                if std::mem::take(&mut entry.changed) && !entry.gone {
                    responses.push(Untagged::Fetch {
                        number,
                        uid: Some(entry.message.uid),
                        flags: entry.message.flags.clone(),
                        recent: entry.message.recent,
                        mod_seq: mod_seqs.then_some(entry.message.mod_seq),
                    });
                }
            }
        }
        responses
    }
}

impl Entry {
    fn of(message: Message) -> Self {
        Entry { message, gone: false, changed: false }
    }
}

fn numbered(at: usize, entry: &Entry) -> Numbered {
    Numbered { number: u32::try_from(at + 1).unwrap_or(u32::MAX), uid: entry.message.uid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::Number::{Exact, Highest};
    use proptest::prelude::*;

    fn message(uid: u32, mod_seq: u64, flags: &[&str]) -> Message {
        Message {
            uid,
            flags: Flags::from_names(flags.iter().copied()),
            mod_seq,
            recent: false,
            size: 9,
            internal_date_us: 0,
        }
    }

    fn told(view: &mut View, may_expunge: bool) -> Vec<String> {
        let mut out = Vec::new();
        view.tell(may_expunge, false).iter().for_each(|response| response.write_to(&mut out));
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn set(first: u32, last: crate::Number) -> SequenceSet {
        SequenceSet(vec![(Exact(first), last)])
    }

    #[test]
    fn expunged_messages_keep_their_number_until_it_is_told() {
        let mut view = View::new([3, 5, 7, 9].map(|uid| message(uid, 1, &[])));
        view.learn([message(11, 4, &["\\Seen"]), message(9, 3, &["\\Seen"])], &[(4, 7)]);
        assert_eq!(told(&mut view, false), ["* 5 EXISTS", "* 0 RECENT", "* 4 FETCH (UID 9 FLAGS (\\Seen))"]);
        assert_eq!(view.get(9).unwrap().0, 4);
        assert_eq!(told(&mut view, true), ["* 2 EXPUNGE", "* 2 EXPUNGE"]);
        assert_eq!(view.get(9).unwrap().0, 2);
        assert!(!view.has_news());
    }

    #[test]
    fn sets_are_resolved_against_what_was_told() {
        let mut view = View::new([3, 5, 7].map(|uid| message(uid, 1, &[])));
        view.learn([message(9, 2, &[])], &[]);
        let uids = |found: Result<Vec<Numbered>, NoSuchNumber>| {
            found.map(|f| f.iter().map(|n| n.uid).collect::<Vec<_>>())
        };
        assert_eq!(uids(view.resolve(&set(2, Highest), false)), Ok(vec![5, 7]));
        assert_eq!(uids(view.resolve(&set(4, Highest), true)), Ok(vec![5, 7]));
        assert_eq!(uids(view.resolve(&set(100, Highest), true)), Ok(vec![7]));
        assert_eq!(view.resolve(&set(2, Exact(4)), false), Err(NoSuchNumber(4, 3)));
        assert_eq!(View::default().resolve(&set(1, Highest), false), Ok(vec![]));
        assert!(View::default().resolve(&set(2, Highest), false).is_err());
    }

    #[test]
    fn old_answers_do_not_undo_new_ones() {
        let mut view = View::new([message(3, 5, &["\\Seen"])]);
        view.learn([message(3, 4, &[]), message(2, 9, &[])], &[]);
        assert!(!view.has_news());
        view.learn_silently([message(3, 6, &["\\Flagged"])]);
        assert!(!view.has_news());
        view.learn([message(3, 6, &["\\Flagged"])], &[]);
        assert!(!view.has_news());
        view.tell_again(3);
        assert_eq!(told(&mut view, true), ["* 1 FETCH (UID 3 FLAGS (\\Flagged))"]);
    }

    /// A client that does what RFC 3501 asks of it: removes at EXPUNGE, grows at EXISTS.
    #[derive(Default)]
    struct Client {
        numbers: usize,
    }

    proptest! {
        #[test]
        fn the_client_counts_the_same(
            steps in proptest::collection::vec((any::<bool>(), 1u32..30, 0u32..4), 0..40),
        ) {
            let mut view = View::default();
            let mut client = Client::default();
            let mut next_uid = 1;
            for (mod_seq, (may_expunge, first, count)) in (1u64..).zip(steps) {
                let new: Vec<Message> = (0..count).map(|n| message(next_uid + n, mod_seq, &[])).collect();
                next_uid += count;
                view.learn(new, &[(first, first + 1)]);
                for response in view.tell(may_expunge, false) {
                    match response {
                        Untagged::Expunge(number) => {
                            prop_assert!(may_expunge && number as usize <= client.numbers && number > 0);
                            client.numbers -= 1;
                        }
                        Untagged::Exists(count) => {
                            prop_assert!(count as usize >= client.numbers);
                            client.numbers = count as usize;
                        }
                        _ => {}
                    }
                }
                prop_assert_eq!(client.numbers, view.exists() as usize);
            }
        }
    }
}
