//! `RETR msg` (RFC 1939 §5) and `TOP msg n` (§7), which is a RETR that stops early.

use crate::body::BodyWriter;
use crate::output::{Ask, BodyError, Scope};
use crate::reply::Code;
use crate::session::{Session, State};

impl Session {
    pub(crate) fn retr(&mut self, number: u32, scope: Scope) {
        let Some(message) = self.message(number) else {
            return;
        };
        self.state = State::OpeningBody { number, scope };
        self.ask(Ask::Body { number, uid_validity: self.maildrop.uid_validity(), uid: message.uid, scope });
    }

    pub(crate) fn body_answered(&mut self, answer: Result<(), BodyError>, number: u32, scope: Scope) {
        self.state = State::Transaction;
        match answer {
            Ok(()) => {
                match (scope, self.maildrop.get(number)) {
                    (Scope::Whole, Some(message)) => self.ok(format_args!("{} octets", message.size)),
                    _ => self.ok("the top of the message follows"),
                }
                self.state = State::WritingBody(BodyWriter::new(scope));
            }
            Err(BodyError::Gone) => self.err(format_args!("message {number} was deleted by another session")),
            Err(BodyError::Damaged) => {
                self.err_code(Code::SysPerm, format_args!("message {number} can't be read"))
            }
            Err(BodyError::Temporary) => {
                self.err_code(Code::SysTemp, "the mailbox does not answer, try later")
            }
        }
    }
}
