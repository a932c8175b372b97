//! Mailboxes of one node: Maildir for the mail, an index beside it, a journal for what is on its way.
//!
//! # How a delivery becomes durable
//! 1. The caller's octets wait in their account's queue ([`deliver`]).
//! 2. Whoever holds the account takes all that wait, checks keys and quota, gives out UIDs, and appends the
//!    mails to the [journal](crate::journal), which one flush makes durable together with those of all other
//!    accounts that deliver at this moment.
//! 3. The files are written to tmp/ and renamed, the index gets its rows in one commit, and the callers get
//!    their answers. None of this is flushed now; the journal releases its segment after a later `syncfs`.
//!
//! A mail larger than [`deliver::JOURNAL_OCTETS_MAX`] is flushed in its own file while it is read, and takes
//! a flush of its folder instead of a place in the journal.
//!
//! After a crash the journal's mails are compared with the Maildirs ([`replay`]): file missing, cut off or
//! without a row, each is put right under the same UID. What an index lost it reads again from the files'
//! names ([`sync`]). Numbers go on behind the blocks that [`crate::maildir::sheet`] holds.
//!
//! # Who may do what when
//! One writer per account: whoever holds [`account::Writer`]. Readers have connections of their own, which see
//! the last commit, and never wait for a writer unless the folder was changed by another program.

mod account;
mod accounts;
mod change;
#[cfg(test)]
mod crash_tests;
mod deliver;
mod events;
mod folders;
#[cfg(test)]
mod foreign_tests;
mod read;
mod replay;
mod sync;
mod transfer;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use nix::fcntl::{Flock, FlockArg};
use postroad_store::StoreError;
use postroad_store::directory::DirectoryStore;
use postroad_store::mailbox::{
    BodySource, Changes, Copied, FlagOrder, Folder, FolderName, FolderNumbers, MailboxEvent, MailboxStore,
    MessageInfo, NewMail, Stored, UidRange, Usage,
};
use postroad_types::AccountId;

use crate::journal::{self, Journal};
use accounts::Accounts;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Accounts whose index is kept open. Each takes some six file descriptors.
    pub accounts_open_max: usize,
    pub journal: journal::Options,
}

impl Default for Options {
    fn default() -> Self {
        Options { accounts_open_max: 100, journal: journal::Options::default() }
    }
}

/// The mailboxes under one directory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct LocalMailboxes {
    accounts: Arc<Accounts>,
}

impl LocalMailboxes {
    /// Opens the mailboxes under `root`, which must be one file system, and looks after what a crash left
    /// behind. `directory` tells an account's address, by which its directory is named. Blocks.
    pub fn open(
        root: &Path,
        directory: Arc<dyn DirectoryStore>,
        options: Options,
    ) -> Result<Self, StoreError> {
        let own = root.join(".postroad");
        make_private(root)?;
        make_private(&own)?;
        let lock = lock(&own.join("lock"))?;
        folders::remove_leftovers(&own)?;
        let journal = Journal::open(&own, options.journal, |records| replay::apply(root, records))?;
        Ok(LocalMailboxes { accounts: Arc::new(Accounts::new(root, directory, journal, options, lock)) })
    }

    /// Closes all accounts in order and makes everything durable, at the end of a graceful stop.
    pub async fn close(&self) {
        self.accounts.close_all().await;
    }
}

fn make_private(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| StoreError::io(format_args!("making {}", dir.display()), &e))
}

/// Two processes on the same mailboxes would give the same UIDs.
fn lock(path: &Path) -> Result<Flock<File>, StoreError> {
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| StoreError::io(format_args!("opening {}", path.display()), &e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| {
        StoreError::Unavailable(format!(
            "another process has the mailboxes open ({} is locked)",
            path.display()
        ))
    })
}

#[async_trait]
impl MailboxStore for LocalMailboxes {
    async fn store(
        &self,
        account: AccountId,
        mail: NewMail,
        body: &dyn BodySource,
    ) -> Result<Stored, StoreError> {
        deliver::store(&self.accounts, account, mail, body).await
    }

    async fn folders(&self, account: AccountId) -> Result<Vec<Folder>, StoreError> {
        self.accounts.write(account, folders::list).await
    }

    async fn create_folder(
        &self,
        account: AccountId,
        name: &FolderName,
        special_use: Option<&str>,
    ) -> Result<u32, StoreError> {
        let (name, special_use) = (name.clone(), special_use.map(str::to_owned));
        self.accounts.write(account, move |w| folders::create(w, &name, special_use.as_deref())).await
    }

    async fn delete_folder(&self, account: AccountId, name: &FolderName) -> Result<(), StoreError> {
        let name = name.clone();
        self.accounts.write(account, move |w| folders::delete(w, &name)).await
    }

    async fn rename_folder(
        &self,
        account: AccountId,
        from: &FolderName,
        to: &FolderName,
    ) -> Result<(), StoreError> {
        let (from, to) = (from.clone(), to.clone());
        self.accounts.write(account, move |w| folders::rename(w, &from, &to)).await
    }

    async fn subscribe(
        &self,
        account: AccountId,
        name: &FolderName,
        subscribed: bool,
    ) -> Result<(), StoreError> {
        let name = name.clone();
        self.accounts.write(account, move |w| folders::subscribe(w, &name, subscribed)).await
    }

    async fn numbers(&self, account: AccountId, name: &FolderName) -> Result<FolderNumbers, StoreError> {
        self.accounts.read(account, name, |_, row| Ok(row.numbers())).await
    }

    async fn open(
        &self,
        account: AccountId,
        name: &FolderName,
        take_recent: bool,
    ) -> Result<(FolderNumbers, Vec<MessageInfo>), StoreError> {
        if take_recent {
            let name = name.clone();
            return self.accounts.write(account, move |w| read::open_taking_recent(w, &name)).await;
        }
        self.accounts.read(account, name, read::open).await
    }

    async fn changes(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes, StoreError> {
        self.accounts
            .read(account, name, move |db, row| read::changes(db, row, uid_validity, since_mod_seq))
            .await
    }

    async fn infos(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
    ) -> Result<Vec<MessageInfo>, StoreError> {
        let uids = uids.to_vec();
        self.accounts.read(account, name, move |db, row| read::infos(db, row, uid_validity, &uids)).await
    }

    async fn read(
        &self,
        account: AccountId,
        name: &FolderName,
        uid: u32,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StoreError> {
        self.accounts.read_message(account, name, uid, move |file| file.octets(offset, length)).await
    }

    async fn header(&self, account: AccountId, name: &FolderName, uid: u32) -> Result<Bytes, StoreError> {
        self.accounts.read_message(account, name, uid, |file| file.header()).await
    }

    async fn store_flags(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        order: &FlagOrder,
    ) -> Result<(Vec<MessageInfo>, Vec<u32>), StoreError> {
        let (name, uids, order) = (name.clone(), uids.to_vec(), order.clone());
        self.accounts
            .write(account, move |w| change::store_flags(w, &name, uid_validity, &uids, &order))
            .await
    }

    async fn copy(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
        quota_octets: u64,
    ) -> Result<Copied, StoreError> {
        let (from, to, uids) = (from.clone(), to.clone(), uids.to_vec());
        let copy = move |w: &mut _| transfer::copy(w, &from, uid_validity, &uids, &to, quota_octets);
        self.accounts.write(account, copy).await
    }

    async fn move_to(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
    ) -> Result<Copied, StoreError> {
        let (from, to, uids) = (from.clone(), to.clone(), uids.to_vec());
        self.accounts.write(account, move |w| transfer::move_to(w, &from, uid_validity, &uids, &to)).await
    }

    async fn expunge(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: Option<&[UidRange]>,
    ) -> Result<(Vec<u32>, u64), StoreError> {
        let (name, uids) = (name.clone(), uids.map(<[_]>::to_vec));
        self.accounts.write(account, move |w| change::expunge(w, &name, uid_validity, uids.as_deref())).await
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        self.accounts.usage(account).await
    }

    async fn purge(&self, account: AccountId) -> Result<(), StoreError> {
        self.accounts.purge(account).await
    }

    fn watch(&self, account: AccountId) -> BoxStream<'static, MailboxEvent> {
        self.accounts.events().watch(account)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use postroad_store::contract::mailbox::Stage;
    use postroad_store::directory::{AccountChange, Credentials, ScramKeys};
    use postroad_store::memory::MemoryDirectory;

    /// A directory with alice (1) and bob (2) of beta.test.
    pub(crate) async fn directory() -> Arc<dyn DirectoryStore> {
        let directory = MemoryDirectory::new();
        directory.put_domain(&"beta.test".parse().unwrap(), None).await.unwrap();
        for name in ["alice", "bob"] {
            let scram_sha_256 =
                ScramKeys { salt: vec![], iterations: 4096, stored_key: vec![], server_key: vec![] };
            let credentials = Some(Credentials { password_hash: String::new(), scram_sha_256 });
            let change = AccountChange { credentials, ..AccountChange::default() };
            let address = format!("{name}@beta.test").parse().unwrap();
            directory.put_account(&address, change, 1).await.unwrap();
        }
        Arc::new(directory)
    }

    async fn stage() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalMailboxes::open(dir.path(), directory().await, Options::default()).unwrap();
        Stage { store: Arc::new(store), alice: AccountId(1), bob: AccountId(2), keep: Box::new(dir) }
    }

    postroad_store::mailbox_contract!(stage());

    #[tokio::test]
    async fn two_stores_on_one_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let directory = directory().await;
        let first = LocalMailboxes::open(dir.path(), directory.clone(), Options::default()).unwrap();
        let second = LocalMailboxes::open(dir.path(), directory.clone(), Options::default()).unwrap_err();
        assert!(matches!(second, StoreError::Unavailable(_)), "{second}");
        drop(first);
        LocalMailboxes::open(dir.path(), directory, Options::default()).unwrap();
    }
}
