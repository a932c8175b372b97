//! The directory in one SQLite file.
//!
//! # Contract
//! [`postroad_store::directory`]'s. The database is in WAL mode with `synchronous = FULL`: a change is on
//! stable storage before its call returns. One thread writes, so changes never wait for SQLite's lock;
//! readers have connections of their own and are never blocked by it.
//!
//! # Failure modes
//! - The file can't be opened or has a newer schema: [`SqliteDirectory::open`] fails and says so. A damaged
//!   directory is never replaced by an empty one: that would refuse all mail for all users.
//! - The disk is full: the change fails with [`StoreError::Unavailable`], lookups go on.
//!
//! Lookups are remembered ([`memory`]), since this process alone writes the file: an address is asked for at
//! RCPT and again at delivery, and the same ones come all day.

pub mod credentials;
mod memory;
mod queries;
mod schema;
mod worker;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use postroad_store::StoreError;
use postroad_store::directory::{
    AccountChange, AccountRecord, AliasRecord, Credentials, DirectoryStore, DomainRecord, Entry,
};
use postroad_store::spool::Micros;
use postroad_types::{AccountId, Address, Domain};

use worker::Worker;

/// Domains, accounts and aliases in an SQLite file. Clones are the same directory.
#[derive(Clone, Debug)]
pub struct SqliteDirectory {
    worker: Arc<Worker>,
}

impl SqliteDirectory {
    /// Opens the file, making it and its folder where they are missing. Blocks for some file operations.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(SqliteDirectory { worker: Arc::new(Worker::start(path)?) })
    }
}

#[async_trait]
impl DirectoryStore for SqliteDirectory {
    async fn look_up(&self, address: &Address) -> Result<Entry, StoreError> {
        let memory = self.worker.memory();
        let asked = match memory.find(address) {
            Ok(entry) => return Ok(entry),
            Err(asked) => asked,
        };
        let address = address.clone();
        let entry = self.worker.read(move |db| queries::look_up(db, &address)).await?;
        memory.keep(asked, entry.clone());
        Ok(entry)
    }

    async fn account(&self, id: AccountId) -> Result<AccountRecord, StoreError> {
        self.worker.read(move |db| queries::account(db, id)).await
    }

    async fn credentials(&self, address: &Address) -> Result<(AccountRecord, Credentials), StoreError> {
        let address = address.clone();
        self.worker.read(move |db| queries::credentials(db, &address)).await
    }

    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRecord>, StoreError> {
        let after = after.cloned();
        self.worker.read(move |db| queries::domains(db, after.as_ref(), limit)).await
    }

    async fn put_domain(
        &self,
        name: &Domain,
        catch_all: Option<Option<Address>>,
    ) -> Result<DomainRecord, StoreError> {
        let name = name.clone();
        self.worker.write(move |db| queries::put_domain(db, &name, catch_all)).await
    }

    async fn remove_domain(&self, name: &Domain) -> Result<(), StoreError> {
        let name = name.clone();
        self.worker.write(move |db| queries::remove_domain(db, &name)).await
    }

    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        let domain = domain.cloned();
        self.worker.read(move |db| queries::accounts(db, domain.as_ref(), after, limit)).await
    }

    async fn put_account(
        &self,
        address: &Address,
        change: AccountChange,
        now: Micros,
    ) -> Result<AccountRecord, StoreError> {
        let address = address.clone();
        self.worker.write(move |db| queries::put_account(db, &address, change, now)).await
    }

    async fn remove_account(&self, address: &Address) -> Result<AccountRecord, StoreError> {
        let address = address.clone();
        self.worker.write(move |db| queries::remove_account(db, &address)).await
    }

    async fn delegate(
        &self,
        account: &Address,
        send_as: &Address,
        allowed: bool,
    ) -> Result<bool, StoreError> {
        let (account, send_as) = (account.clone(), send_as.clone());
        self.worker.write(move |db| queries::delegate(db, &account, &send_as, allowed)).await
    }

    async fn delegations(&self, account: AccountId) -> Result<Vec<Address>, StoreError> {
        self.worker.read(move |db| queries::delegations(db, account)).await
    }

    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<AliasRecord>, StoreError> {
        let (domain, after) = (domain.cloned(), after.cloned());
        self.worker.read(move |db| queries::aliases(db, domain.as_ref(), after.as_ref(), limit)).await
    }

    async fn put_alias(&self, alias: &AliasRecord) -> Result<(), StoreError> {
        let alias = alias.clone();
        self.worker.write(move |db| queries::put_alias(db, &alias)).await
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), StoreError> {
        let address = address.clone();
        self.worker.write(move |db| queries::remove_alias(db, &address)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn directory() -> (SqliteDirectory, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (SqliteDirectory::open(&dir.path().join("directory.sqlite")).unwrap(), dir)
    }

    postroad_store::directory_contract!(directory());

    #[tokio::test]
    async fn everything_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/directory.sqlite");
        let alpha: Domain = "alpha.test".parse().unwrap();
        let alice: Address = "alice@alpha.test".parse().unwrap();
        let made = {
            let directory = SqliteDirectory::open(&path).unwrap();
            directory.put_domain(&alpha, None).await.unwrap();
            let credentials = Some(credentials::make("secret", &credentials::Cost::CHEAP).unwrap());
            let change = AccountChange { credentials, ..AccountChange::default() };
            directory.put_account(&alice, change, 5).await.unwrap()
        };
        let directory = SqliteDirectory::open(&path).unwrap();
        let (account, found) = directory.credentials(&alice).await.unwrap();
        assert_eq!(account, made);
        assert!(credentials::verify("secret", &found.password_hash).unwrap());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("directory.sqlite");
        let damaged = vec![b'x'; 8192];
        std::fs::write(&path, &damaged).unwrap();
        let error = SqliteDirectory::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
}
