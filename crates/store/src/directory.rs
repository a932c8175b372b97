//! The directory: which domains are ours, who lives there, and what proves it.
//!
//! # Contract
//! - A change is durable before its call returns, and seen by every call that starts after.
//! - Addresses are compared without letter case, domains as A-labels, local parts unquoted.
//! - Passwords are never stored: an argon2id hash (RFC 9106) for PLAIN and LOGIN, and SCRAM-SHA-256 keys
//!   (RFC 7677) beside it. [`Credentials`] shows nothing of them in `Debug`.

use async_trait::async_trait;
use postroad_types::{AccountId, Address, Domain, limits};

use crate::error::StoreError;
use crate::spool::Micros;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRecord {
    pub name: Domain,
    /// Takes every name that is neither account nor alias.
    pub catch_all: Option<Address>,
    pub accounts: u64,
    pub aliases: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    pub id: AccountId,
    pub address: Address,
    pub enabled: bool,
    /// 0: no limit.
    pub quota_octets: u64,
    pub created_at: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRecord {
    pub address: Address,
    pub targets: Vec<Address>,
}

impl AliasRecord {
    /// Whether it can be kept: it has targets, not too many.
    pub fn check(&self) -> Result<(), StoreError> {
        match self.targets.len() {
            0 => Err(StoreError::Invalid(format!("alias {} has no target", self.address))),
            n if n > limits::ALIAS_TARGETS_MAX => Err(StoreError::Invalid(format!(
                "alias {} has {n} targets, at most {} are possible",
                self.address,
                limits::ALIAS_TARGETS_MAX
            ))),
            _ => Ok(()),
        }
    }
}

/// One delegation more than an account may have.
pub fn too_many_delegations(account: &Address) -> StoreError {
    let most = limits::DELEGATIONS_MAX;
    StoreError::Invalid(format!("account {account} may already send as {most} others, more are not possible"))
}

/// What addresses are compared and sorted by: domain as A-labels, local part unquoted, both in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(String);

impl AddressKey {
    pub fn of(address: &Address) -> Self {
        let local = address.local.unquoted().to_lowercase();
        // A domain has no "@", so the last one separates, whatever the local part holds.
        AddressKey(match address.domain() {
            Some(domain) => format!("{local}@{}", domain.ascii()),
            None => format!("{local}@{}", address.host),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What proves who somebody is. Not the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// PHC string of argon2id.
    pub password_hash: String,
    pub scram_sha_256: ScramKeys,
}

/// RFC 5802 section 3.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}
impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramKeys(…)")
    }
}

/// What stands behind exactly one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Account(AccountRecord),
    Alias(AliasRecord),
    /// No such name; the domain is ours and has this catch-all.
    CatchAll(Address),
    /// No such name in a domain of ours.
    Unknown,
    NotOurs,
}

/// New values; `None` leaves what is there.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    pub credentials: Option<Credentials>,
    pub quota_octets: Option<u64>,
    pub enabled: Option<bool>,
}

#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    /// Exactly this address, without detail or alias chains: those are the resolver's business.
    async fn look_up(&self, address: &Address) -> Result<Entry, StoreError>;
    async fn account(&self, id: AccountId) -> Result<AccountRecord, StoreError>;
    /// The account with this address and its credentials.
    async fn credentials(&self, address: &Address) -> Result<(AccountRecord, Credentials), StoreError>;

    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRecord>, StoreError>;
    /// Makes the domain, or changes its catch-all (`Some(None)` takes it away).
    async fn put_domain(
        &self,
        name: &Domain,
        catch_all: Option<Option<Address>>,
    ) -> Result<DomainRecord, StoreError>;
    /// [`StoreError::Invalid`] while it has accounts or aliases.
    async fn remove_domain(&self, name: &Domain) -> Result<(), StoreError>;

    /// Accounts, of one domain or all, in the order of their ids after `after`.
    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError>;
    /// Makes an account (credentials are needed then) or changes one. Its domain must exist
    /// ([`StoreError::NotFound`]), and its address must be no alias ([`StoreError::Exists`]).
    async fn put_account(
        &self,
        address: &Address,
        change: AccountChange,
        now: Micros,
    ) -> Result<AccountRecord, StoreError>;
    /// With it go its right to send as others and theirs to send as it.
    async fn remove_account(&self, address: &Address) -> Result<AccountRecord, StoreError>;

    /// Lets an account send as an address of a domain of ours that is not its own, or no longer; whether that changed
    /// anything. [`StoreError::NotFound`] without such an account or domain, [`StoreError::Invalid`] when it has
    /// [`limits::DELEGATIONS_MAX`] already.
    async fn delegate(&self, account: &Address, send_as: &Address, allowed: bool)
    -> Result<bool, StoreError>;
    /// The addresses that an account may send as by delegation.
    async fn delegations(&self, account: AccountId) -> Result<Vec<Address>, StoreError>;

    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<AliasRecord>, StoreError>;
    /// Makes the alias or gives it other targets. [`StoreError::Exists`] where an account has the address.
    async fn put_alias(&self, alias: &AliasRecord) -> Result<(), StoreError>;
    async fn remove_alias(&self, address: &Address) -> Result<(), StoreError>;
}
