//! LIST and LSUB.

use futures_util::{StreamExt, stream};
use postroad_types::AccountId;
use postroad_wire_imap::command::{List, Lsub};
use postroad_wire_imap::listing::{self, Folder};
use postroad_wire_imap::{ListItem, MailboxStatus, Status, Untagged};

use super::driver::{Driver, Failure, Outcome};
use super::folders::status_items;
use crate::mailbox::MailboxClient;

/// Questions for STATUS that are under way at a time.
const STATUS_CALLS_MAX: usize = 16;

impl Driver {
    pub(super) async fn list(&mut self, command: List) -> Outcome {
        let account = self.account()?;
        let items = listing::list(&self.folders(account).await?, &command);
        let mut statuses = statuses(&*self.context.mailbox, account, &command, &items).await;
        for item in items {
            let status = statuses.iter().position(|status| status.name == item.name);
            self.server.untagged(&Untagged::List(item));
            if let Some(at) = status {
                self.server.untagged(&Untagged::Status(statuses.swap_remove(at)));
            }
        }
        Ok(Status::ok("that is all"))
    }

    pub(super) async fn lsub(&mut self, command: Lsub) -> Outcome {
        let account = self.account()?;
        for item in listing::lsub(&self.folders(account).await?, &command) {
            self.server.untagged(&Untagged::Lsub(item));
        }
        Ok(Status::ok("that is all"))
    }

    async fn folders(&mut self, account: AccountId) -> Result<Vec<Folder>, Failure> {
        let folders = self.context.mailbox.list_folders(account).await?;
        Ok(folders
            .into_iter()
            .map(|folder| Folder {
                name: folder.name,
                subscribed: folder.subscribed,
                special_use: folder.special_use,
                no_select: folder.no_select,
            })
            .collect())
    }
}

/// RETURN (STATUS …): of the folders that can be selected; one that fails is left out (RFC 5819 §2).
async fn statuses(
    mailbox: &dyn MailboxClient,
    account: AccountId,
    command: &List,
    items: &[ListItem],
) -> Vec<MailboxStatus> {
    if command.return_status.is_empty() {
        return Vec::new();
    }
    let names = items
        .iter()
        .filter(|item| !item.attributes.iter().any(|a| matches!(a.as_str(), "\\Noselect" | "\\NonExistent")));
    let calls = names.map(|item| async {
        let numbers = mailbox.folder_status(account, &item.name).await.ok()?;
        Some(MailboxStatus { name: item.name.clone(), items: status_items(&command.return_status, &numbers) })
    });
    // Collected first: a lazy map that borrows is not `Send` for every lifetime.
    let calls: Vec<_> = calls.collect();
    stream::iter(calls).buffered(STATUS_CALLS_MAX).filter_map(std::future::ready).collect().await
}
