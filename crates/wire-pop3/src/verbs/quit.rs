//! `QUIT` (RFC 1939 §4, §6): after login it deletes what is marked, and only it does.

use crate::output::{Ask, DeleteError};
use crate::reply::Code;
use crate::session::{Session, State};

impl Session {
    pub(crate) fn quit(&mut self) {
        let uids = self.maildrop.marked();
        if uids.is_empty() {
            self.ok("good bye");
            return self.close();
        }
        self.state = State::Deleting { count: uids.len() };
        let uid_validity = self.maildrop.uid_validity();
        self.ask(Ask::Delete { uid_validity, uids });
    }

    pub(crate) fn delete_answered(&mut self, answer: Result<(), DeleteError>, count: usize) {
        match answer {
            Ok(()) => self.ok(format_args!("{count} deleted, good bye")),
            Err(DeleteError) => {
                self.err_code(Code::SysTemp, "the messages marked as deleted were not deleted")
            }
        }
        self.close();
    }
}
