//! An mda that does what a test tells it: the two services' contracts, with the calls that a test asks for.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use postroad_rpc::v1::{self, directory_server, mailbox_server};
use postroad_rpc::{Channel, ChannelOptions, InProcess, Incoming, Server};
use postroad_types::Role;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the mda answers, and what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    /// To each message of an Authenticate, in turn; then the call ends.
    pub(crate) login: Vec<Result<v1::AuthenticateReply, Status>>,
    pub(crate) logins: Mutex<Vec<v1::AuthenticateRequest>>,
    pub(crate) fetch: Vec<Result<v1::FetchReply, Status>>,
    pub(crate) fetched: Mutex<Vec<v1::FetchRequest>>,
    pub(crate) folder: Vec<Result<v1::OpenFolderReply, Status>>,
    pub(crate) watch: Vec<Result<v1::WatchReply, Status>>,
    pub(crate) appended: Mutex<Vec<v1::AppendRequest>>,
    pub(crate) expunges: Mutex<Vec<v1::ExpungeRequest>>,
}

/// A channel to it; the mda ends with the guard.
pub(crate) fn play(script: Script) -> (Channel, Arc<Script>, DropGuard) {
    let script = Arc::new(script);
    let (link, end) = InProcess::new();
    let stop = CancellationToken::new();
    let server = Server::new(Role::Mda)
        .add(directory_server::DirectoryServer::new(Mda(script.clone())))
        .add(mailbox_server::MailboxServer::new(Mda(script.clone())));
    tokio::spawn(server.serve(Incoming::new().in_process(end), stop.clone(), Duration::ZERO));
    let options = ChannelOptions { deadline: Duration::from_secs(5), ..ChannelOptions::default() };
    (Channel::in_process(Role::Mda, link, Role::Mra, options), script, stop.drop_guard())
}

struct Mda(Arc<Script>);

fn answers<T: Clone + Send + 'static>(script: &[Result<T, Status>]) -> Response<Answers<T>> {
    Response::new(stream::iter(script.to_vec()).boxed())
}

/// An impl of a service with the methods that are given, and UNIMPLEMENTED for those that are named only.
macro_rules! service {
    ($service:path { $($given:tt)* } others { $($name:ident: $question:ident => $answer:ident,)* }) => {
        #[tonic::async_trait]
        impl $service for Mda {
            $($given)*
            $(
                async fn $name(&self, _: Request<v1::$question>) -> Result<Response<v1::$answer>, Status> {
                    Err(Status::unimplemented("no test asks for it"))
                }
            )*
        }
    };
}

service! {
    directory_server::Directory {
        type AuthenticateStream = Answers<v1::AuthenticateReply>;

        async fn authenticate(
            &self,
            request: Request<Streaming<v1::AuthenticateRequest>>,
        ) -> Result<Response<Self::AuthenticateStream>, Status> {
            let script = self.0.clone();
            let steps = stream::iter(script.login.clone());
            let answers = request.into_inner().zip(steps).map(move |(asked, answer)| {
                script.logins.lock().unwrap().push(asked?);
                answer
            });
            Ok(Response::new(answers.boxed()))
        }
    }
    others {
        resolve_recipient: ResolveRecipientRequest => ResolveRecipientReply,
        may_send: MaySendRequest => MaySendReply,
        list_domains: ListDomainsRequest => ListDomainsReply,
        put_domain: PutDomainRequest => Domain,
        remove_domain: RemoveDomainRequest => RemoveDomainReply,
        list_accounts: ListAccountsRequest => ListAccountsReply,
        put_account: PutAccountRequest => Account,
        remove_account: RemoveAccountRequest => RemoveAccountReply,
        delegate: DelegateRequest => DelegateReply,
        list_aliases: ListAliasesRequest => ListAliasesReply,
        put_alias: PutAliasRequest => Alias,
        remove_alias: RemoveAliasRequest => RemoveAliasReply,
    }
}

service! {
    mailbox_server::Mailbox {
        type OpenFolderStream = Answers<v1::OpenFolderReply>;
        type FetchStream = Answers<v1::FetchReply>;
        type WatchStream = Answers<v1::WatchReply>;

        async fn open_folder(
            &self,
            _: Request<v1::OpenFolderRequest>,
        ) -> Result<Response<Self::OpenFolderStream>, Status> {
            Ok(answers(&self.0.folder))
        }

        async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
            self.0.fetched.lock().unwrap().push(request.into_inner());
            Ok(answers(&self.0.fetch))
        }

        async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
            Ok(answers(&self.0.watch))
        }

        async fn append(
            &self,
            request: Request<Streaming<v1::AppendRequest>>,
        ) -> Result<Response<v1::AppendReply>, Status> {
            let mut parts = request.into_inner();
            while let Some(part) = parts.message().await? {
                self.0.appended.lock().unwrap().push(part);
            }
            Ok(Response::new(v1::AppendReply { uid_validity: 9, uid: 4 }))
        }

        async fn expunge(
            &self,
            request: Request<v1::ExpungeRequest>,
        ) -> Result<Response<v1::ExpungeReply>, Status> {
            self.0.expunges.lock().unwrap().push(request.into_inner());
            Ok(Response::new(v1::ExpungeReply { uids: vec![1], highest_mod_seq: 2 }))
        }
    }
    others {
        list_folders: ListFoldersRequest => ListFoldersReply,
        create_folder: CreateFolderRequest => CreateFolderReply,
        delete_folder: DeleteFolderRequest => DeleteFolderReply,
        rename_folder: RenameFolderRequest => RenameFolderReply,
        subscribe_folder: SubscribeFolderRequest => SubscribeFolderReply,
        folder_status: FolderStatusRequest => FolderStatusReply,
        changes: ChangesRequest => ChangesReply,
        store_flags: StoreFlagsRequest => StoreFlagsReply,
        copy: CopyRequest => CopyReply,
        r#move: CopyRequest => CopyReply,
        search: SearchRequest => SearchReply,
        quota: QuotaRequest => QuotaReply,
    }
}
