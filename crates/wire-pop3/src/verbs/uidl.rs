//! `UIDL [msg]` (RFC 1939 §7).

use crate::session::{List, Session, State};

impl Session {
    pub(crate) fn uidl(&mut self, number: Option<u32>) {
        match number {
            None => {
                self.ok("unique ids follow");
                self.state = State::Listing { list: List::UniqueIds, next: 1 };
            }
            Some(number) => self.list_one(List::UniqueIds, number),
        }
    }
}
