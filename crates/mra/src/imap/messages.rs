//! STORE, COPY, MOVE, EXPUNGE.

use postroad_wire_imap::command::{Copy, Store, StoreMode};
use postroad_wire_imap::sequence::SequenceSet;
use postroad_wire_imap::view::Numbered;
use postroad_wire_imap::{Code, Status, Untagged};

use super::append::no_folder;
use super::driver::{Driver, Outcome};
use super::selected::ranges;
use crate::mailbox::{Copied, FlagChange, FlagMode};

impl Driver {
    pub(super) async fn store(&mut self, command: Store) -> Outcome {
        self.catch_up(command.by_uid).await?;
        let account = self.account()?;
        let selected = self.writable()?;
        let messages = selected.resolve(&command.messages, command.by_uid)?;
        if messages.is_empty() {
            return Ok(Status::ok("no such message, nothing stored"));
        }
        if command.unchanged_since == Some(0) {
            // Every message is newer than that (RFC 7162 §3.1.3).
            return Ok(left_alone(&messages, command.by_uid));
        }
        let change = FlagChange {
            folder: selected.folder.clone(),
            uid_validity: selected.uid_validity,
            uids: ranges(&messages),
            mode: match command.mode {
                StoreMode::Replace => FlagMode::Set,
                StoreMode::Add => FlagMode::Add,
                StoreMode::Remove => FlagMode::Remove,
            },
            flags: command.flags.iter().map(|flag| flag.as_str().to_owned()).collect(),
            unchanged_since: command.unchanged_since,
        };
        let stored = self.context.mailbox.store_flags(account, change).await?;
        // With CONDSTORE the new mod-sequences are told even if .SILENT (RFC 7162 §3.1.3).
        let silently = command.silent && !self.server.condstore();
        let selected = self.selected_mut()?;
        selected.learn(stored.changed, silently);
        let modified = |uid: u32| {
            let at = stored.modified.partition_point(|range| range.last < uid);
            stored.modified.get(at).is_some_and(|range| range.contains(uid))
        };
        if !command.silent {
            messages.iter().filter(|m| !modified(m.uid)).for_each(|m| selected.view.tell_again(m.uid));
        }
        self.tell(command.by_uid);
        if stored.modified.is_empty() {
            return Ok(Status::ok("stored"));
        }
        let left: Vec<Numbered> = messages.into_iter().filter(|m| modified(m.uid)).collect();
        Ok(left_alone(&left, command.by_uid))
    }

    pub(super) async fn copy(&mut self, command: Copy) -> Outcome {
        self.catch_up(command.by_uid).await?;
        let account = self.account()?;
        let selected = self.selected_mut()?;
        let messages = selected.resolve(&command.messages, command.by_uid)?;
        if messages.is_empty() {
            return Ok(Status::ok("no such message, nothing copied"));
        }
        let (folder, uid_validity) = (selected.folder.clone(), selected.uid_validity);
        let mailbox = self.context.mailbox.clone();
        let copied = mailbox.copy(account, &folder, uid_validity, ranges(&messages), &command.mailbox).await;
        let copied = copied.map_err(no_folder)?;
        if command.mailbox == folder {
            self.selected_mut()?.expect_changes();
        }
        self.tell_what_is_known().await;
        Ok(match copy_uid(copied) {
            Some(code) => Status::ok("copied").with(code),
            None => Status::ok("nothing was there to be copied"),
        })
    }

    pub(super) async fn move_messages(&mut self, command: Copy) -> Outcome {
        self.catch_up(command.by_uid).await?;
        let account = self.account()?;
        let selected = self.writable()?;
        let messages = selected.resolve(&command.messages, command.by_uid)?;
        if messages.is_empty() {
            return Ok(Status::ok("no such message, nothing moved"));
        }
        let (folder, uid_validity) = (selected.folder.clone(), selected.uid_validity);
        let mailbox = self.context.mailbox.clone();
        let moved =
            mailbox.move_messages(account, &folder, uid_validity, ranges(&messages), &command.mailbox).await;
        let moved = moved.map_err(no_folder)?;
        let selected = self.selected_mut()?;
        let gone: Vec<(u32, u32)> = moved.uids.iter().map(|(source, _)| (*source, *source)).collect();
        selected.view.learn([], &gone);
        selected.expect_changes();
        // Where they went is told before they vanish (RFC 6851 §4.3).
        if let Some(code) = copy_uid(moved) {
            self.server.untagged(&Untagged::Condition(Status::ok("moved").with(code)));
        }
        self.tell_what_is_known().await;
        Ok(Status::ok("moved"))
    }

    pub(super) async fn expunge(&mut self, uids: Option<SequenceSet>) -> Outcome {
        self.catch_up(true).await?;
        let account = self.account()?;
        let selected = self.writable()?;
        let uids = match uids {
            Some(set) => match selected.resolve(&set, true)? {
                // An empty list would mean all.
                messages if messages.is_empty() => {
                    return Ok(Status::ok("no such message, nothing expunged"));
                }
                messages => Some(ranges(&messages)),
            },
            None => None,
        };
        let (folder, uid_validity) = (selected.folder.clone(), selected.uid_validity);
        let expunged = self.context.mailbox.expunge(account, &folder, uid_validity, uids).await?;
        let gone: Vec<(u32, u32)> = expunged.uids.iter().map(|uid| (*uid, *uid)).collect();
        self.selected_mut()?.view.learn([], &gone);
        self.tell(true);
        let status = Status::ok("expunged");
        Ok(match self.server.condstore() {
            // RFC 7162 §3.1.2.1 tells it with EXPUNGE, too.
            true if !gone.is_empty() => status.with(Code::HighestModSeq(expunged.highest_mod_seq)),
            _ => status,
        })
    }
}

/// The answer to a STORE that left these messages as they are (RFC 7162 §3.1.3).
fn left_alone(messages: &[Numbered], by_uid: bool) -> Status {
    let left = messages.iter().map(|m| if by_uid { m.uid } else { m.number }).collect();
    Status::ok("some were changed meanwhile and are left as they are").with(Code::Modified(left))
}

/// COPYUID (RFC 4315 §3), unless nothing was copied.
fn copy_uid(copied: Copied) -> Option<Code> {
    let (sources, targets) = copied.uids.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let code = Code::CopyUid { uid_validity: copied.to_uid_validity, sources, targets };
    matches!(&code, Code::CopyUid { sources, .. } if !sources.is_empty()).then_some(code)
}
