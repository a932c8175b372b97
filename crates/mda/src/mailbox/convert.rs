//! Between the contract's messages and the store's words.

use postroad_rpc::v1;
use postroad_store::mailbox::{Copied, FlagChange, Flags, FolderName, FolderNumbers, MessageInfo, UidRange};
use tonic::Status;

use crate::fault::status;

pub fn folder(name: &str) -> Result<FolderName, Status> {
    name.parse().map_err(status)
}

pub fn ranges(uids: &[v1::UidRange]) -> Vec<UidRange> {
    uids.iter().map(|range| UidRange { first: range.first, last: range.last }).collect()
}

/// UIDs that rise, as the fewest ranges.
pub fn rising(uids: &[u32]) -> Vec<v1::UidRange> {
    let mut ranges: Vec<v1::UidRange> = Vec::new();
    for &uid in uids {
        match ranges.last_mut() {
            Some(range) if range.last.checked_add(1) == Some(uid) => range.last = uid,
            _ => ranges.push(v1::UidRange { first: uid, last: uid }),
        }
    }
    ranges
}

pub fn numbers(found: &FolderNumbers) -> v1::FolderNumbers {
    v1::FolderNumbers {
        uid_validity: found.uid_validity,
        uid_next: found.uid_next,
        highest_mod_seq: found.highest_mod_seq,
        messages: found.messages,
        unseen: found.unseen,
        first_recent_uid: found.first_recent_uid,
        octets: found.octets,
    }
}

pub fn infos(found: &[MessageInfo]) -> Vec<v1::MessageInfo> {
    found.iter().map(info).collect()
}

pub fn info(found: &MessageInfo) -> v1::MessageInfo {
    v1::MessageInfo {
        uid: found.uid,
        flags: names(&found.flags),
        size: found.size_octets,
        internal_date_us: found.internal_date,
        mod_seq: found.mod_seq,
        trace_id: found.trace_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn names(flags: &Flags) -> Vec<String> {
    let system = [
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.seen, "\\Seen"),
        (flags.draft, "\\Draft"),
    ];
    let system = system.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
    system.chain(flags.keywords.iter().cloned()).collect()
}

/// System flags in any letter case; keywords are atoms (RFC 3501 section 9).
pub fn flags(names: &[String]) -> Result<Flags, Status> {
    let mut flags = Flags::default();
    let mut keywords = Vec::new();
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "\\answered" => flags.answered = true,
            "\\flagged" => flags.flagged = true,
            "\\deleted" => flags.deleted = true,
            "\\seen" => flags.seen = true,
            "\\draft" => flags.draft = true,
            "\\recent" => {}
            _ if is_keyword(name) => keywords.push(name.clone()),
            _ => return Err(Status::invalid_argument(format!("{name:?} is no flag"))),
        }
    }
    Ok(flags.changed(FlagChange::Add, &Flags { keywords, ..Flags::default() }))
}

fn is_keyword(name: &str) -> bool {
    let atom = |octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
    !name.is_empty() && name.bytes().all(atom)
}

pub fn change(mode: v1::store_flags_request::Mode) -> FlagChange {
    match mode {
        v1::store_flags_request::Mode::Set => FlagChange::Set,
        v1::store_flags_request::Mode::Add => FlagChange::Add,
        v1::store_flags_request::Mode::Remove => FlagChange::Remove,
    }
}

pub fn copied(copied: Copied) -> v1::CopyReply {
    let (source_uids, target_uids) = copied.uids.into_iter().unzip();
    v1::CopyReply { to_uid_validity: copied.to_uid_validity, source_uids, target_uids }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_and_what_is_none_is_refused() {
        let given: Vec<String> = ["\\SEEN", "$Junk", "\\Recent", "$junk"].map(str::to_owned).to_vec();
        assert_eq!(names(&flags(&given).unwrap()), ["\\Seen", "$Junk"]);
        for wrong in ["\\Odd", "", "a b", "a\"", "ä"] {
            assert!(flags(&[wrong.to_owned()]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rising_uids_become_few_ranges() {
        let range = |first, last| v1::UidRange { first, last };
        assert_eq!(rising(&[1, 2, 3, 7, 9, 10]), [range(1, 3), range(7, 7), range(9, 10)]);
        assert_eq!(rising(&[u32::MAX]), [range(u32::MAX, u32::MAX)]);
    }
}
