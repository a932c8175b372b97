//! What an address stands for: an account, others it leads to, nobody.
//!
//! An address is looked up as it is, then without its detail (`bob+lists` is bob), then by its domain's
//! catch-all. Aliases are followed inside our domains, each address once, with a bound on depth and number; what
//! leads outside is handed back, for the mta to send on.

use std::collections::HashSet;

use postroad_store::StoreError;
use postroad_store::directory::{AccountRecord, DirectoryStore, Entry};
use postroad_types::{Address, LocalPart, limits};

/// One look at the directory, detail and catch-all considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Account { account: AccountRecord, detail: Option<String> },
    Targets(Vec<Address>),
    Unknown,
    NotOurs,
}

/// All that a recipient comes down to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// Each account once, with the address that led to it last.
    pub accounts: Vec<(AccountRecord, Option<String>, Address)>,
    /// In domains that are not ours, or not known in ours: each goes on, or back, on its own.
    pub others: Vec<Address>,
    /// Something led in a circle, too deep, or to too many.
    pub cut: bool,
}

pub async fn look_up(
    directory: &dyn DirectoryStore,
    delimiter: &str,
    address: &Address,
) -> Result<Found, StoreError> {
    let catch_all = match directory.look_up(address).await? {
        Entry::Account(account) => return Ok(Found::Account { account, detail: None }),
        Entry::Alias(alias) => return Ok(Found::Targets(alias.targets)),
        Entry::NotOurs => return Ok(Found::NotOurs),
        Entry::CatchAll(target) => Some(target),
        Entry::Unknown => None,
    };
    if let Some((base, detail)) = split_detail(address, delimiter) {
        match directory.look_up(&base).await? {
            Entry::Account(account) => return Ok(Found::Account { account, detail: Some(detail) }),
            Entry::Alias(alias) => return Ok(Found::Targets(alias.targets)),
            Entry::NotOurs | Entry::CatchAll(_) | Entry::Unknown => {}
        }
    }
    Ok(catch_all.map_or(Found::Unknown, |target| Found::Targets(vec![target])))
}

/// `bob+lists@…` as (`bob@…`, `lists`).
pub fn split_detail(address: &Address, delimiter: &str) -> Option<(Address, String)> {
    if delimiter.is_empty() {
        return None;
    }
    let local = address.local.unquoted();
    let (base, detail) = local.split_once(delimiter)?;
    let local: LocalPart = base.parse().ok()?;
    Some((Address::new(local, address.host.clone()), detail.to_owned()))
}

/// Follows `address` to its end. `Ok(None)`: nobody of that name lives here (or the domain is not ours).
pub async fn expand(
    directory: &dyn DirectoryStore,
    delimiter: &str,
    address: &Address,
) -> Result<Option<Expansion>, StoreError> {
    let mut expansion = Expansion::default();
    let mut seen = HashSet::from([address.clone()]);
    let mut todo = match look_up(directory, delimiter, address).await? {
        Found::Unknown | Found::NotOurs => return Ok(None),
        Found::Account { account, detail } => {
            expansion.accounts.push((account, detail, address.clone()));
            return Ok(Some(expansion));
        }
        Found::Targets(targets) => targets,
    };
    for _ in 0..limits::ALIAS_DEPTH_MAX {
        let mut deeper = Vec::new();
        for target in std::mem::take(&mut todo) {
            if seen.len() > limits::ALIAS_TARGETS_MAX {
                expansion.cut = true;
                break;
            }
            if !seen.insert(target.clone()) {
                // A list may name itself or somebody twice; only where nobody is left is it a fault.
                continue;
            }
            match look_up(directory, delimiter, &target).await? {
                Found::Account { account, detail } => {
                    if !expansion.accounts.iter().any(|(there, ..)| there.id == account.id) {
                        expansion.accounts.push((account, detail, target));
                    }
                }
                Found::Targets(targets) => deeper.extend(targets),
                Found::Unknown | Found::NotOurs => expansion.others.push(target),
            }
        }
        todo = deeper;
        if todo.is_empty() {
            break;
        }
    }
    expansion.cut |= !todo.is_empty() || (expansion.accounts.is_empty() && expansion.others.is_empty());
    Ok(Some(expansion))
}

#[cfg(test)]
mod tests;
