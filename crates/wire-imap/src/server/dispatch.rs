//! A whole command: answered by the machine or asked of the driver.

use super::{Ask, Output, Phase, Server, State};
use crate::command::{self, Command, SearchKey, StatusItem, When};
use crate::reader::{Reader, Refusal};
use crate::response::{Code, Status};

impl Server {
    /// `line` is a whole command without its last line end.
    pub(super) fn dispatch(&mut self, line: &[u8]) {
        self.phase = Phase::Executing;
        self.tag = b"*".to_vec();
        if line.is_empty() {
            return self.finish(Status::bad("an empty line is no command"));
        }
        let mut reader = Reader::new(line);
        let tag = reader.tag().filter(|tag| tag.len() <= 256);
        let (Some(tag), true) = (tag, reader.eat(b' ')) else {
            return self.finish(Status::bad("expected a tag, a space and a command"));
        };
        self.tag = tag.to_vec();
        let Ok(name) = reader.atom("") else {
            return self.finish(Status::bad("expected a command behind the tag"));
        };
        let name = name.to_ascii_uppercase();
        let Some(when) = command::when(&name) else {
            return self.finish(Status::bad("unknown command"));
        };
        if let Some(why) = self.forbids(when) {
            return self.finish(Status::bad(format!("{name} {why}")));
        }
        if name == "APPEND" {
            // Its message is a literal, so that the command does not end with its line.
            return self.finish(Status::bad("expected APPEND mailbox [(flags)] [date-time] and a literal"));
        }
        match command::parse(&name, &mut reader) {
            Ok(command) => self.carry_out(command),
            Err(Refusal::Syntax(why)) => self.finish(Status::bad(format!("{name}: {why}"))),
            Err(Refusal::No(code, why)) => self.finish(Status { code, ..Status::no(why) }),
        }
    }

    fn forbids(&self, when: When) -> Option<&'static str> {
        match (when, self.state) {
            (When::NotAuthenticated, State::Authenticated | State::Selected) => {
                Some("is not allowed any more: you are logged in")
            }
            (When::Authenticated | When::Selected, State::NotAuthenticated) => {
                Some("is not allowed: log in first")
            }
            (When::Selected, State::Authenticated) => Some("is not allowed: select a mailbox first"),
            _ => None,
        }
    }

    fn carry_out(&mut self, command: Command) {
        let ask = match command {
            Command::Capability => {
                let line = format!("* CAPABILITY {}\r\n", self.capabilities());
                self.write(line.into_bytes());
                return self.finish(Status::ok("that is it"));
            }
            Command::Id => {
                self.write(b"* ID (\"name\" \"Postroad\")\r\n".to_vec());
                return self.finish(Status::ok("pleased to meet you"));
            }
            Command::Namespace => {
                self.write(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n".to_vec());
                return self.finish(Status::ok("one namespace"));
            }
            Command::Enable { condstore } => {
                let news = condstore && !self.condstore;
                self.condstore |= condstore;
                let line: &[u8] = if news { b"* ENABLED CONDSTORE\r\n" } else { b"* ENABLED\r\n" };
                self.write(line.to_vec());
                return self.finish(Status::ok("enabled what is known"));
            }
            Command::Logout => {
                self.write(b"* BYE see you\r\n".to_vec());
                let tag = std::mem::take(&mut self.tag);
                self.write_status(&tag, Status::ok("logged out"));
                return self.close();
            }
            Command::StartTls => return self.start_tls(),
            Command::Authenticate(_) | Command::Login(_) if !self.login_allowed() => {
                let status = Status::no("a password is taken inside TLS only: STARTTLS first");
                return self.finish(status.with(Code::PrivacyRequired));
            }
            Command::Authenticate(authenticate) => {
                if !self.config.mechanisms.contains(&authenticate.mechanism) {
                    return self.finish(Status::no("this SASL mechanism is not known").with(Code::Cannot));
                }
                Ask::Authenticate(authenticate)
            }
            Command::Login(login) => Ask::Login(login),
            Command::Select(select) => {
                self.condstore |= select.condstore;
                self.leaves_mailbox = true;
                Ask::Select(select)
            }
            Command::Idle => {
                self.write(b"+ idling\r\n".to_vec());
                self.phase = Phase::Idle;
                return self.outputs.push_back(Output::Ask(Ask::Idle));
            }
            Command::Close | Command::Unselect => {
                self.leaves_mailbox = true;
                if command == Command::Close { Ask::Close } else { Ask::Unselect }
            }
            Command::Noop if !self.is_authenticated() => return self.finish(Status::ok("nothing done")),
            Command::Noop | Command::Check => Ask::Noop,
            Command::Create(create) => Ask::Create(create),
            Command::Delete(mailbox) => Ask::Delete(mailbox),
            Command::Rename(rename) => Ask::Rename(rename),
            Command::Subscribe(mailbox) => Ask::Subscribe { mailbox, subscribed: true },
            Command::Unsubscribe(mailbox) => Ask::Subscribe { mailbox, subscribed: false },
            Command::List(list) => {
                self.condstore |= list.return_status.contains(&StatusItem::HighestModSeq);
                if list.patterns.iter().all(String::is_empty) {
                    // RFC 3501 §6.3.8: only the separator and the reference's root are wanted.
                    self.write(b"* LIST (\\Noselect) \"/\" \"\"\r\n".to_vec());
                    return self.finish(Status::ok("that is the separator"));
                }
                Ask::List(list)
            }
            Command::Lsub(lsub) => Ask::Lsub(lsub),
            Command::Status(status) => {
                self.condstore |= status.items.contains(&StatusItem::HighestModSeq);
                Ask::Status(status)
            }
            Command::GetQuota(root) => Ask::GetQuota(root),
            Command::GetQuotaRoot(mailbox) => Ask::GetQuotaRoot(mailbox),
            Command::Expunge(uids) => Ask::Expunge(uids),
            Command::Search(search) => {
                self.condstore |= SearchKey::has_mod_seq(&search.key);
                Ask::Search(search)
            }
            Command::Fetch(fetch) => {
                self.condstore |= fetch.items.contains(&command::FetchItem::ModSeq);
                Ask::Fetch(fetch)
            }
            Command::Store(store) => {
                self.condstore |= store.unchanged_since.is_some();
                Ask::Store(store)
            }
            Command::Copy(copy) => Ask::Copy(copy),
            Command::Move(copy) => Ask::Move(copy),
        };
        self.outputs.push_back(Output::Ask(ask));
    }

    fn start_tls(&mut self) {
        if self.tls {
            return self.finish(Status::bad("TLS is on already"));
        }
        if !self.config.starttls {
            return self.finish(Status::no("TLS is not available here").with(Code::Unavailable));
        }
        let tag = std::mem::take(&mut self.tag);
        self.write_status(&tag, Status::ok("begin TLS now"));
        // What a middleman put behind STARTTLS must not be taken as the client's word inside TLS.
        self.input.clear();
        self.read = 0;
        self.phase = Phase::Tls;
        self.outputs.push_back(Output::StartTls);
    }
}
