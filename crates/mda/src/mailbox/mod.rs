//! The gRPC service Mailbox, over the mailbox store.

mod convert;
mod fetch;
mod search;

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use postroad_rpc::{Peer, v1};
use postroad_store::mailbox::{FlagOrder, MailboxEvent, NewMail};
use postroad_types::{AccountId, Role};
use tonic::{Request, Response, Status, Streaming};

use crate::context::Context;
use crate::fault::status;
use crate::intake::Intake;
use convert::{change, flags, folder, infos, numbers, ranges, rising};

/// Messages in one answer of OpenFolder.
const OPEN_CHUNK: usize = 2000;

pub struct Service {
    context: Arc<Context>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    pub fn new(context: Arc<Context>) -> Self {
        Service { context }
    }

    async fn quota_of(&self, account: AccountId) -> Result<u64, Status> {
        let record = self.context.directory.account(account).await.map_err(status)?;
        Ok(self.context.quota(record.quota_octets))
    }
}

#[tonic::async_trait]
impl v1::mailbox_server::Mailbox for Service {
    type OpenFolderStream = Answers<v1::OpenFolderReply>;
    type FetchStream = Answers<v1::FetchReply>;
    type WatchStream = Answers<v1::WatchReply>;

    async fn list_folders(
        &self,
        request: Request<v1::ListFoldersRequest>,
    ) -> Result<Response<v1::ListFoldersReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let account = AccountId(request.into_inner().account_id);
        let found = self.context.mailboxes.folders(account).await.map_err(status)?;
        let folders = found
            .iter()
            .map(|one| v1::Folder {
                name: one.name.to_string(),
                subscribed: one.subscribed,
                special_use: one.special_use.clone().unwrap_or_default(),
                no_select: one.no_select,
                has_children: found.iter().any(|other| other.name.is_below(&one.name)),
            })
            .collect();
        Ok(Response::new(v1::ListFoldersReply { folders }))
    }

    async fn create_folder(
        &self,
        request: Request<v1::CreateFolderRequest>,
    ) -> Result<Response<v1::CreateFolderReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::CreateFolderRequest { account_id, folder: name, special_use } = request.into_inner();
        let special_use = (!special_use.is_empty()).then_some(special_use.as_str());
        let made =
            self.context.mailboxes.create_folder(AccountId(account_id), &folder(&name)?, special_use).await;
        Ok(Response::new(v1::CreateFolderReply { uid_validity: made.map_err(status)? }))
    }

    async fn delete_folder(
        &self,
        request: Request<v1::DeleteFolderRequest>,
    ) -> Result<Response<v1::DeleteFolderReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::DeleteFolderRequest { account_id, folder: name } = request.into_inner();
        self.context.mailboxes.delete_folder(AccountId(account_id), &folder(&name)?).await.map_err(status)?;
        Ok(Response::new(v1::DeleteFolderReply {}))
    }

    async fn rename_folder(
        &self,
        request: Request<v1::RenameFolderRequest>,
    ) -> Result<Response<v1::RenameFolderReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::RenameFolderRequest { account_id, from, to } = request.into_inner();
        let (from, to) = (folder(&from)?, folder(&to)?);
        self.context.mailboxes.rename_folder(AccountId(account_id), &from, &to).await.map_err(status)?;
        Ok(Response::new(v1::RenameFolderReply {}))
    }

    async fn subscribe_folder(
        &self,
        request: Request<v1::SubscribeFolderRequest>,
    ) -> Result<Response<v1::SubscribeFolderReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::SubscribeFolderRequest { account_id, folder: name, subscribed } = request.into_inner();
        let name = folder(&name)?;
        self.context.mailboxes.subscribe(AccountId(account_id), &name, subscribed).await.map_err(status)?;
        Ok(Response::new(v1::SubscribeFolderReply {}))
    }

    async fn folder_status(
        &self,
        request: Request<v1::FolderStatusRequest>,
    ) -> Result<Response<v1::FolderStatusReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::FolderStatusRequest { account_id, folder: name } = request.into_inner();
        let found =
            self.context.mailboxes.numbers(AccountId(account_id), &folder(&name)?).await.map_err(status)?;
        Ok(Response::new(v1::FolderStatusReply { numbers: Some(numbers(&found)) }))
    }

    async fn open_folder(
        &self,
        request: Request<v1::OpenFolderRequest>,
    ) -> Result<Response<Self::OpenFolderStream>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::OpenFolderRequest { account_id, folder: name, read_write } = request.into_inner();
        let opened = self.context.mailboxes.open(AccountId(account_id), &folder(&name)?, read_write).await;
        let (found, messages) = opened.map_err(status)?;
        let mut replies =
            vec![Ok(v1::OpenFolderReply { numbers: Some(numbers(&found)), messages: Vec::new() })];
        let chunks = messages.chunks(OPEN_CHUNK);
        replies.extend(chunks.map(|chunk| Ok(v1::OpenFolderReply { numbers: None, messages: infos(chunk) })));
        Ok(Response::new(futures_util::stream::iter(replies).boxed()))
    }

    async fn changes(
        &self,
        request: Request<v1::ChangesRequest>,
    ) -> Result<Response<v1::ChangesReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::ChangesRequest { account_id, folder: name, uid_validity, since_mod_seq } =
            request.into_inner();
        let name = folder(&name)?;
        let mailboxes = &self.context.mailboxes;
        let found = mailboxes.changes(AccountId(account_id), &name, uid_validity, since_mod_seq).await;
        let found = found.map_err(status)?;
        Ok(Response::new(v1::ChangesReply {
            numbers: Some(numbers(&found.numbers)),
            changed: infos(&found.changed),
            expunged: rising(&found.expunged),
        }))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        fetch::start(self.context.mailboxes.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<v1::AppendReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        use v1::append_request::Part;
        let mut parts = request.into_inner();
        let Some(Part::Start(start)) = parts.message().await?.and_then(|request| request.part) else {
            return Err(Status::invalid_argument("the first part must be the start"));
        };
        let account = AccountId(start.account_id);
        let mail = NewMail {
            folder: folder(&start.folder)?,
            flags: flags(&start.flags)?,
            internal_date: if start.internal_date_us == 0 {
                self.context.now()
            } else {
                start.internal_date_us
            },
            trace_id: None,
            key: None,
            quota_octets: self.quota_of(account).await?,
            prefix: bytes::Bytes::new(),
        };
        let mut intake = Intake::new(&self.context.intake_dir, start.size);
        while let Some(request) = parts.message().await? {
            match request.part {
                Some(Part::Chunk(chunk)) => intake.take(chunk).await.map_err(status)?,
                Some(Part::Start(_)) | None => return Err(Status::invalid_argument("expected a chunk")),
            }
        }
        let message = intake.finish().map_err(status)?;
        let stored = self.context.mailboxes.store(account, mail, &message).await.map_err(status)?;
        Ok(Response::new(v1::AppendReply { uid_validity: stored.uid_validity, uid: stored.uid }))
    }

    async fn store_flags(
        &self,
        request: Request<v1::StoreFlagsRequest>,
    ) -> Result<Response<v1::StoreFlagsReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let request = request.into_inner();
        let order = FlagOrder {
            change: change(request.mode()),
            flags: flags(&request.flags)?,
            unchanged_since: request.unchanged_since,
        };
        let (name, uids) = (folder(&request.folder)?, ranges(&request.uids));
        let account = AccountId(request.account_id);
        let stored =
            self.context.mailboxes.store_flags(account, &name, request.uid_validity, &uids, &order).await;
        let (changed, left) = stored.map_err(status)?;
        Ok(Response::new(v1::StoreFlagsReply { changed: infos(&changed), modified: rising(&left) }))
    }

    async fn copy(&self, request: Request<v1::CopyRequest>) -> Result<Response<v1::CopyReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::CopyRequest { account_id, from, uid_validity, uids, to } = request.into_inner();
        let (account, from, to) = (AccountId(account_id), folder(&from)?, folder(&to)?);
        let quota = self.quota_of(account).await?;
        let uids = ranges(&uids);
        let copied = self.context.mailboxes.copy(account, &from, uid_validity, &uids, &to, quota).await;
        Ok(Response::new(convert::copied(copied.map_err(status)?)))
    }

    async fn r#move(&self, request: Request<v1::CopyRequest>) -> Result<Response<v1::CopyReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::CopyRequest { account_id, from, uid_validity, uids, to } = request.into_inner();
        let (from, to, uids) = (folder(&from)?, folder(&to)?, ranges(&uids));
        let moved =
            self.context.mailboxes.move_to(AccountId(account_id), &from, uid_validity, &uids, &to).await;
        Ok(Response::new(convert::copied(moved.map_err(status)?)))
    }

    async fn expunge(
        &self,
        request: Request<v1::ExpungeRequest>,
    ) -> Result<Response<v1::ExpungeReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let v1::ExpungeRequest { account_id, folder: name, uid_validity, uids } = request.into_inner();
        let only = (!uids.is_empty()).then(|| ranges(&uids));
        let (account, name) = (AccountId(account_id), folder(&name)?);
        let gone = self.context.mailboxes.expunge(account, &name, uid_validity, only.as_deref()).await;
        let (uids, highest_mod_seq) = gone.map_err(status)?;
        Ok(Response::new(v1::ExpungeReply { uids, highest_mod_seq }))
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        search::run(&*self.context.mailboxes, request.into_inner()).await.map(Response::new)
    }

    async fn quota(&self, request: Request<v1::QuotaRequest>) -> Result<Response<v1::QuotaReply>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let account = AccountId(request.into_inner().account_id);
        let limit_octets = self.quota_of(account).await?;
        let usage = self.context.mailboxes.usage(account).await.map_err(status)?;
        Ok(Response::new(v1::QuotaReply {
            used_octets: usage.octets,
            limit_octets,
            messages: usage.messages,
        }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Peer::require(&request, &[Role::Mra])?;
        let account = AccountId(request.into_inner().account_id);
        let stop = self.context.drain.clone();
        let events = self.context.mailboxes.watch(account).map(|event| {
            Ok(match event {
                MailboxEvent::Folder { name, mod_seq } => {
                    v1::WatchReply { folder: name.to_string(), mod_seq, folders_changed: false }
                }
                MailboxEvent::Folders => v1::WatchReply { folders_changed: true, ..Default::default() },
                MailboxEvent::Lost => v1::WatchReply::default(),
            })
        });
        // The first answer says that the watch stands.
        let standing = futures_util::stream::once(async { Ok(v1::WatchReply::default()) });
        // A watch has no end of its own: it must not hold up that of the service.
        let ended = async move { stop.stopping().await };
        Ok(Response::new(standing.chain(events).take_until(ended).boxed()))
    }
}

/// The inbox's name is part of the contract.
#[cfg(test)]
mod tests {
    use super::*;
    use postroad_store::mailbox::FolderName;

    #[test]
    fn inbox_is_found_in_any_letter_case() {
        assert_eq!(folder("inBox").unwrap(), FolderName::inbox());
        assert_eq!(folder("../x").unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
