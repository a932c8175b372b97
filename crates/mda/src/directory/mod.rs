//! The gRPC service Directory: who may log in, who lives here, and what an operator changes.

mod authenticate;
mod manage;
pub mod passwords;
mod scram;
pub mod throttle;

use std::sync::Arc;

use postroad_rpc::{Peer, convert, v1};
use postroad_store::directory::{AddressKey, Entry};
use postroad_types::{AccountId, Address, RecipientVerdict, Role};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::context::Context;
use crate::fault::status;
use crate::resolve::{self, Found};

pub struct Service {
    context: Arc<Context>,
}

impl Service {
    pub fn new(context: Arc<Context>) -> Self {
        Service { context }
    }

    async fn resolve(&self, address: &str) -> Result<RecipientVerdict, Status> {
        let address = convert::address("address", address)?;
        let context = &self.context;
        let found =
            resolve::look_up(&*context.directory, &context.config.recipient_delimiter, &address).await;
        Ok(match found.map_err(status)? {
            Found::Targets(targets) => RecipientVerdict::Alias { targets },
            Found::Unknown => RecipientVerdict::Unknown,
            Found::NotOurs => RecipientVerdict::NotOurs,
            Found::Account { account, detail } => {
                let quota = context.quota(account.quota_octets);
                let used = context.mailboxes.usage(account.id).await.map_err(status)?.octets;
                if quota > 0 && used >= quota {
                    RecipientVerdict::OverQuota { try_again: context.defers_when_full() }
                } else {
                    RecipientVerdict::Local { account: account.id, detail }
                }
            }
        })
    }

    /// Its own address, every alias that leads straight to it, and what was delegated to it, each with any detail.
    async fn may_send(&self, account: AccountId, address: &str) -> Result<bool, Status> {
        let address = convert::address("address", address)?;
        let context = &self.context;
        let account = context.directory.account(account).await.map_err(status)?;
        if !account.enabled {
            return Ok(false);
        }
        let own_key = AddressKey::of(&account.address);
        let own = async |candidate: &Address| {
            Ok::<_, Status>(match context.directory.look_up(candidate).await.map_err(status)? {
                Entry::Account(found) => found.id == account.id,
                Entry::Alias(alias) => alias.targets.iter().any(|target| AddressKey::of(target) == own_key),
                Entry::CatchAll(_) | Entry::Unknown | Entry::NotOurs => false,
            })
        };
        let base = resolve::split_detail(&address, &context.config.recipient_delimiter).map(|(base, _)| base);
        let candidates = [Some(&address), base.as_ref()];
        for candidate in candidates.into_iter().flatten() {
            if own(candidate).await? {
                return Ok(true);
            }
        }
        // Last, as most mail is an account's own.
        let delegated = context.directory.delegations(account.id).await.map_err(status)?;
        let delegated: Vec<AddressKey> = delegated.iter().map(AddressKey::of).collect();
        Ok(candidates.into_iter().flatten().any(|candidate| delegated.contains(&AddressKey::of(candidate))))
    }
}

/// What only the operator may do.
fn operator<T>(request: &Request<T>) -> Result<(), Status> {
    Peer::require(request, &[Role::Operator]).map(drop)
}

#[tonic::async_trait]
impl v1::directory_server::Directory for Service {
    type AuthenticateStream = ReceiverStream<Result<v1::AuthenticateReply, Status>>;

    async fn authenticate(
        &self,
        request: Request<Streaming<v1::AuthenticateRequest>>,
    ) -> Result<Response<Self::AuthenticateStream>, Status> {
        Peer::require(&request, &[Role::Mta, Role::Mra, Role::Operator])?;
        Ok(Response::new(authenticate::start(self.context.clone(), request.into_inner())))
    }

    async fn resolve_recipient(
        &self,
        request: Request<v1::ResolveRecipientRequest>,
    ) -> Result<Response<v1::ResolveRecipientReply>, Status> {
        Peer::require(&request, &[Role::Mta, Role::Operator])?;
        Ok(Response::new(self.resolve(&request.get_ref().address).await?.into()))
    }

    async fn may_send(
        &self,
        request: Request<v1::MaySendRequest>,
    ) -> Result<Response<v1::MaySendReply>, Status> {
        Peer::require(&request, &[Role::Mta, Role::Operator])?;
        let v1::MaySendRequest { account_id, address } = request.into_inner();
        Ok(Response::new(v1::MaySendReply { allowed: self.may_send(AccountId(account_id), &address).await? }))
    }

    async fn list_domains(
        &self,
        request: Request<v1::ListDomainsRequest>,
    ) -> Result<Response<v1::ListDomainsReply>, Status> {
        operator(&request)?;
        manage::list_domains(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn put_domain(
        &self,
        request: Request<v1::PutDomainRequest>,
    ) -> Result<Response<v1::Domain>, Status> {
        operator(&request)?;
        manage::put_domain(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn remove_domain(
        &self,
        request: Request<v1::RemoveDomainRequest>,
    ) -> Result<Response<v1::RemoveDomainReply>, Status> {
        operator(&request)?;
        manage::remove_domain(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsReply>, Status> {
        operator(&request)?;
        manage::list_accounts(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn put_account(
        &self,
        request: Request<v1::PutAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        operator(&request)?;
        manage::put_account(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn remove_account(
        &self,
        request: Request<v1::RemoveAccountRequest>,
    ) -> Result<Response<v1::RemoveAccountReply>, Status> {
        operator(&request)?;
        manage::remove_account(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn delegate(
        &self,
        request: Request<v1::DelegateRequest>,
    ) -> Result<Response<v1::DelegateReply>, Status> {
        operator(&request)?;
        manage::delegate(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn list_aliases(
        &self,
        request: Request<v1::ListAliasesRequest>,
    ) -> Result<Response<v1::ListAliasesReply>, Status> {
        operator(&request)?;
        manage::list_aliases(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn put_alias(&self, request: Request<v1::PutAliasRequest>) -> Result<Response<v1::Alias>, Status> {
        operator(&request)?;
        manage::put_alias(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn remove_alias(
        &self,
        request: Request<v1::RemoveAliasRequest>,
    ) -> Result<Response<v1::RemoveAliasReply>, Status> {
        operator(&request)?;
        manage::remove_alias(&self.context, request.into_inner()).await.map(Response::new)
    }
}

#[cfg(test)]
mod tests;
