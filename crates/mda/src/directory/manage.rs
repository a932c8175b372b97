//! Domains, accounts and aliases: listed and changed by the operator.

use postroad_rpc::{convert, v1};
use postroad_store::directory::{AccountChange, AccountRecord, AliasRecord, DomainRecord};
use postroad_types::{AccountId, Address, Domain};
use tonic::Status;

use crate::context::Context;
use crate::fault::status;

/// Entries of a page when the caller names no number, and at most.
const PAGE_DEFAULT: u32 = 1000;
const PAGE_MAX: u32 = 10_000;

/// A page's size and where it goes on.
fn page(page: Option<v1::Page>) -> (usize, String) {
    let page = page.unwrap_or_default();
    let size = if page.size == 0 { PAGE_DEFAULT } else { page.size.min(PAGE_MAX) };
    (size as usize, page.token)
}

fn domain(field: &'static str, text: &str) -> Result<Domain, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

/// A token is the last entry of the page before.
fn after<T: std::str::FromStr>(token: &str) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| Status::invalid_argument("page.token: not one that an answer gave"))
}

/// The token of the next page, if this one was full.
fn next<T>(entries: &[T], size: usize, token: impl Fn(&T) -> String) -> String {
    if entries.len() < size { String::new() } else { entries.last().map(token).unwrap_or_default() }
}

pub async fn list_domains(
    context: &Context,
    request: v1::ListDomainsRequest,
) -> Result<v1::ListDomainsReply, Status> {
    let (size, token) = page(request.page);
    let found = context.directory.domains(after(&token)?.as_ref(), size).await.map_err(status)?;
    let next_page = next(&found, size, |record| record.name.ascii().to_owned());
    Ok(v1::ListDomainsReply { domains: found.into_iter().map(shown_domain).collect(), next_page })
}

pub async fn put_domain(context: &Context, request: v1::PutDomainRequest) -> Result<v1::Domain, Status> {
    let catch_all = match request.catch_all.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(text) => Some(Some(convert::address("catch_all", text)?)),
    };
    let name = domain("name", &request.name)?;
    let record = context.directory.put_domain(&name, catch_all).await.map_err(status)?;
    tracing::info!(domain = %name, "domain set");
    Ok(shown_domain(record))
}

pub async fn remove_domain(
    context: &Context,
    request: v1::RemoveDomainRequest,
) -> Result<v1::RemoveDomainReply, Status> {
    let name = domain("name", &request.name)?;
    context.directory.remove_domain(&name).await.map_err(|error| match error {
        postroad_store::StoreError::Invalid(why) => Status::failed_precondition(why),
        other => status(other),
    })?;
    tracing::info!(domain = %name, "domain removed");
    Ok(v1::RemoveDomainReply {})
}

fn shown_domain(record: DomainRecord) -> v1::Domain {
    v1::Domain {
        name: record.name.to_string(),
        catch_all: record.catch_all.as_ref().map(Address::to_string).unwrap_or_default(),
        accounts: record.accounts,
        aliases: record.aliases,
    }
}

pub async fn list_accounts(
    context: &Context,
    request: v1::ListAccountsRequest,
) -> Result<v1::ListAccountsReply, Status> {
    let (size, token) = page(request.page);
    let of = (!request.domain.is_empty()).then(|| domain("domain", &request.domain)).transpose()?;
    let after = after::<u64>(&token)?.map(AccountId);
    let found = context.directory.accounts(of.as_ref(), after, size).await.map_err(status)?;
    let next_page = next(&found, size, |record| record.id.to_string());
    let mut accounts = Vec::with_capacity(found.len());
    for record in found {
        accounts.push(shown_account(context, record).await?);
    }
    Ok(v1::ListAccountsReply { accounts, next_page })
}

pub async fn put_account(context: &Context, request: v1::PutAccountRequest) -> Result<v1::Account, Status> {
    let address = convert::address("address", &request.address)?;
    let credentials = match request.password {
        None => None,
        Some(password) => Some(context.passwords.make(password).await?),
    };
    let change = AccountChange { credentials, quota_octets: request.quota_octets, enabled: request.enabled };
    let record = context.directory.put_account(&address, change, context.now()).await.map_err(status)?;
    furnish(context, record.id).await?;
    tracing::info!(account = %record.address, id = %record.id, "account set");
    shown_account(context, record).await
}

/// Folders with a special use (RFC 6154) that mail programs look for, made for an account that has none yet.
const FIRST_FOLDERS: [(&str, &str); 5] = [
    ("Drafts", "\\Drafts"),
    ("Sent", "\\Sent"),
    ("Junk", "\\Junk"),
    ("Trash", "\\Trash"),
    ("Archive", "\\Archive"),
];

async fn furnish(context: &Context, account: AccountId) -> Result<(), Status> {
    let mailboxes = &context.mailboxes;
    if mailboxes.folders(account).await.map_err(status)?.len() > 1 {
        return Ok(());
    }
    for (name, special_use) in FIRST_FOLDERS {
        let name = name.parse().map_err(status)?;
        mailboxes.create_folder(account, &name, Some(special_use)).await.map_err(status)?;
        mailboxes.subscribe(account, &name, true).await.map_err(status)?;
    }
    Ok(())
}

pub async fn remove_account(
    context: &Context,
    request: v1::RemoveAccountRequest,
) -> Result<v1::RemoveAccountReply, Status> {
    let address = convert::address("address", &request.address)?;
    if request.purge {
        // While the directory still knows whose mail it is. Nobody logs in any more.
        let off = AccountChange { enabled: Some(false), ..AccountChange::default() };
        let (record, _) = context.directory.credentials(&address).await.map_err(status)?;
        context.directory.put_account(&address, off, context.now()).await.map_err(status)?;
        context.mailboxes.purge(record.id).await.map_err(status)?;
    }
    let record = context.directory.remove_account(&address).await.map_err(status)?;
    tracing::info!(account = %record.address, id = %record.id, purged = request.purge, "account removed");
    Ok(v1::RemoveAccountReply {})
}

pub async fn delegate(context: &Context, request: v1::DelegateRequest) -> Result<v1::DelegateReply, Status> {
    let account = convert::address("account", &request.account)?;
    let send_as = convert::address("send_as", &request.send_as)?;
    let changed = context.directory.delegate(&account, &send_as, request.allowed).await.map_err(status)?;
    tracing::info!(%account, %send_as, allowed = request.allowed, changed, "delegation set");
    Ok(v1::DelegateReply { changed })
}

async fn shown_account(context: &Context, record: AccountRecord) -> Result<v1::Account, Status> {
    let usage = context.mailboxes.usage(record.id).await.map_err(status)?;
    let sends_as = context.directory.delegations(record.id).await.map_err(status)?;
    Ok(v1::Account {
        id: record.id.0,
        address: record.address.to_string(),
        enabled: record.enabled,
        quota_octets: record.quota_octets,
        used_octets: usage.octets,
        messages: usage.messages,
        created_us: record.created_at,
        sends_as: sends_as.iter().map(Address::to_string).collect(),
    })
}

pub async fn list_aliases(
    context: &Context,
    request: v1::ListAliasesRequest,
) -> Result<v1::ListAliasesReply, Status> {
    let (size, token) = page(request.page);
    let of = (!request.domain.is_empty()).then(|| domain("domain", &request.domain)).transpose()?;
    let found =
        context.directory.aliases(of.as_ref(), after(&token)?.as_ref(), size).await.map_err(status)?;
    let next_page = next(&found, size, |record| record.address.to_string());
    Ok(v1::ListAliasesReply { aliases: found.iter().map(shown_alias).collect(), next_page })
}

pub async fn put_alias(context: &Context, request: v1::PutAliasRequest) -> Result<v1::Alias, Status> {
    let alias = AliasRecord {
        address: convert::address("address", &request.address)?,
        targets: convert::addresses("targets", &request.targets)?,
    };
    context.directory.put_alias(&alias).await.map_err(status)?;
    tracing::info!(alias = %alias.address, targets = alias.targets.len(), "alias set");
    Ok(shown_alias(&alias))
}

pub async fn remove_alias(
    context: &Context,
    request: v1::RemoveAliasRequest,
) -> Result<v1::RemoveAliasReply, Status> {
    let address = convert::address("address", &request.address)?;
    context.directory.remove_alias(&address).await.map_err(status)?;
    tracing::info!(alias = %address, "alias removed");
    Ok(v1::RemoveAliasReply {})
}

fn shown_alias(record: &AliasRecord) -> v1::Alias {
    v1::Alias {
        address: record.address.to_string(),
        targets: record.targets.iter().map(Address::to_string).collect(),
    }
}
