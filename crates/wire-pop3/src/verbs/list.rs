//! `LIST [msg]` (RFC 1939 §5). A list may be long: it is written piece by piece.

use postroad_types::limits::POP3_REPLIES_OCTETS_MAX;

use crate::maildrop::Message;
use crate::session::{List, Session, State};

impl Session {
    pub(crate) fn list(&mut self, number: Option<u32>) {
        match number {
            None => {
                let text = self.messages_and_octets();
                self.ok(text);
                self.state = State::Listing { list: List::Sizes, next: 1 };
            }
            Some(number) => self.list_one(List::Sizes, number),
        }
    }

    pub(super) fn list_one(&mut self, list: List, number: u32) {
        if let Some(message) = self.message(number) {
            let line = self.listed(list, number, message);
            self.ok(line);
        }
    }

    pub(crate) fn list_more(&mut self, list: List, mut next: u32) {
        let mut piece = String::new();
        while piece.len() < POP3_REPLIES_OCTETS_MAX {
            let Some((number, message)) = self.maildrop.at_or_after(next) else {
                piece.push_str(".\r\n");
                self.state = State::Transaction;
                return self.write(piece.as_bytes());
            };
            piece.push_str(&self.listed(list, number, message));
            piece.push_str("\r\n");
            next = number.saturating_add(1);
        }
        self.state = State::Listing { list, next };
        self.write(piece.as_bytes());
    }

    fn listed(&self, list: List, number: u32, message: Message) -> String {
        match list {
            List::Sizes => format!("{number} {}", message.size),
            List::UniqueIds => format!("{number} {}", self.maildrop.unique_id(message)),
        }
    }
}
