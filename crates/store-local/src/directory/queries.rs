//! The directory's questions and changes in SQL. Changes run inside a transaction of the caller.

use postroad_store::StoreError;
use postroad_store::directory::{
    AccountChange, AccountRecord, AddressKey, AliasRecord, Credentials, DomainRecord, Entry, ScramKeys,
    too_many_delegations,
};
use postroad_store::spool::Micros;
use postroad_types::{AccountId, Address, Domain, limits};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::sqlite::store_error;

type Rows<T> = Result<T, rusqlite::Error>;

fn failed(error: rusqlite::Error) -> StoreError {
    store_error("asking the directory", &error)
}

pub fn look_up(db: &Connection, address: &Address) -> Result<Entry, StoreError> {
    let Some(domain) = address.domain() else {
        return Ok(Entry::NotOurs);
    };
    let key = AddressKey::of(address);
    if let Some(account) = account_by_key(db, &key)? {
        return Ok(Entry::Account(account));
    }
    if let Some(alias) = alias_by_key(db, &key)? {
        return Ok(Entry::Alias(alias));
    }
    Ok(match domain_by_key(db, domain)? {
        None => Entry::NotOurs,
        Some(DomainRecord { catch_all: Some(catch_all), .. }) => Entry::CatchAll(catch_all),
        Some(_) => Entry::Unknown,
    })
}

// Domains.

const DOMAIN: &str = "SELECT written, catch_all,
    (SELECT count(*) FROM account WHERE account.domain = domain.key),
    (SELECT count(*) FROM alias WHERE alias.domain = domain.key) FROM domain";

fn domain_of(row: &Row<'_>) -> Rows<DomainRecord> {
    let catch_all: Option<String> = row.get(1)?;
    Ok(DomainRecord {
        name: parsed(0, row.get_ref(0)?.as_str()?)?,
        catch_all: catch_all.map(|text| parsed(1, &text)).transpose()?,
        accounts: row.get::<_, i64>(2)?.unsigned_abs(),
        aliases: row.get::<_, i64>(3)?.unsigned_abs(),
    })
}

fn domain_by_key(db: &Connection, name: &Domain) -> Result<Option<DomainRecord>, StoreError> {
    one(db, &format!("{DOMAIN} WHERE key = ?"), [name.ascii()], domain_of)
}

/// The domain that an address of ours must be in.
fn own_domain(db: &Connection, address: &Address) -> Result<Domain, StoreError> {
    let domain = address.domain().ok_or_else(|| StoreError::Invalid(format!("{address} has no domain")))?;
    match domain_by_key(db, domain)? {
        Some(record) => Ok(record.name),
        None => Err(StoreError::NotFound(format!("domain {domain}"))),
    }
}

pub fn domains(
    db: &Connection,
    after: Option<&Domain>,
    limit: usize,
) -> Result<Vec<DomainRecord>, StoreError> {
    let after = after.map_or("", Domain::ascii);
    many(db, &format!("{DOMAIN} WHERE key > ? ORDER BY key LIMIT ?"), params![after, bound(limit)], domain_of)
}

pub fn put_domain(
    db: &Connection,
    name: &Domain,
    catch_all: Option<Option<Address>>,
) -> Result<DomainRecord, StoreError> {
    let make = "INSERT INTO domain (key, written) VALUES (?, ?) ON CONFLICT DO NOTHING";
    db.execute(make, [name.ascii(), name.written()]).map_err(failed)?;
    if let Some(catch_all) = catch_all {
        let text = catch_all.map(|address| address.to_string());
        db.execute("UPDATE domain SET catch_all = ? WHERE key = ?", params![text, name.ascii()])
            .map_err(failed)?;
    }
    domain_by_key(db, name)?.ok_or_else(|| StoreError::NotFound(format!("domain {name}")))
}

pub fn remove_domain(db: &Connection, name: &Domain) -> Result<(), StoreError> {
    let record = domain_by_key(db, name)?.ok_or_else(|| StoreError::NotFound(format!("domain {name}")))?;
    if record.accounts + record.aliases > 0 {
        return Err(StoreError::Invalid(format!(
            "domain {name} still has {} accounts and {} aliases",
            record.accounts, record.aliases
        )));
    }
    db.execute("DELETE FROM domain WHERE key = ?", [name.ascii()]).map_err(failed)?;
    Ok(())
}

// Accounts.

const ACCOUNT: &str = "SELECT id, written, enabled, quota_octets, created_us,
    password_hash, scram_salt, scram_iterations, scram_stored_key, scram_server_key FROM account";

fn account_of(row: &Row<'_>) -> Rows<AccountRecord> {
    Ok(AccountRecord {
        id: AccountId(row.get::<_, i64>(0)?.unsigned_abs()),
        address: parsed(1, row.get_ref(1)?.as_str()?)?,
        enabled: row.get(2)?,
        quota_octets: row.get::<_, i64>(3)?.unsigned_abs(),
        created_at: row.get(4)?,
    })
}

fn with_credentials_of(row: &Row<'_>) -> Rows<(AccountRecord, Credentials)> {
    let scram_sha_256 = ScramKeys {
        salt: row.get(6)?,
        iterations: row.get(7)?,
        stored_key: row.get(8)?,
        server_key: row.get(9)?,
    };
    Ok((account_of(row)?, Credentials { password_hash: row.get(5)?, scram_sha_256 }))
}

fn account_by_key(db: &Connection, key: &AddressKey) -> Result<Option<AccountRecord>, StoreError> {
    one(db, &format!("{ACCOUNT} WHERE key = ?"), [key.as_str()], account_of)
}

pub fn account(db: &Connection, id: AccountId) -> Result<AccountRecord, StoreError> {
    let found = one(db, &format!("{ACCOUNT} WHERE id = ?"), [id.0.cast_signed()], account_of)?;
    found.ok_or_else(|| StoreError::NotFound(format!("account {id}")))
}

pub fn credentials(db: &Connection, address: &Address) -> Result<(AccountRecord, Credentials), StoreError> {
    let key = AddressKey::of(address);
    let found = one(db, &format!("{ACCOUNT} WHERE key = ?"), [key.as_str()], with_credentials_of)?;
    found.ok_or_else(|| StoreError::NotFound(format!("account {address}")))
}

pub fn accounts(
    db: &Connection,
    domain: Option<&Domain>,
    after: Option<AccountId>,
    limit: usize,
) -> Result<Vec<AccountRecord>, StoreError> {
    let after = after.map_or(0, |id| id.0.cast_signed());
    match domain {
        Some(domain) => {
            let sql = format!("{ACCOUNT} WHERE domain = ? AND id > ? ORDER BY id LIMIT ?");
            many(db, &sql, params![domain.ascii(), after, bound(limit)], account_of)
        }
        None => {
            let sql = format!("{ACCOUNT} WHERE id > ? ORDER BY id LIMIT ?");
            many(db, &sql, params![after, bound(limit)], account_of)
        }
    }
}

pub fn put_account(
    db: &Connection,
    address: &Address,
    change: AccountChange,
    now: Micros,
) -> Result<AccountRecord, StoreError> {
    let domain = own_domain(db, address)?;
    let key = AddressKey::of(address);
    let quota = change.quota_octets.map(|octets| i64::try_from(octets).unwrap_or(i64::MAX));
    if account_by_key(db, &key)?.is_some() {
        let sql =
            "UPDATE account SET quota_octets = coalesce(?2, quota_octets), enabled = coalesce(?3, enabled)
            WHERE key = ?1";
        db.execute(sql, params![key.as_str(), quota, change.enabled]).map_err(failed)?;
        if let Some(new) = change.credentials {
            let keys = new.scram_sha_256;
            let sql = "UPDATE account SET password_hash = ?2, scram_salt = ?3, scram_iterations = ?4,
                scram_stored_key = ?5, scram_server_key = ?6 WHERE key = ?1";
            let values = params![
                key.as_str(),
                new.password_hash,
                keys.salt,
                keys.iterations,
                keys.stored_key,
                keys.server_key
            ];
            db.execute(sql, values).map_err(failed)?;
        }
    } else {
        if alias_by_key(db, &key)?.is_some() {
            return Err(StoreError::Exists(format!("{address} is an alias")));
        }
        let new = change
            .credentials
            .ok_or_else(|| StoreError::Invalid(format!("a new account needs a password: {address}")))?;
        let keys = new.scram_sha_256;
        let sql =
            "INSERT INTO account (key, written, domain, enabled, quota_octets, created_us, password_hash,
            scram_salt, scram_iterations, scram_stored_key, scram_server_key)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            key.as_str(),
            address.to_string(),
            domain.ascii(),
            change.enabled.unwrap_or(true),
            quota.unwrap_or(0),
            now,
            new.password_hash,
            keys.salt,
            keys.iterations,
            keys.stored_key,
            keys.server_key
        ];
        db.execute(sql, values).map_err(failed)?;
    }
    account_by_key(db, &key)?.ok_or_else(|| StoreError::NotFound(format!("account {address}")))
}

pub fn remove_account(db: &Connection, address: &Address) -> Result<AccountRecord, StoreError> {
    let key = AddressKey::of(address);
    let account =
        account_by_key(db, &key)?.ok_or_else(|| StoreError::NotFound(format!("account {address}")))?;
    db.execute("DELETE FROM account WHERE key = ?", [key.as_str()]).map_err(failed)?;
    db.execute("DELETE FROM delegation WHERE key = ?", [key.as_str()]).map_err(failed)?;
    Ok(account)
}

// Delegations.

pub fn delegate(
    db: &Connection,
    account: &Address,
    send_as: &Address,
    allowed: bool,
) -> Result<bool, StoreError> {
    let holder = account_by_key(db, &AddressKey::of(account))?
        .ok_or_else(|| StoreError::NotFound(format!("account {account}")))?;
    let (id, key) = (holder.id.0.cast_signed(), AddressKey::of(send_as));
    let changed = if allowed {
        own_domain(db, send_as)?;
        let make = "INSERT INTO delegation (account, key, written) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        db.execute(make, params![id, key.as_str(), send_as.to_string()]).map_err(failed)?
    } else {
        let take = "DELETE FROM delegation WHERE account = ? AND key = ?";
        db.execute(take, params![id, key.as_str()]).map_err(failed)?
    };
    if allowed && delegations(db, holder.id)?.len() > limits::DELEGATIONS_MAX {
        // The transaction is given up.
        return Err(too_many_delegations(account));
    }
    Ok(changed > 0)
}

pub fn delegations(db: &Connection, account: AccountId) -> Result<Vec<Address>, StoreError> {
    let sql = "SELECT written FROM delegation WHERE account = ? ORDER BY key";
    many(db, sql, [account.0.cast_signed()], |row| parsed(0, row.get_ref(0)?.as_str()?))
}

// Aliases.

fn with_targets(db: &Connection, key: &str, written: &str) -> Result<AliasRecord, StoreError> {
    let sql = "SELECT written FROM alias_target WHERE alias = ? ORDER BY place";
    let targets = many(db, sql, [key], |row| parsed(0, row.get_ref(0)?.as_str()?))?;
    Ok(AliasRecord { address: parsed(0, written).map_err(failed)?, targets })
}

fn alias_by_key(db: &Connection, key: &AddressKey) -> Result<Option<AliasRecord>, StoreError> {
    let sql = "SELECT written FROM alias WHERE key = ?";
    let written: Option<String> = one(db, sql, [key.as_str()], |row| row.get(0))?;
    written.map(|written| with_targets(db, key.as_str(), &written)).transpose()
}

pub fn aliases(
    db: &Connection,
    domain: Option<&Domain>,
    after: Option<&Address>,
    limit: usize,
) -> Result<Vec<AliasRecord>, StoreError> {
    let after = after.map(AddressKey::of);
    let after = after.as_ref().map_or("", AddressKey::as_str);
    let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Vec<(String, String)> = match domain {
        Some(domain) => {
            let sql = "SELECT key, written FROM alias WHERE domain = ? AND key > ? ORDER BY key LIMIT ?";
            many(db, sql, params![domain.ascii(), after, bound(limit)], pair)?
        }
        None => {
            let sql = "SELECT key, written FROM alias WHERE key > ? ORDER BY key LIMIT ?";
            many(db, sql, params![after, bound(limit)], pair)?
        }
    };
    found.iter().map(|(key, written)| with_targets(db, key, written)).collect()
}

pub fn put_alias(db: &Connection, alias: &AliasRecord) -> Result<(), StoreError> {
    alias.check()?;
    let domain = own_domain(db, &alias.address)?;
    let key = AddressKey::of(&alias.address);
    if account_by_key(db, &key)?.is_some() {
        return Err(StoreError::Exists(format!("{} is an account", alias.address)));
    }
    let make = "INSERT INTO alias (key, written, domain) VALUES (?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET written = excluded.written";
    db.execute(make, params![key.as_str(), alias.address.to_string(), domain.ascii()]).map_err(failed)?;
    db.execute("DELETE FROM alias_target WHERE alias = ?", [key.as_str()]).map_err(failed)?;
    let sql = "INSERT INTO alias_target (alias, place, key, written) VALUES (?, ?, ?, ?)";
    for (place, target) in alias.targets.iter().enumerate() {
        let target_key = AddressKey::of(target);
        let values = params![key.as_str(), bound(place), target_key.as_str(), target.to_string()];
        db.execute(sql, values).map_err(failed)?;
    }
    Ok(())
}

pub fn remove_alias(db: &Connection, address: &Address) -> Result<(), StoreError> {
    match db.execute("DELETE FROM alias WHERE key = ?", [AddressKey::of(address).as_str()]).map_err(failed)? {
        0 => Err(StoreError::NotFound(format!("alias {address}"))),
        _ => Ok(()),
    }
}

// Rows.

fn one<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    of: impl FnOnce(&Row<'_>) -> Rows<T>,
) -> Result<Option<T>, StoreError> {
    db.prepare_cached(sql).and_then(|mut s| s.query_row(values, of).optional()).map_err(failed)
}

fn many<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    of: impl FnMut(&Row<'_>) -> Rows<T>,
) -> Result<Vec<T>, StoreError> {
    let all = |mut s: rusqlite::CachedStatement<'_>| s.query_map(values, of)?.collect();
    db.prepare_cached(sql).and_then(all).map_err(failed)
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What was checked when it was written parses again; if not, somebody else wrote it.
fn parsed<T>(column: usize, text: &str) -> Rows<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}
