//! Mailboxes that fail on purpose.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use postroad_types::AccountId;

use super::Plan;
use crate::error::StoreError;
use crate::mailbox::{
    BodySource, Changes, Copied, FlagOrder, Folder, FolderName, FolderNumbers, MailboxEvent, MailboxStore,
    MessageInfo, NewMail, Stored, UidRange, Usage,
};

/// Wraps a mailbox store. The calls' names in the plan are those of [`MailboxStore`].
#[derive(Clone, Debug)]
pub struct FaultyMailboxes<S> {
    inner: S,
    plan: Plan,
}

impl<S> FaultyMailboxes<S> {
    pub fn new(inner: S, plan: Plan) -> Self {
        FaultyMailboxes { inner, plan }
    }
}

#[async_trait]
impl<S: MailboxStore> MailboxStore for FaultyMailboxes<S> {
    async fn store(
        &self,
        account: AccountId,
        mail: NewMail,
        body: &dyn BodySource,
    ) -> Result<Stored, StoreError> {
        self.plan.run("store", self.inner.store(account, mail, body)).await
    }

    async fn folders(&self, account: AccountId) -> Result<Vec<Folder>, StoreError> {
        self.plan.run("folders", self.inner.folders(account)).await
    }

    async fn create_folder(
        &self,
        account: AccountId,
        name: &FolderName,
        special_use: Option<&str>,
    ) -> Result<u32, StoreError> {
        self.plan.run("create_folder", self.inner.create_folder(account, name, special_use)).await
    }

    async fn delete_folder(&self, account: AccountId, name: &FolderName) -> Result<(), StoreError> {
        self.plan.run("delete_folder", self.inner.delete_folder(account, name)).await
    }

    async fn rename_folder(
        &self,
        account: AccountId,
        from: &FolderName,
        to: &FolderName,
    ) -> Result<(), StoreError> {
        self.plan.run("rename_folder", self.inner.rename_folder(account, from, to)).await
    }

    async fn subscribe(
        &self,
        account: AccountId,
        name: &FolderName,
        subscribed: bool,
    ) -> Result<(), StoreError> {
        self.plan.run("subscribe", self.inner.subscribe(account, name, subscribed)).await
    }

    async fn numbers(&self, account: AccountId, name: &FolderName) -> Result<FolderNumbers, StoreError> {
        self.plan.run("numbers", self.inner.numbers(account, name)).await
    }

    async fn open(
        &self,
        account: AccountId,
        name: &FolderName,
        take_recent: bool,
    ) -> Result<(FolderNumbers, Vec<MessageInfo>), StoreError> {
        self.plan.run("open", self.inner.open(account, name, take_recent)).await
    }

    async fn changes(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes, StoreError> {
        self.plan.run("changes", self.inner.changes(account, name, uid_validity, since_mod_seq)).await
    }

    async fn infos(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
    ) -> Result<Vec<MessageInfo>, StoreError> {
        self.plan.run("infos", self.inner.infos(account, name, uid_validity, uids)).await
    }

    async fn read(
        &self,
        account: AccountId,
        name: &FolderName,
        uid: u32,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StoreError> {
        self.plan.run("read", self.inner.read(account, name, uid, offset, length)).await
    }

    async fn header(&self, account: AccountId, name: &FolderName, uid: u32) -> Result<Bytes, StoreError> {
        self.plan.run("header", self.inner.header(account, name, uid)).await
    }

    async fn store_flags(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        order: &FlagOrder,
    ) -> Result<(Vec<MessageInfo>, Vec<u32>), StoreError> {
        self.plan.run("store_flags", self.inner.store_flags(account, name, uid_validity, uids, order)).await
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
        self.plan.run("copy", self.inner.copy(account, from, uid_validity, uids, to, quota_octets)).await
    }

    async fn move_to(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
    ) -> Result<Copied, StoreError> {
        self.plan.run("move_to", self.inner.move_to(account, from, uid_validity, uids, to)).await
    }

    async fn expunge(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: Option<&[UidRange]>,
    ) -> Result<(Vec<u32>, u64), StoreError> {
        self.plan.run("expunge", self.inner.expunge(account, name, uid_validity, uids)).await
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        self.plan.run("usage", self.inner.usage(account)).await
    }

    async fn purge(&self, account: AccountId) -> Result<(), StoreError> {
        self.plan.run("purge", self.inner.purge(account)).await
    }

    fn watch(&self, account: AccountId) -> BoxStream<'static, MailboxEvent> {
        self.inner.watch(account)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract::mailbox::{Octets, Stage, mail, name};
    use crate::faulty::{Fault, When};
    use crate::memory::MemoryMailboxes;

    async fn stage() -> Stage {
        let store = Arc::new(FaultyMailboxes::new(MemoryMailboxes::new(), Plan::new(1)));
        Stage { store, alice: AccountId(1), bob: AccountId(2), keep: Box::new(()) }
    }

    crate::mailbox_contract!(stage());

    #[tokio::test]
    async fn an_answer_that_is_lost_is_no_message_that_is_lost() {
        let plan = Plan::new(1);
        let lost = StoreError::Unavailable("answer lost".into());
        plan.add("store", When::Nth(1), Fault::After(lost.clone()));
        let store = FaultyMailboxes::new(MemoryMailboxes::new(), plan.clone());
        let new = NewMail { key: Some("queue1 alice".into()), ..mail("INBOX") };
        let body = Octets(Bytes::from_static(b"x"));
        assert_eq!(store.store(AccountId(1), new.clone(), &body).await, Err(lost));
        assert!(store.store(AccountId(1), new, &body).await.unwrap().duplicate);
        assert_eq!(store.numbers(AccountId(1), &name("INBOX")).await.unwrap().messages, 1);
        assert_eq!(plan.faults(), 1);
    }
}
