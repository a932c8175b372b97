//! What a session may ask of a mailbox.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use postroad_types::AccountId;

use super::model::{
    AppendMessage, Appended, Change, Changes, Copied, Expunged, FetchItem, FetchRequest, FlagChange,
    FlagsStored, Folder, FolderNumbers, Found, MailboxError, MessageInfo, Quota, SearchKey, UidRange,
};

/// Messages of a fetch, one after the other; dropping it ends the fetch.
pub type FetchStream = BoxStream<'static, Result<FetchItem, MailboxError>>;

/// Octets of a message that is appended. If it ends before the announced size, nothing is appended.
pub type Body = BoxStream<'static, Bytes>;

/// News, until it is dropped or ends with an error. The first item says that the watch stands: what
/// happens after it is told.
pub type WatchStream = BoxStream<'static, Result<Change, MailboxError>>;

/// A folder as it was when it was opened: its numbers, and its messages in uid order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFolder {
    pub numbers: FolderNumbers,
    pub messages: Vec<MessageInfo>,
}

/// The Mailbox service. `uid_validity` in a question is the one that the folder was opened with; where it
/// holds no more, the answer is [`MailboxError::UidValidityChanged`].
#[async_trait]
pub trait MailboxClient: Send + Sync + 'static {
    async fn list_folders(&self, account: AccountId) -> Result<Vec<Folder>, MailboxError>;

    /// Answers the new folder's UIDVALIDITY.
    async fn create_folder(
        &self,
        account: AccountId,
        folder: &str,
        special_use: Option<&str>,
    ) -> Result<u32, MailboxError>;

    async fn delete_folder(&self, account: AccountId, folder: &str) -> Result<(), MailboxError>;

    /// With all below it; INBOX is emptied into the new name (RFC 3501 §6.3.5).
    async fn rename_folder(&self, account: AccountId, from: &str, to: &str) -> Result<(), MailboxError>;

    async fn subscribe_folder(
        &self,
        account: AccountId,
        folder: &str,
        subscribed: bool,
    ) -> Result<(), MailboxError>;

    async fn folder_status(&self, account: AccountId, folder: &str) -> Result<FolderNumbers, MailboxError>;

    /// `read_write` takes `\Recent` from the messages for this session.
    async fn open_folder(
        &self,
        account: AccountId,
        folder: &str,
        read_write: bool,
    ) -> Result<OpenFolder, MailboxError>;

    async fn changes(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes, MailboxError>;

    /// Messages that were expunged in between are left out.
    async fn fetch(&self, account: AccountId, request: FetchRequest) -> Result<FetchStream, MailboxError>;

    async fn append(
        &self,
        account: AccountId,
        message: AppendMessage,
        body: Body,
    ) -> Result<Appended, MailboxError>;

    async fn store_flags(&self, account: AccountId, change: FlagChange) -> Result<FlagsStored, MailboxError>;

    /// All of them or none.
    async fn copy(
        &self,
        account: AccountId,
        from: &str,
        uid_validity: u32,
        uids: Vec<UidRange>,
        to: &str,
    ) -> Result<Copied, MailboxError>;

    /// All of them or none.
    async fn move_messages(
        &self,
        account: AccountId,
        from: &str,
        uid_validity: u32,
        uids: Vec<UidRange>,
        to: &str,
    ) -> Result<Copied, MailboxError>;

    /// Removes the messages that have `\Deleted`; with `uids` only those among them.
    async fn expunge(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        uids: Option<Vec<UidRange>>,
    ) -> Result<Expunged, MailboxError>;

    async fn search(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        key: SearchKey,
    ) -> Result<Found, MailboxError>;

    async fn quota(&self, account: AccountId) -> Result<Quota, MailboxError>;

    async fn watch(&self, account: AccountId) -> Result<WatchStream, MailboxError>;
}
