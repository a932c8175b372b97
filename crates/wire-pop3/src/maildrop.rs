//! The maildrop as a session sees it: a snapshot with marks (RFC 1939 §5).

use std::fmt;

/// A message of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique in the mailbox and never given again (IMAP's UID).
    pub uid: u32,
    /// In octets, as it goes over the wire without dot-stuffing.
    pub size: u64,
}

/// The messages of the inbox when the session logged in; the first has number 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Changes when uids start over (IMAP's UIDVALIDITY).
    pub uid_validity: u32,
    pub messages: Vec<Message>,
}

/// Names a message for ever (RFC 1939 §7 UIDL): `uidvalidity.uid`.
pub(crate) struct UniqueId {
    pub(crate) uid_validity: u32,
    pub(crate) uid: u32,
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.uid_validity, self.uid)
    }
}

/// Snapshot and deletion marks. Messages marked as deleted have no number until RSET.
#[derive(Default)]
pub(crate) struct Maildrop {
    uid_validity: u32,
    messages: Vec<Message>,
    deleted: Vec<bool>,
    count: u32,
    octets: u64,
}

impl Maildrop {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let mut maildrop = Maildrop {
            uid_validity: snapshot.uid_validity,
            deleted: vec![false; snapshot.messages.len()],
            messages: snapshot.messages,
            count: 0,
            octets: 0,
        };
        maildrop.unmark();
        maildrop
    }

    pub(crate) fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    /// Messages that are not marked.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Octets of the messages that are not marked.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    pub(crate) fn get(&self, number: u32) -> Option<Message> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        if *self.deleted.get(index)? {
            return None;
        }
        self.messages.get(index).copied()
    }

    pub(crate) fn unique_id(&self, message: Message) -> UniqueId {
        UniqueId { uid_validity: self.uid_validity, uid: message.uid }
    }

    /// The first unmarked message at or after `number`, with its number.
    pub(crate) fn at_or_after(&self, number: u32) -> Option<(u32, Message)> {
        let last = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        (number..=last).find_map(|n| self.get(n).map(|message| (n, message)))
    }

    /// False if there is no such message, or it is marked already.
    pub(crate) fn mark(&mut self, number: u32) -> bool {
        let Some(message) = self.get(number) else {
            return false;
        };
        if let Some(deleted) = self.deleted.get_mut(number as usize - 1) {
            *deleted = true;
            self.count -= 1;
            self.octets = self.octets.saturating_sub(message.size);
        }
        true
    }

    pub(crate) fn unmark(&mut self) {
        self.deleted.fill(false);
        self.count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.octets = self.messages.iter().fold(0, |sum, message| sum.saturating_add(message.size));
    }

    /// Uids of the marked messages, in the snapshot's order.
    pub(crate) fn marked(&self) -> Vec<u32> {
        let pairs = self.messages.iter().zip(&self.deleted);
        pairs.filter_map(|(message, deleted)| deleted.then_some(message.uid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_hide_messages_and_keep_numbers() {
        let message = |uid, size| Message { uid, size };
        let mut maildrop = Maildrop::new(Snapshot {
            uid_validity: 1790000000,
            messages: vec![message(3, 100), message(8, 20), message(9, 3)],
        });
        assert!(maildrop.mark(2) && !maildrop.mark(2) && !maildrop.mark(4) && !maildrop.mark(0));
        assert_eq!((maildrop.count(), maildrop.octets()), (2, 103));
        assert_eq!(maildrop.get(2), None);
        assert_eq!(maildrop.at_or_after(2), Some((3, message(9, 3))));
        assert_eq!(maildrop.at_or_after(4), None);
        assert_eq!(maildrop.marked(), [8]);
        assert_eq!(maildrop.unique_id(message(9, 3)).to_string(), "1790000000.9");
        maildrop.unmark();
        assert_eq!((maildrop.count(), maildrop.octets()), (3, 123));
    }

    #[test]
    fn sizes_that_can_not_be_do_not_overflow() {
        let huge = Message { uid: 1, size: u64::MAX };
        let mut maildrop = Maildrop::new(Snapshot { uid_validity: 1, messages: vec![huge, huge] });
        assert!(maildrop.mark(1) && maildrop.mark(2));
        assert_eq!(maildrop.count(), 0);
    }
}
