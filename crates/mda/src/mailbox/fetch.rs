//! Fetch: octets of messages as a stream, as fast as the caller takes them and no faster.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use postroad_rpc::v1;
use postroad_rpc::v1::fetch_reply::Item;
use postroad_rpc::v1::fetch_request::Part;
use postroad_store::StoreError;
use postroad_store::mailbox::{FolderName, MailboxStore, MessageInfo};
use postroad_types::{AccountId, limits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Answers;
use super::convert::{folder, info, ranges};
use crate::fault::status;

/// Answers that wait for the caller to take them.
const AHEAD: usize = 16;
/// Messages whose first octets are read before their turn.
const READ_AHEAD: usize = 8;

struct Fetch {
    mailboxes: Arc<dyn MailboxStore>,
    account: AccountId,
    folder: FolderName,
    part: Part,
    offset: u64,
    /// `u64::MAX`: to the end.
    length: u64,
    replies: mpsc::Sender<Result<v1::FetchReply, Status>>,
}

/// The caller went away: nothing more to do.
struct Gone;

pub async fn start(
    mailboxes: Arc<dyn MailboxStore>,
    request: v1::FetchRequest,
) -> Result<Answers<v1::FetchReply>, Status> {
    let part = request.part();
    let account = AccountId(request.account_id);
    let folder = folder(&request.folder)?;
    let uids = ranges(&request.uids);
    let found = mailboxes.infos(account, &folder, request.uid_validity, &uids).await.map_err(status)?;
    if part == Part::Info {
        let replies =
            found.into_iter().flat_map(|one| [reply(Item::Info(info(&one))), reply(Item::End(true))]);
        return Ok(futures_util::stream::iter(replies.collect::<Vec<_>>()).map(Ok).boxed());
    }
    let (replies, stream) = mpsc::channel(AHEAD);
    let length = if request.length == 0 { u64::MAX } else { request.length };
    let fetch = Arc::new(Fetch { mailboxes, account, folder, part, offset: request.offset, length, replies });
    let reader = fetch.clone();
    // First octets are read ahead, so that many small messages do not wait for the disk one after the other.
    let firsts = futures_util::stream::iter(found).map(move |one| {
        let reader = reader.clone();
        async move {
            let first = reader.read(&one, 0).await;
            (one, first)
        }
    });
    let mut firsts = firsts.buffered(READ_AHEAD);
    tokio::spawn(async move {
        while let Some((one, first)) = firsts.next().await {
            if fetch.message(&one, first).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(stream).boxed())
}

fn reply(item: Item) -> v1::FetchReply {
    v1::FetchReply { item: Some(item) }
}

impl Fetch {
    async fn message(&self, message: &MessageInfo, first: Result<Bytes, StoreError>) -> Result<(), Gone> {
        // Before anything is said: a message that is gone by now is left out.
        if matches!(first, Err(StoreError::NotFound(_))) {
            return Ok(());
        }
        self.say(Item::Info(info(message))).await?;
        let mut sent = 0;
        let mut octets = first;
        loop {
            match octets {
                Ok(chunk) if chunk.is_empty() => return self.say(Item::End(true)).await,
                Ok(chunk) => {
                    sent += chunk.len() as u64;
                    self.say(Item::Chunk(chunk)).await?;
                }
                Err(error) => {
                    tracing::error!(account = %self.account, folder = %self.folder, uid = message.uid, %error,
                        "a message can't be read");
                    return self.say(Item::Damaged(error.to_string())).await;
                }
            }
            octets = self.read(message, sent).await;
        }
    }

    /// The octets behind `sent`, at most a chunk of the message, or the header at once; empty at the end of what
    /// was asked for.
    async fn read(&self, message: &MessageInfo, sent: u64) -> Result<Bytes, StoreError> {
        let offset = self.offset.saturating_add(sent);
        let left = self.length.saturating_sub(sent);
        if self.part == Part::Header {
            if sent > 0 {
                return Ok(Bytes::new());
            }
            let header = self.mailboxes.header(self.account, &self.folder, message.uid).await?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(header.len());
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(header.len() - from);
            return Ok(header.slice(from..from + length));
        }
        let left = left.min(message.size_octets.saturating_sub(offset));
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(limits::BODY_CHUNK_OCTETS);
        if length == 0 {
            return Ok(Bytes::new());
        }
        self.mailboxes.read(self.account, &self.folder, message.uid, offset, length).await
    }

    async fn say(&self, item: Item) -> Result<(), Gone> {
        self.replies.send(Ok(reply(item))).await.map_err(|_| Gone)
    }
}
