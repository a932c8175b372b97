//! `postroad domain|account|alias`: the directory.

use std::io::IsTerminal;
use std::path::Path;

use clap::Subcommand;
use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::directory_client::DirectoryClient;
use postroad_types::Role;

use super::client::{Services, said};
use super::table::{octets, table};

#[derive(Debug, clap::Args)]
pub struct DomainArgs {
    #[command(subcommand)]
    what: DomainWhat,
}

#[derive(Debug, Subcommand)]
enum DomainWhat {
    List,
    /// Make a domain ours, or change its catch-all
    Add {
        name: String,
        /// Gets all mail to names that are neither account nor alias; "" for none
        #[arg(long)]
        catch_all: Option<String>,
        /// Gets the mail to postmaster at this domain
        #[arg(long)]
        postmaster: Option<String>,
    },
    /// Only when it has no accounts and no aliases
    Remove {
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct AccountArgs {
    #[command(subcommand)]
    what: AccountWhat,
}

#[derive(Debug, Subcommand)]
enum AccountWhat {
    List {
        /// Of one domain only
        domain: Option<String>,
    },
    /// Make an account; the password is read from standard input, or asked for on a terminal
    Add {
        address: String,
        /// Bound of its mailbox, as 500MiB or 2GiB; 0 for none
        #[arg(long)]
        quota: Option<String>,
    },
    /// Set a new password, read like at `add`
    Password {
        address: String,
    },
    /// Change the bound of its mailbox
    Quota {
        address: String,
        quota: String,
    },
    /// Let it neither log in nor send; its mail is kept and still taken
    Disable {
        address: String,
    },
    Enable {
        address: String,
    },
    /// Let it send as another address of ours, beside its own, its aliases and their +details
    Delegate {
        address: String,
        send_as: String,
        /// No longer
        #[arg(long)]
        revoke: bool,
    },
    Remove {
        address: String,
        /// Remove its mail too
        #[arg(long)]
        purge: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct AliasArgs {
    #[command(subcommand)]
    what: AliasWhat,
}

#[derive(Debug, Subcommand)]
enum AliasWhat {
    List {
        domain: Option<String>,
    },
    /// Lead an address to others, here or elsewhere
    Add {
        address: String,
        #[arg(required = true)]
        targets: Vec<String>,
    },
    Remove {
        address: String,
    },
}

async fn directory(config: &Path) -> Result<DirectoryClient<Channel>, String> {
    Ok(DirectoryClient::new(Services::load(config)?.channel(Role::Mda).await?))
}

pub async fn domain_main(config: &Path, args: DomainArgs) -> Result<(), String> {
    let mut directory = directory(config).await?;
    match args.what {
        DomainWhat::Add { name, catch_all, postmaster } => {
            let domain = directory
                .put_domain(v1::PutDomainRequest { name, catch_all })
                .await
                .map_err(said)?
                .into_inner();
            println!("{} is ours", domain.name);
            put_postmaster(&mut directory, &domain.name, postmaster).await?;
        }
        DomainWhat::Remove { name } => {
            directory.remove_domain(v1::RemoveDomainRequest { name: name.clone() }).await.map_err(said)?;
            println!("{name} is no longer ours");
        }
        DomainWhat::List => {
            let mut rows = Vec::new();
            let mut token = String::new();
            loop {
                let request = v1::ListDomainsRequest { page: page(token) };
                let reply = directory.list_domains(request).await.map_err(said)?.into_inner();
                rows.extend(reply.domains.into_iter().map(|domain| {
                    vec![
                        domain.name,
                        domain.accounts.to_string(),
                        domain.aliases.to_string(),
                        domain.catch_all,
                    ]
                }));
                token = reply.next_page;
                if token.is_empty() {
                    break;
                }
            }
            print!("{}", table(&["DOMAIN", "ACCOUNTS", "ALIASES", "CATCH-ALL"], &rows));
        }
    }
    Ok(())
}

pub async fn account_main(config: &Path, args: AccountArgs) -> Result<(), String> {
    let mut directory = directory(config).await?;
    let change = match args.what {
        AccountWhat::List { domain } => {
            return list_accounts(&mut directory, domain.unwrap_or_default()).await;
        }
        AccountWhat::Remove { address, purge } => {
            let request = v1::RemoveAccountRequest { address: address.clone(), purge };
            directory.remove_account(request).await.map_err(said)?;
            println!("{address} removed{}", if purge { " with its mail" } else { "; its mail is kept" });
            return Ok(());
        }
        AccountWhat::Delegate { address, send_as, revoke } => {
            return delegate(&mut directory, address, send_as, !revoke).await;
        }
        AccountWhat::Add { address, quota } => v1::PutAccountRequest {
            password: Some(read_password(&address)?),
            quota_octets: quota.as_deref().map(parse_quota).transpose()?,
            enabled: Some(true),
            address,
        },
        AccountWhat::Password { address } => {
            v1::PutAccountRequest { password: Some(read_password(&address)?), address, ..Default::default() }
        }
        AccountWhat::Quota { address, quota } => {
            v1::PutAccountRequest { address, quota_octets: Some(parse_quota(&quota)?), ..Default::default() }
        }
        AccountWhat::Disable { address } => {
            v1::PutAccountRequest { address, enabled: Some(false), ..Default::default() }
        }
        AccountWhat::Enable { address } => {
            v1::PutAccountRequest { address, enabled: Some(true), ..Default::default() }
        }
    };
    let account = directory.put_account(change).await.map_err(said)?.into_inner();
    let quota = if account.quota_octets == 0 {
        "no quota of its own".to_owned()
    } else {
        octets(account.quota_octets)
    };
    println!("{} {}, {quota}", account.address, if account.enabled { "enabled" } else { "disabled" });
    Ok(())
}

async fn delegate(
    directory: &mut DirectoryClient<Channel>,
    account: String,
    send_as: String,
    allowed: bool,
) -> Result<(), String> {
    let request = v1::DelegateRequest { account: account.clone(), send_as: send_as.clone(), allowed };
    let changed = directory.delegate(request).await.map_err(said)?.into_inner().changed;
    println!(
        "{}",
        match (allowed, changed) {
            (true, true) => format!("{account} may send as {send_as}"),
            (true, false) => format!("{account} may already send as {send_as}"),
            (false, true) => {
                format!("{account} may no longer send as {send_as}; the mta forgets it within seconds")
            }
            (false, false) => format!("{account} had no such delegation"),
        }
    );
    Ok(())
}

/// Every domain has a postmaster (RFC 5321 section 4.5.1): makes it, or says that it is missing.
async fn put_postmaster(
    directory: &mut DirectoryClient<Channel>,
    domain: &str,
    target: Option<String>,
) -> Result<(), String> {
    let address = format!("postmaster@{domain}");
    if let Some(target) = target {
        let request = v1::PutAliasRequest { address: address.clone(), targets: vec![target.clone()] };
        directory.put_alias(request).await.map_err(said)?;
        println!("{address} leads to {target}");
        return Ok(());
    }
    let request = v1::ResolveRecipientRequest { address: address.clone() };
    let verdict = directory.resolve_recipient(request).await.map_err(said)?.into_inner().verdict;
    if matches!(verdict, Some(v1::resolve_recipient_reply::Verdict::Unknown(_))) {
        println!(
            "nobody gets mail to {address} yet, and every domain must have one: postroad alias add {address} SOMEONE"
        );
    }
    Ok(())
}

async fn list_accounts(directory: &mut DirectoryClient<Channel>, domain: String) -> Result<(), String> {
    let mut rows = Vec::new();
    let mut token = String::new();
    loop {
        let request = v1::ListAccountsRequest { domain: domain.clone(), page: page(token) };
        let reply = directory.list_accounts(request).await.map_err(said)?.into_inner();
        rows.extend(reply.accounts.into_iter().map(|account| {
            vec![
                account.id.to_string(),
                account.address,
                if account.enabled { "enabled" } else { "disabled" }.to_owned(),
                account.messages.to_string(),
                octets(account.used_octets),
                if account.quota_octets == 0 { "-".to_owned() } else { octets(account.quota_octets) },
                if account.sends_as.is_empty() { "-".to_owned() } else { account.sends_as.join(", ") },
            ]
        }));
        token = reply.next_page;
        if token.is_empty() {
            break;
        }
    }
    print!("{}", table(&["ID", "ADDRESS", "STATE", "MESSAGES", "USED", "QUOTA", "SENDS AS"], &rows));
    Ok(())
}

pub async fn alias_main(config: &Path, args: AliasArgs) -> Result<(), String> {
    let mut directory = directory(config).await?;
    match args.what {
        AliasWhat::Add { address, targets } => {
            let alias = directory
                .put_alias(v1::PutAliasRequest { address, targets })
                .await
                .map_err(said)?
                .into_inner();
            println!("{} leads to {}", alias.address, alias.targets.join(", "));
        }
        AliasWhat::Remove { address } => {
            directory
                .remove_alias(v1::RemoveAliasRequest { address: address.clone() })
                .await
                .map_err(said)?;
            println!("{address} removed");
        }
        AliasWhat::List { domain } => {
            let mut rows = Vec::new();
            let mut token = String::new();
            loop {
                let request =
                    v1::ListAliasesRequest { domain: domain.clone().unwrap_or_default(), page: page(token) };
                let reply = directory.list_aliases(request).await.map_err(said)?.into_inner();
                rows.extend(
                    reply.aliases.into_iter().map(|alias| vec![alias.address, alias.targets.join(", ")]),
                );
                token = reply.next_page;
                if token.is_empty() {
                    break;
                }
            }
            print!("{}", table(&["ALIAS", "TARGETS"], &rows));
        }
    }
    Ok(())
}

fn page(token: String) -> Option<v1::Page> {
    Some(v1::Page { size: 1000, token })
}

fn parse_quota(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    postroad_config::units::size::parse(text)
        .ok_or(format!("{text:?} is no size; expected something like 500MiB or 2GiB"))
}

/// From standard input, its line end cut off. Never an argument: those are seen by everybody on the machine.
fn read_password(address: &str) -> Result<String, String> {
    if std::io::stdin().is_terminal() {
        eprint!("Password for {address} (shown while you type): ");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| format!("the password can't be read: {error}"))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err("the password is empty".into());
    }
    Ok(password.to_owned())
}
