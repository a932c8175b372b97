//! SEARCH: the mailbox searches; message numbers and \Recent, which only the session knows, are turned into
//! uids before.

use postroad_wire_imap::command::{Search, SearchKey};
use postroad_wire_imap::response::SearchResult;
use postroad_wire_imap::view::Message;
use postroad_wire_imap::{Flag, Status, Untagged};
use time::Date;

use super::driver::{Driver, Failure, Outcome};
use super::selected::{Selected, ranges};
use crate::mailbox::{SearchKey as Asked, UidRange};

impl Driver {
    pub(super) async fn search(&mut self, command: Search) -> Outcome {
        self.catch_up(command.by_uid).await?;
        let account = self.account()?;
        let with_mod_seq = command.key.has_mod_seq();
        let selected = self.selected_mut()?;
        let key = asked(&command.key, selected)?;
        let (folder, uid_validity) = (selected.folder.clone(), selected.uid_validity);
        let uids = match key {
            // Every message that the client knows of.
            Asked::All => selected.view.messages().map(|(_, message)| message.uid).collect(),
            key => self.context.mailbox.search(account, &folder, uid_validity, key).await?.uids,
        };
        let view = &self.selected_mut()?.view;
        // What came in meanwhile has not been told of, and has no number yet.
        let known = uids.iter().filter_map(|uid| view.get(*uid));
        let mut mod_seq = None;
        let found = known
            .map(|(number, message)| {
                mod_seq = mod_seq.max(Some(message.mod_seq));
                if command.by_uid { message.uid } else { number }
            })
            .collect();
        let result = SearchResult {
            found,
            extended: command.result.map(|options| postroad_wire_imap::response::Extended {
                tag: self.server.tag().to_vec(),
                options,
                by_uid: command.by_uid,
            }),
            mod_seq: mod_seq.filter(|_| with_mod_seq),
        };
        self.server.untagged(&Untagged::Search(result));
        self.tell(command.by_uid);
        Ok(Status::ok("that is what was found"))
    }
}

fn asked(key: &SearchKey, selected: &Selected) -> Result<Asked, Failure> {
    let flag = |flag: &Flag| flag.as_str().to_owned();
    let recent = |wanted: bool, unseen: bool| {
        let such = |m: &Message| m.recent == wanted && !(unseen && m.flags.contains(&Flag::Seen));
        let found = selected.view.messages().filter(|(_, message)| such(message));
        Asked::Uids(UidRange::from_rising(found.map(|(_, message)| message.uid)))
    };
    Ok(match key {
        SearchKey::All => Asked::All,
        SearchKey::Flag(f) => Asked::Flag(flag(f)),
        SearchKey::NoFlag(f) => Asked::NoFlag(flag(f)),
        SearchKey::Recent => recent(true, false),
        SearchKey::Old => recent(false, false),
        SearchKey::New => recent(true, true),
        SearchKey::Messages(set) => Asked::Uids(ranges(&selected.resolve(set, false)?)),
        SearchKey::Uids(set) => Asked::Uids(ranges(&selected.resolve(set, true)?)),
        SearchKey::Before(date) => Asked::Before(day(*date)),
        SearchKey::On(date) => Asked::On(day(*date)),
        SearchKey::Since(date) => Asked::Since(day(*date)),
        SearchKey::SentBefore(date) => Asked::SentBefore(day(*date)),
        SearchKey::SentOn(date) => Asked::SentOn(day(*date)),
        SearchKey::SentSince(date) => Asked::SentSince(day(*date)),
        SearchKey::Larger(size) => Asked::Larger(*size),
        SearchKey::Smaller(size) => Asked::Smaller(*size),
        SearchKey::Header { name, text } => Asked::Header { name: name.clone(), text: text.clone() },
        SearchKey::Body(text) => Asked::Body(text.clone()),
        SearchKey::Text(text) => Asked::Text(text.clone()),
        SearchKey::ModSeq(mod_seq) => Asked::ModSeq(*mod_seq),
        SearchKey::Not(key) => Asked::Not(Box::new(asked(key, selected)?)),
        SearchKey::Or(a, b) => Asked::Or(vec![asked(a, selected)?, asked(b, selected)?]),
        SearchKey::And(keys) => {
            Asked::And(keys.iter().map(|key| asked(key, selected)).collect::<Result<_, _>>()?)
        }
    })
}

fn day(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
