//! A directory in memory: the whole contract but that of surviving the process. For tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use postroad_types::{AccountId, Address, Domain, limits};

use crate::directory::{
    AccountChange, AccountRecord, AddressKey, AliasRecord, Credentials, DirectoryStore, DomainRecord, Entry,
    too_many_delegations,
};
use crate::error::StoreError;
use crate::spool::Micros;

/// Domains, accounts and aliases in memory. Clones are the same directory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDirectory {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    /// By A-label name; the value is the catch-all.
    domains: BTreeMap<Domain, Option<Address>>,
    accounts: BTreeMap<AccountId, (AccountRecord, Credentials)>,
    aliases: BTreeMap<AddressKey, AliasRecord>,
    /// Who may send as whom else.
    delegations: BTreeMap<(AccountId, AddressKey), Address>,
    last_account: u64,
}

impl MemoryDirectory {
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No step panics half-way; and it is memory for tests only.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn domain(&self, name: &Domain) -> Result<DomainRecord, StoreError> {
        let (name, catch_all) =
            self.domains.get_key_value(name).ok_or_else(|| StoreError::NotFound(format!("domain {name}")))?;
        let here = |address: &Address| address.domain() == Some(name);
        Ok(DomainRecord {
            name: name.clone(),
            catch_all: catch_all.clone(),
            accounts: self.accounts.values().filter(|(a, _)| here(&a.address)).count() as u64,
            aliases: self.aliases.values().filter(|a| here(&a.address)).count() as u64,
        })
    }

    /// The key of an address in a domain of ours.
    fn own_key(&self, address: &Address) -> Result<AddressKey, StoreError> {
        match address.domain() {
            Some(domain) if self.domains.contains_key(domain) => Ok(AddressKey::of(address)),
            Some(domain) => Err(StoreError::NotFound(format!("domain {domain}"))),
            None => Err(StoreError::Invalid(format!("{address} has no domain"))),
        }
    }

    fn account(&self, key: &AddressKey) -> Option<&(AccountRecord, Credentials)> {
        self.accounts.values().find(|(a, _)| AddressKey::of(&a.address) == *key)
    }
}

#[async_trait]
impl DirectoryStore for MemoryDirectory {
    async fn look_up(&self, address: &Address) -> Result<Entry, StoreError> {
        let tables = self.tables();
        let Some(catch_all) = address.domain().and_then(|domain| tables.domains.get(domain)) else {
            return Ok(Entry::NotOurs);
        };
        let key = AddressKey::of(address);
        if let Some((account, _)) = tables.account(&key) {
            return Ok(Entry::Account(account.clone()));
        }
        if let Some(alias) = tables.aliases.get(&key) {
            return Ok(Entry::Alias(alias.clone()));
        }
        Ok(catch_all.clone().map_or(Entry::Unknown, Entry::CatchAll))
    }

    async fn account(&self, id: AccountId) -> Result<AccountRecord, StoreError> {
        let found = self.tables().accounts.get(&id).map(|(account, _)| account.clone());
        found.ok_or_else(|| StoreError::NotFound(format!("account {id}")))
    }

    async fn credentials(&self, address: &Address) -> Result<(AccountRecord, Credentials), StoreError> {
        let found = self.tables().account(&AddressKey::of(address)).cloned();
        found.ok_or_else(|| StoreError::NotFound(format!("account {address}")))
    }

    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRecord>, StoreError> {
        let tables = self.tables();
        let names = tables.domains.keys().filter(|name| after.is_none_or(|after| *name > after));
        names.take(limit).map(|name| tables.domain(name)).collect()
    }

    async fn put_domain(
        &self,
        name: &Domain,
        catch_all: Option<Option<Address>>,
    ) -> Result<DomainRecord, StoreError> {
        let mut tables = self.tables();
        let entry = tables.domains.entry(name.clone()).or_default();
        if let Some(catch_all) = catch_all {
            *entry = catch_all;
        }
        tables.domain(name)
    }

    async fn remove_domain(&self, name: &Domain) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let record = tables.domain(name)?;
        if record.accounts + record.aliases > 0 {
            return Err(StoreError::Invalid(format!(
                "domain {name} still has {} accounts and {} aliases",
                record.accounts, record.aliases
            )));
        }
        tables.domains.remove(name);
        Ok(())
    }

    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        let tables = self.tables();
        let all = tables.accounts.values().map(|(account, _)| account);
        let wanted = all.filter(|a| after.is_none_or(|after| a.id > after));
        let wanted = wanted.filter(|a| domain.is_none_or(|domain| a.address.domain() == Some(domain)));
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn put_account(
        &self,
        address: &Address,
        change: AccountChange,
        now: Micros,
    ) -> Result<AccountRecord, StoreError> {
        let mut tables = self.tables();
        let key = tables.own_key(address)?;
        let known = tables.account(&key).map(|(account, _)| account.id);
        if let Some((account, credentials)) = known.and_then(|id| tables.accounts.get_mut(&id)) {
            account.quota_octets = change.quota_octets.unwrap_or(account.quota_octets);
            account.enabled = change.enabled.unwrap_or(account.enabled);
            if let Some(new) = change.credentials {
                *credentials = new;
            }
            return Ok(account.clone());
        }
        if tables.aliases.contains_key(&key) {
            return Err(StoreError::Exists(format!("{address} is an alias")));
        }
        let Some(credentials) = change.credentials else {
            return Err(StoreError::Invalid(format!("a new account needs a password: {address}")));
        };
        tables.last_account += 1;
        let account = AccountRecord {
            id: AccountId(tables.last_account),
            address: address.clone(),
            enabled: change.enabled.unwrap_or(true),
            quota_octets: change.quota_octets.unwrap_or(0),
            created_at: now,
        };
        tables.accounts.insert(account.id, (account.clone(), credentials));
        Ok(account)
    }

    async fn remove_account(&self, address: &Address) -> Result<AccountRecord, StoreError> {
        let mut tables = self.tables();
        let key = AddressKey::of(address);
        let id = tables.account(&key).map(|(account, _)| account.id);
        let removed = id.and_then(|id| tables.accounts.remove(&id));
        tables.delegations.retain(|(account, send_as), _| Some(*account) != id && *send_as != key);
        removed.map(|(a, _)| a).ok_or_else(|| StoreError::NotFound(format!("account {address}")))
    }

    async fn delegate(
        &self,
        account: &Address,
        send_as: &Address,
        allowed: bool,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let id = match tables.account(&AddressKey::of(account)) {
            Some((account, _)) => account.id,
            None => return Err(StoreError::NotFound(format!("account {account}"))),
        };
        let key = (id, AddressKey::of(send_as));
        if !allowed {
            return Ok(tables.delegations.remove(&key).is_some());
        }
        tables.own_key(send_as)?;
        if tables.delegations.contains_key(&key) {
            return Ok(false);
        }
        let has = tables.delegations.keys().filter(|(account, _)| *account == id).count();
        if has >= limits::DELEGATIONS_MAX {
            return Err(too_many_delegations(account));
        }
        tables.delegations.insert(key, send_as.clone());
        Ok(true)
    }

    async fn delegations(&self, account: AccountId) -> Result<Vec<Address>, StoreError> {
        let tables = self.tables();
        let of_it = tables.delegations.iter().filter(|((id, _), _)| *id == account);
        Ok(of_it.map(|(_, address)| address.clone()).collect())
    }

    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<AliasRecord>, StoreError> {
        let tables = self.tables();
        let after = after.map(AddressKey::of);
        let wanted = tables.aliases.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        let wanted = wanted.filter(|(_, a)| domain.is_none_or(|domain| a.address.domain() == Some(domain)));
        Ok(wanted.take(limit).map(|(_, alias)| alias.clone()).collect())
    }

    async fn put_alias(&self, alias: &AliasRecord) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let key = tables.own_key(&alias.address)?;
        if tables.account(&key).is_some() {
            return Err(StoreError::Exists(format!("{} is an account", alias.address)));
        }
        alias.check()?;
        tables.aliases.insert(key, alias.clone());
        Ok(())
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), StoreError> {
        let removed = self.tables().aliases.remove(&AddressKey::of(address));
        removed.map(|_| ()).ok_or_else(|| StoreError::NotFound(format!("alias {address}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::directory_contract!(async { (MemoryDirectory::new(), ()) });
}
