//! Between the words of the sessions and those of the contract.

use postroad_rpc::{Fault, FaultKind, v1};

use super::model::{
    Change, Changes, Copied, FetchItem, FlagMode, Folder, FolderNumbers, MailboxError, MessageInfo, Part,
    SearchKey, UidRange,
};

impl From<tonic::Status> for MailboxError {
    fn from(status: tonic::Status) -> Self {
        let Fault { kind, message } = Fault::from(status);
        match kind {
            FaultKind::NotFound => MailboxError::NotFound,
            FaultKind::AlreadyExists => MailboxError::AlreadyExists,
            FaultKind::Invalid | FaultKind::Precondition => MailboxError::Invalid(message),
            FaultKind::Exhausted => MailboxError::OverQuota,
            FaultKind::Stale => MailboxError::UidValidityChanged,
            FaultKind::Unavailable | FaultKind::Deadline => MailboxError::Unavailable(message),
            FaultKind::Denied | FaultKind::Internal => MailboxError::Internal(message),
        }
    }
}

/// An answer without a part that the contract says is there.
pub(super) fn absent(what: &str) -> MailboxError {
    MailboxError::Internal(format!("the answer does not follow its contract: {what} is absent"))
}

pub(super) fn ranges(ranges: Vec<UidRange>) -> Vec<v1::UidRange> {
    ranges.into_iter().map(|range| v1::UidRange { first: range.first, last: range.last }).collect()
}

fn ranges_back(ranges: Vec<v1::UidRange>) -> Vec<UidRange> {
    ranges.into_iter().map(|range| UidRange { first: range.first, last: range.last }).collect()
}

fn or_none(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<v1::MessageInfo> for MessageInfo {
    fn from(info: v1::MessageInfo) -> Self {
        MessageInfo {
            uid: info.uid,
            flags: info.flags,
            size: info.size,
            internal_date_us: info.internal_date_us,
            mod_seq: info.mod_seq,
            // A damaged trace id costs a line in a timeline, not the message.
            trace: info.trace_id.parse().ok(),
        }
    }
}

pub(super) fn infos(infos: Vec<v1::MessageInfo>) -> Vec<MessageInfo> {
    infos.into_iter().map(MessageInfo::from).collect()
}

impl From<v1::FolderNumbers> for FolderNumbers {
    fn from(numbers: v1::FolderNumbers) -> Self {
        FolderNumbers {
            uid_validity: numbers.uid_validity,
            uid_next: numbers.uid_next,
            highest_mod_seq: numbers.highest_mod_seq,
            messages: numbers.messages,
            unseen: numbers.unseen,
            first_recent_uid: numbers.first_recent_uid,
            octets: numbers.octets,
        }
    }
}

impl From<v1::Folder> for Folder {
    fn from(folder: v1::Folder) -> Self {
        Folder {
            name: folder.name,
            subscribed: folder.subscribed,
            special_use: or_none(folder.special_use),
            no_select: folder.no_select,
            has_children: folder.has_children,
        }
    }
}

impl TryFrom<v1::ChangesReply> for Changes {
    type Error = MailboxError;

    fn try_from(reply: v1::ChangesReply) -> Result<Self, MailboxError> {
        Ok(Changes {
            numbers: reply.numbers.ok_or_else(|| absent("numbers"))?.into(),
            changed: infos(reply.changed),
            expunged: ranges_back(reply.expunged),
        })
    }
}

impl From<v1::StoreFlagsReply> for super::FlagsStored {
    fn from(reply: v1::StoreFlagsReply) -> Self {
        super::FlagsStored { changed: infos(reply.changed), modified: ranges_back(reply.modified) }
    }
}

impl TryFrom<v1::CopyReply> for Copied {
    type Error = MailboxError;

    fn try_from(reply: v1::CopyReply) -> Result<Self, MailboxError> {
        if reply.source_uids.len() != reply.target_uids.len() {
            return Err(MailboxError::Internal(
                "the answer names more sources than targets, or fewer".to_owned(),
            ));
        }
        let uids = reply.source_uids.into_iter().zip(reply.target_uids).collect();
        Ok(Copied { to_uid_validity: reply.to_uid_validity, uids })
    }
}

impl TryFrom<v1::FetchReply> for FetchItem {
    type Error = MailboxError;

    fn try_from(reply: v1::FetchReply) -> Result<Self, MailboxError> {
        use v1::fetch_reply::Item;
        Ok(match reply.item.ok_or_else(|| absent("item"))? {
            Item::Info(info) => FetchItem::Message(info.into()),
            Item::Chunk(chunk) => FetchItem::Chunk(chunk),
            Item::End(_) => FetchItem::End,
            Item::Damaged(why) => FetchItem::Damaged(why),
        })
    }
}

impl From<v1::WatchReply> for Change {
    fn from(reply: v1::WatchReply) -> Self {
        match (reply.folder.is_empty(), reply.folders_changed) {
            (true, true) => Change::Folders,
            (false, false) => Change::Folder { name: reply.folder, mod_seq: reply.mod_seq },
            _ => Change::Unknown,
        }
    }
}

pub(super) fn part(part: Part) -> v1::fetch_request::Part {
    match part {
        Part::Info => v1::fetch_request::Part::Info,
        Part::Header => v1::fetch_request::Part::Header,
        Part::Full => v1::fetch_request::Part::Full,
    }
}

pub(super) fn mode(mode: FlagMode) -> v1::store_flags_request::Mode {
    match mode {
        FlagMode::Set => v1::store_flags_request::Mode::Set,
        FlagMode::Add => v1::store_flags_request::Mode::Add,
        FlagMode::Remove => v1::store_flags_request::Mode::Remove,
    }
}

impl From<SearchKey> for v1::SearchKey {
    fn from(key: SearchKey) -> Self {
        use v1::search_key::{Header, Key, List, Uids};
        let list = |keys: Vec<SearchKey>| List { keys: keys.into_iter().map(v1::SearchKey::from).collect() };
        let key = match key {
            SearchKey::All => Key::All(true),
            SearchKey::Uids(uids) => Key::Uids(Uids { ranges: ranges(uids) }),
            SearchKey::Flag(flag) => Key::Flag(flag),
            SearchKey::NoFlag(flag) => Key::NoFlag(flag),
            SearchKey::Larger(octets) => Key::Larger(octets),
            SearchKey::Smaller(octets) => Key::Smaller(octets),
            SearchKey::Before(day) => Key::Before(day),
            SearchKey::On(day) => Key::On(day),
            SearchKey::Since(day) => Key::Since(day),
            SearchKey::SentBefore(day) => Key::SentBefore(day),
            SearchKey::SentOn(day) => Key::SentOn(day),
            SearchKey::SentSince(day) => Key::SentSince(day),
            SearchKey::Header { name, text } => Key::Header(Header { name, text }),
            SearchKey::Body(text) => Key::Body(text),
            SearchKey::Text(text) => Key::Text(text),
            SearchKey::Not(key) => Key::Not(Box::new((*key).into())),
            SearchKey::Or(keys) => Key::Or(list(keys)),
            SearchKey::And(keys) => Key::And(list(keys)),
            SearchKey::ModSeq(mod_seq) => Key::ModSeq(mod_seq),
        };
        v1::SearchKey { key: Some(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_can_be_done() {
        let error = |status: tonic::Status| MailboxError::from(status);
        assert_eq!(error(tonic::Status::not_found("x")), MailboxError::NotFound);
        assert_eq!(error(tonic::Status::aborted("x")), MailboxError::UidValidityChanged);
        assert_eq!(error(tonic::Status::resource_exhausted("x")), MailboxError::OverQuota);
        assert_eq!(error(tonic::Status::invalid_argument("x")), MailboxError::Invalid("x".to_owned()));
        assert_eq!(error(tonic::Status::unknown("x")), MailboxError::Unavailable("x".to_owned()));
        assert_eq!(error(tonic::Status::permission_denied("x")), MailboxError::Internal("x".to_owned()));
    }

    #[test]
    fn an_answer_that_can_not_be_is_an_error() {
        assert!(FetchItem::try_from(v1::FetchReply { item: None }).is_err());
        assert!(Changes::try_from(v1::ChangesReply::default()).is_err());
        let lopsided = v1::CopyReply { source_uids: vec![1], ..Default::default() };
        assert!(Copied::try_from(lopsided).is_err());
    }

    #[test]
    fn news_that_say_nothing_are_a_reason_to_look_at_everything() {
        assert_eq!(Change::from(v1::WatchReply::default()), Change::Unknown);
        let folder = v1::WatchReply { folder: "INBOX".to_owned(), mod_seq: 7, folders_changed: false };
        assert_eq!(Change::from(folder), Change::Folder { name: "INBOX".to_owned(), mod_seq: 7 });
        assert_eq!(
            Change::from(v1::WatchReply { folders_changed: true, ..Default::default() }),
            Change::Folders
        );
    }
}
