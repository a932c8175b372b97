//! Commands about folders as a whole.

use postroad_wire_imap::command::{Create, Rename, Status as StatusCommand, StatusItem};
use postroad_wire_imap::response::QUOTA_ROOT;
use postroad_wire_imap::{Code, MailboxStatus, Status, Untagged};

use super::driver::{Driver, Outcome};
use crate::mailbox::{FolderNumbers, Quota};

impl Driver {
    pub(super) async fn create(&mut self, command: Create) -> Outcome {
        let account = self.account()?;
        let special_use = command.special_use.as_deref();
        self.context.mailbox.create_folder(account, &command.mailbox, special_use).await?;
        Ok(Status::ok("mailbox created"))
    }

    pub(super) async fn delete(&mut self, mailbox: &str) -> Outcome {
        let account = self.account()?;
        if mailbox == "INBOX" {
            return Ok(Status::no("INBOX can't be deleted").with(Code::Cannot));
        }
        self.context.mailbox.delete_folder(account, mailbox).await?;
        Ok(Status::ok("mailbox deleted"))
    }

    pub(super) async fn rename(&mut self, command: Rename) -> Outcome {
        let account = self.account()?;
        self.context.mailbox.rename_folder(account, &command.from, &command.to).await?;
        if let Some(selected) = &mut self.selected {
            // The open mailbox goes on under its new name.
            let below = selected.folder.strip_prefix(&command.from).map(str::to_owned);
            match below {
                Some(rest) if command.from != "INBOX" && (rest.is_empty() || rest.starts_with('/')) => {
                    selected.folder = format!("{}{rest}", command.to);
                }
                _ => selected.expect_changes(),
            }
        }
        Ok(Status::ok("mailbox renamed"))
    }

    pub(super) async fn subscribe(&mut self, mailbox: &str, subscribed: bool) -> Outcome {
        let account = self.account()?;
        self.context.mailbox.subscribe_folder(account, mailbox, subscribed).await?;
        Ok(Status::ok(if subscribed { "subscribed" } else { "no more subscribed" }))
    }

    pub(super) async fn status(&mut self, command: StatusCommand) -> Outcome {
        let account = self.account()?;
        let numbers = self.context.mailbox.folder_status(account, &command.mailbox).await?;
        let items = status_items(&command.items, &numbers);
        self.server.untagged(&Untagged::Status(MailboxStatus { name: command.mailbox, items }));
        Ok(Status::ok("that is its status"))
    }

    pub(super) async fn get_quota(&mut self, root: &[u8]) -> Outcome {
        if root != QUOTA_ROOT.as_bytes() {
            return Ok(Status::no("the one quota root is \"\"").with(Code::NonExistent));
        }
        self.tell_quota().await
    }

    pub(super) async fn get_quota_root(&mut self, mailbox: &str) -> Outcome {
        self.server.untagged(&Untagged::QuotaRoot(mailbox.to_owned()));
        self.tell_quota().await
    }

    async fn tell_quota(&mut self) -> Outcome {
        let account = self.account()?;
        let Quota { used_octets, limit_octets, .. } = self.context.mailbox.quota(account).await?;
        self.server.untagged(&match limit_octets {
            0 => Untagged::NoQuota,
            limit => Untagged::Quota { used_kib: used_octets.div_ceil(1024), limit_kib: limit / 1024 },
        });
        Ok(Status::ok("that is the quota"))
    }
}

pub(super) fn status_items(wanted: &[StatusItem], numbers: &FolderNumbers) -> Vec<(StatusItem, u64)> {
    let value = |item: &StatusItem| match item {
        StatusItem::Messages => numbers.messages.into(),
        // Uids that were expunged since are counted in, as the protocol between the services has no number
        // of its own for this; never more than there are messages.
        StatusItem::Recent => {
            u64::from(numbers.uid_next.saturating_sub(numbers.first_recent_uid).min(numbers.messages))
        }
        StatusItem::UidNext => numbers.uid_next.into(),
        StatusItem::UidValidity => numbers.uid_validity.into(),
        StatusItem::Unseen => numbers.unseen.into(),
        StatusItem::HighestModSeq => numbers.highest_mod_seq,
        StatusItem::Size => numbers.octets,
    };
    wanted.iter().map(|item| (*item, value(item))).collect()
}
