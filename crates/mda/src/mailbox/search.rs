//! Search: what the index knows decides first; a message is read only where a key still needs its octets, and
//! only its header where that is enough.

use postroad_mime::search::{Key as TextKey, Needle, Searched};
use postroad_rpc::v1;
use postroad_rpc::v1::search_key::Key as WireKey;
use postroad_store::StoreError;
use postroad_store::mailbox::{FolderName, MailboxStore, MessageInfo, UidRange};
use postroad_types::{AccountId, limits};
use time::{Date, OffsetDateTime};
use tonic::Status;

use super::convert::{folder, ranges};
use crate::fault::status;

/// Octets of a message that are searched; what lies behind is not text that somebody wrote.
const SEARCHED_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// A key, parsed once.
#[derive(Debug)]
enum Key {
    All,
    Uids(Vec<UidRange>),
    Flag(String),
    NoFlag(String),
    Larger(u64),
    Smaller(u64),
    Before(Date),
    On(Date),
    Since(Date),
    ModSeq(u64),
    Text(TextKey),
    Not(Box<Key>),
    Or(Vec<Key>),
    And(Vec<Key>),
}

/// How much of the message a key needs when the index leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Header,
    Whole,
}

pub async fn run(
    mailboxes: &dyn MailboxStore,
    request: v1::SearchRequest,
) -> Result<v1::SearchReply, Status> {
    let account = AccountId(request.account_id);
    let name = folder(&request.folder)?;
    let key = parse(request.key.unwrap_or_default(), 0)?;
    let all = [UidRange { first: 1, last: u32::MAX }];
    let infos = mailboxes.infos(account, &name, request.uid_validity, &all).await.map_err(status)?;
    let highest = infos.last().map_or(0, |info| info.uid);
    let highest_mod_seq = infos.iter().map(|info| info.mod_seq).max().unwrap_or(0);
    let mut uids = Vec::new();
    for info in &infos {
        let matches = match by_index(&key, info, highest) {
            Ok(known) => known,
            Err(need) => match octets(mailboxes, account, &name, info, need).await {
                Ok(octets) => whole(&key, info, highest, &Searched::new(&octets)),
                // It is gone, or it can't be read: either way it is not found, and the others are.
                Err(StoreError::NotFound(_)) => false,
                Err(StoreError::Damaged(why)) => {
                    tracing::error!(%account, folder = %name, uid = info.uid, error = %why, "a message can't be searched");
                    false
                }
                Err(error) => return Err(status(error)),
            },
        };
        if matches {
            uids.push(info.uid);
        }
    }
    Ok(v1::SearchReply { uids, highest_mod_seq })
}

fn parse(key: v1::SearchKey, depth: usize) -> Result<Key, Status> {
    let wrong = |what: &str| Status::invalid_argument(format!("key: {what}"));
    if depth > limits::IMAP_NESTING_MAX {
        return Err(wrong("nested too deep"));
    }
    let day = |text: &str| -> Result<Date, Status> {
        let form = time::macros::format_description!("[year]-[month]-[day]");
        Date::parse(text, form).map_err(|_| wrong("expected a day as YYYY-MM-DD"))
    };
    let list = |keys: v1::search_key::List| -> Result<Vec<Key>, Status> {
        keys.keys.into_iter().map(|key| parse(key, depth + 1)).collect()
    };
    Ok(match key.key.ok_or_else(|| wrong("absent"))? {
        WireKey::All(_) => Key::All,
        WireKey::Uids(uids) => Key::Uids(ranges(&uids.ranges)),
        WireKey::Flag(flag) => Key::Flag(flag),
        WireKey::NoFlag(flag) => Key::NoFlag(flag),
        WireKey::Larger(octets) => Key::Larger(octets),
        WireKey::Smaller(octets) => Key::Smaller(octets),
        WireKey::Before(text) => Key::Before(day(&text)?),
        WireKey::On(text) => Key::On(day(&text)?),
        WireKey::Since(text) => Key::Since(day(&text)?),
        WireKey::SentBefore(text) => Key::Text(TextKey::SentBefore(day(&text)?)),
        WireKey::SentOn(text) => Key::Text(TextKey::SentOn(day(&text)?)),
        WireKey::SentSince(text) => Key::Text(TextKey::SentSince(day(&text)?)),
        WireKey::Header(header) => {
            Key::Text(TextKey::Header { name: header.name, contains: Needle::new(&header.text) })
        }
        WireKey::Body(text) => Key::Text(TextKey::Body(Needle::new(&text))),
        WireKey::Text(text) => Key::Text(TextKey::Text(Needle::new(&text))),
        WireKey::Not(key) => Key::Not(Box::new(parse(*key, depth + 1)?)),
        WireKey::Or(keys) => Key::Or(list(keys)?),
        WireKey::And(keys) => Key::And(list(keys)?),
        WireKey::ModSeq(mod_seq) => Key::ModSeq(mod_seq),
    })
}

/// What the index says, or how much of the message is needed to say it.
fn by_index(key: &Key, info: &MessageInfo, highest: u32) -> Result<bool, Need> {
    match key {
        Key::Text(key) if key.needs_header_only() => Err(Need::Header),
        Key::Text(_) => Err(Need::Whole),
        Key::Not(key) => by_index(key, info, highest).map(|matches| !matches),
        Key::Or(keys) => combined(keys, info, highest, true),
        Key::And(keys) => combined(keys, info, highest, false),
        simple => Ok(indexed(simple, info, highest)),
    }
}

/// One key that says `decisive` decides for all; else the neediest of the undecided ones says what is needed.
fn combined(keys: &[Key], info: &MessageInfo, highest: u32, decisive: bool) -> Result<bool, Need> {
    let mut need = None;
    for key in keys {
        match by_index(key, info, highest) {
            Ok(said) if said == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(more) => need = need.max(Some(more)),
        }
    }
    need.map_or(Ok(!decisive), Err)
}

fn whole(key: &Key, info: &MessageInfo, highest: u32, message: &Searched<'_>) -> bool {
    match key {
        Key::Text(key) => message.matches(key),
        Key::Not(key) => !whole(key, info, highest, message),
        Key::Or(keys) => keys.iter().any(|key| whole(key, info, highest, message)),
        Key::And(keys) => keys.iter().all(|key| whole(key, info, highest, message)),
        simple => indexed(simple, info, highest),
    }
}

fn indexed(key: &Key, info: &MessageInfo, highest: u32) -> bool {
    match key {
        Key::All => true,
        Key::Uids(ranges) => ranges.iter().any(|range| range.holds(info.uid, highest)),
        Key::Flag(flag) => has_flag(info, flag),
        Key::NoFlag(flag) => !has_flag(info, flag),
        Key::Larger(octets) => info.size_octets > *octets,
        Key::Smaller(octets) => info.size_octets < *octets,
        Key::Before(day) => date_of(info) < *day,
        Key::On(day) => date_of(info) == *day,
        Key::Since(day) => date_of(info) >= *day,
        Key::ModSeq(mod_seq) => info.mod_seq >= *mod_seq,
        Key::Text(_) | Key::Not(_) | Key::Or(_) | Key::And(_) => false,
    }
}

fn has_flag(info: &MessageInfo, flag: &str) -> bool {
    let flags = &info.flags;
    match flag.to_ascii_lowercase().as_str() {
        "\\answered" => flags.answered,
        "\\flagged" => flags.flagged,
        "\\deleted" => flags.deleted,
        "\\seen" => flags.seen,
        "\\draft" => flags.draft,
        keyword => flags.keywords.iter().any(|there| there.eq_ignore_ascii_case(keyword)),
    }
}

/// The day of INTERNALDATE, in UTC.
fn date_of(info: &MessageInfo) -> Date {
    OffsetDateTime::from_unix_timestamp(info.internal_date.div_euclid(1_000_000))
        .map_or(Date::MIN, OffsetDateTime::date)
}

async fn octets(
    mailboxes: &dyn MailboxStore,
    account: AccountId,
    name: &FolderName,
    info: &MessageInfo,
    need: Need,
) -> Result<bytes::Bytes, StoreError> {
    match need {
        Need::Header => mailboxes.header(account, name, info.uid).await,
        Need::Whole => {
            let length = usize::try_from(info.size_octets.min(SEARCHED_OCTETS_MAX)).unwrap_or(usize::MAX);
            mailboxes.read(account, name, info.uid, 0, length).await
        }
    }
}

#[cfg(test)]
mod tests;
