//! The Mailbox service of mda, over gRPC.
//!
//! A call's deadline is the channel's, longer where the contract lets a call take long. Of a call that answers
//! with a stream the deadline bounds the start; then each item must come within
//! [`limits::MAILBOX_STALL_SECONDS`], so that a big message over a slow line is no failure and a dead mda is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use futures_util::{Stream, StreamExt};
use postroad_rpc::{Channel, v1};
use postroad_types::{AccountId, limits};
use tonic::{Request, Streaming};

use super::client::{Body, FetchStream, MailboxClient, OpenFolder, WatchStream};
use super::convert;
use super::model::{
    AppendMessage, Appended, Change, Changes, Copied, Expunged, FetchItem, FetchRequest, FlagChange,
    FlagsStored, Folder, FolderNumbers, Found, MailboxError, Quota, SearchKey, UidRange,
};

/// [`MailboxClient`] over a channel to mda; clones share the channel.
#[derive(Clone, Debug)]
pub struct GrpcMailbox {
    stub: v1::mailbox_client::MailboxClient<Channel>,
}

impl GrpcMailbox {
    pub fn new(channel: Channel) -> Self {
        GrpcMailbox { stub: v1::mailbox_client::MailboxClient::new(channel) }
    }

    fn stub(&self) -> v1::mailbox_client::MailboxClient<Channel> {
        self.stub.clone()
    }
}

fn taking_up_to<T>(seconds: u64, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(seconds));
    request
}

/// The next item of an answer; `None` at its end.
async fn next<T>(answer: &mut Streaming<T>) -> Result<Option<T>, MailboxError> {
    let patience = Duration::from_secs(limits::MAILBOX_STALL_SECONDS);
    match tokio::time::timeout(patience, answer.message()).await {
        Ok(item) => Ok(item?),
        Err(_) => Err(MailboxError::Unavailable(format!(
            "no octet came within {patience:?} in the middle of an answer"
        ))),
    }
}

/// The items of an answer; the first error ends them.
fn items<T, U>(answer: Streaming<T>) -> impl Stream<Item = Result<U, MailboxError>> + Send + 'static
where
    T: Send + 'static,
    U: TryFrom<T, Error = MailboxError> + Send + 'static,
{
    stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        match next(&mut answer).await {
            Ok(None) => None,
            Ok(Some(item)) => Some((U::try_from(item), Some(answer))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

#[async_trait]
impl MailboxClient for GrpcMailbox {
    async fn list_folders(&self, account: AccountId) -> Result<Vec<Folder>, MailboxError> {
        let request = v1::ListFoldersRequest { account_id: account.0 };
        let reply = self.stub().list_folders(request).await?.into_inner();
        Ok(reply.folders.into_iter().map(Folder::from).collect())
    }

    async fn create_folder(
        &self,
        account: AccountId,
        folder: &str,
        special_use: Option<&str>,
    ) -> Result<u32, MailboxError> {
        let request = v1::CreateFolderRequest {
            account_id: account.0,
            folder: folder.to_owned(),
            special_use: special_use.unwrap_or_default().to_owned(),
        };
        Ok(self.stub().create_folder(request).await?.into_inner().uid_validity)
    }

    async fn delete_folder(&self, account: AccountId, folder: &str) -> Result<(), MailboxError> {
        let request = v1::DeleteFolderRequest { account_id: account.0, folder: folder.to_owned() };
        self.stub().delete_folder(taking_up_to(limits::MAILBOX_CHANGE_SECONDS_MAX, request)).await?;
        Ok(())
    }

    async fn rename_folder(&self, account: AccountId, from: &str, to: &str) -> Result<(), MailboxError> {
        let request =
            v1::RenameFolderRequest { account_id: account.0, from: from.to_owned(), to: to.to_owned() };
        self.stub().rename_folder(taking_up_to(limits::MAILBOX_CHANGE_SECONDS_MAX, request)).await?;
        Ok(())
    }

    async fn subscribe_folder(
        &self,
        account: AccountId,
        folder: &str,
        subscribed: bool,
    ) -> Result<(), MailboxError> {
        let request =
            v1::SubscribeFolderRequest { account_id: account.0, folder: folder.to_owned(), subscribed };
        self.stub().subscribe_folder(request).await?;
        Ok(())
    }

    async fn folder_status(&self, account: AccountId, folder: &str) -> Result<FolderNumbers, MailboxError> {
        let request = v1::FolderStatusRequest { account_id: account.0, folder: folder.to_owned() };
        let reply = self.stub().folder_status(request).await?.into_inner();
        reply.numbers.map(FolderNumbers::from).ok_or_else(|| convert::absent("numbers"))
    }

    async fn open_folder(
        &self,
        account: AccountId,
        folder: &str,
        read_write: bool,
    ) -> Result<OpenFolder, MailboxError> {
        let request = v1::OpenFolderRequest { account_id: account.0, folder: folder.to_owned(), read_write };
        let mut answer = self.stub().open_folder(request).await?.into_inner();
        let first = next(&mut answer).await?.ok_or_else(|| convert::absent("the first answer"))?;
        let numbers = first.numbers.map(FolderNumbers::from).ok_or_else(|| convert::absent("numbers"))?;
        let mut messages = convert::infos(first.messages);
        while let Some(more) = next(&mut answer).await? {
            messages.extend(convert::infos(more.messages));
        }
        Ok(OpenFolder { numbers, messages })
    }

    async fn changes(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes, MailboxError> {
        let request = v1::ChangesRequest {
            account_id: account.0,
            folder: folder.to_owned(),
            uid_validity,
            since_mod_seq,
        };
        self.stub().changes(request).await?.into_inner().try_into()
    }

    async fn fetch(&self, account: AccountId, request: FetchRequest) -> Result<FetchStream, MailboxError> {
        let request = v1::FetchRequest {
            account_id: account.0,
            folder: request.folder,
            uid_validity: request.uid_validity,
            uids: convert::ranges(request.uids),
            part: convert::part(request.part).into(),
            offset: request.offset,
            length: request.length,
        };
        let answer = self.stub().fetch(request).await?.into_inner();
        Ok(items::<_, FetchItem>(answer).boxed())
    }

    async fn append(
        &self,
        account: AccountId,
        message: AppendMessage,
        body: Body,
    ) -> Result<Appended, MailboxError> {
        let start = v1::AppendStart {
            account_id: account.0,
            folder: message.folder,
            flags: message.flags,
            internal_date_us: message.internal_date_us.unwrap_or_default(),
            size: message.size,
        };
        let requests = AppendRequests { start: Some(start), body };
        let request = taking_up_to(limits::MAILBOX_APPEND_SECONDS_MAX, requests);
        let reply = self.stub().append(request).await?.into_inner();
        Ok(Appended { uid_validity: reply.uid_validity, uid: reply.uid })
    }

    async fn store_flags(&self, account: AccountId, change: FlagChange) -> Result<FlagsStored, MailboxError> {
        let request = v1::StoreFlagsRequest {
            account_id: account.0,
            folder: change.folder,
            uid_validity: change.uid_validity,
            uids: convert::ranges(change.uids),
            mode: convert::mode(change.mode).into(),
            flags: change.flags,
            unchanged_since: change.unchanged_since.unwrap_or_default(),
        };
        let request = taking_up_to(limits::MAILBOX_CHANGE_SECONDS_MAX, request);
        Ok(self.stub().store_flags(request).await?.into_inner().into())
    }

    async fn copy(
        &self,
        account: AccountId,
        from: &str,
        uid_validity: u32,
        uids: Vec<UidRange>,
        to: &str,
    ) -> Result<Copied, MailboxError> {
        let request = copy_request(account, from, uid_validity, uids, to);
        self.stub().copy(request).await?.into_inner().try_into()
    }

    async fn move_messages(
        &self,
        account: AccountId,
        from: &str,
        uid_validity: u32,
        uids: Vec<UidRange>,
        to: &str,
    ) -> Result<Copied, MailboxError> {
        let request = copy_request(account, from, uid_validity, uids, to);
        self.stub().r#move(request).await?.into_inner().try_into()
    }

    async fn expunge(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        uids: Option<Vec<UidRange>>,
    ) -> Result<Expunged, MailboxError> {
        // No ranges mean all messages to the service: of none there is nothing to expunge.
        if uids.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Expunged::default());
        }
        let request = v1::ExpungeRequest {
            account_id: account.0,
            folder: folder.to_owned(),
            uid_validity,
            uids: convert::ranges(uids.unwrap_or_default()),
        };
        let request = taking_up_to(limits::MAILBOX_CHANGE_SECONDS_MAX, request);
        let reply = self.stub().expunge(request).await?.into_inner();
        Ok(Expunged { uids: reply.uids, highest_mod_seq: reply.highest_mod_seq })
    }

    async fn search(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        key: SearchKey,
    ) -> Result<Found, MailboxError> {
        let request = v1::SearchRequest {
            account_id: account.0,
            folder: folder.to_owned(),
            uid_validity,
            key: Some(key.into()),
        };
        let request = taking_up_to(limits::MAILBOX_SEARCH_SECONDS_MAX, request);
        let reply = self.stub().search(request).await?.into_inner();
        Ok(Found { uids: reply.uids, highest_mod_seq: reply.highest_mod_seq })
    }

    async fn quota(&self, account: AccountId) -> Result<Quota, MailboxError> {
        let reply = self.stub().quota(v1::QuotaRequest { account_id: account.0 }).await?.into_inner();
        Ok(Quota {
            used_octets: reply.used_octets,
            limit_octets: reply.limit_octets,
            messages: reply.messages,
        })
    }

    async fn watch(&self, account: AccountId) -> Result<WatchStream, MailboxError> {
        let answer = self.stub().watch(v1::WatchRequest { account_id: account.0 }).await?.into_inner();
        Ok(answer.map(|news| news.map(Change::from).map_err(MailboxError::from)).boxed())
    }
}

/// What an APPEND sends: its start, then the octets as they come.
struct AppendRequests {
    start: Option<v1::AppendStart>,
    body: Body,
}

impl Stream for AppendRequests {
    type Item = v1::AppendRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<v1::AppendRequest>> {
        use v1::append_request::Part;
        let part = match self.start.take() {
            Some(start) => Poll::Ready(Some(Part::Start(start))),
            None => self.body.as_mut().poll_next(cx).map(|chunk| chunk.map(Part::Chunk)),
        };
        part.map(|part| part.map(|part| v1::AppendRequest { part: Some(part) }))
    }
}

fn copy_request(
    account: AccountId,
    from: &str,
    uid_validity: u32,
    uids: Vec<UidRange>,
    to: &str,
) -> Request<v1::CopyRequest> {
    let request = v1::CopyRequest {
        account_id: account.0,
        from: from.to_owned(),
        uid_validity,
        uids: convert::ranges(uids),
        to: to.to_owned(),
    };
    taking_up_to(limits::MAILBOX_CHANGE_SECONDS_MAX, request)
}
