//! `postroad pki`: certificates for services that do not share a disk.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use postroad_config::Config;
use postroad_service::pki::{Ca, Issued, PkiError};
use postroad_types::Role;

use crate::lab::files::write_file;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a CA in DIR/ca and, in a directory for each role, its certificate and the host's; the CA stays, the
    /// certificates are issued anew each time (they are good for 90 days)
    Containers {
        #[arg(long)]
        dir: PathBuf,
    },
}

pub fn main(config: &Path, args: Args) -> Result<(), String> {
    let What::Containers { dir } = args.what;
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let name = config.node.name.as_str();
    let now = SystemTime::now();
    let failed = |error: PkiError| error.to_string();
    let ca = Ca::open(&dir.join("ca"), name, now).map_err(failed)?;
    let host = ca.issue_host(&[name], now).map_err(failed)?;
    for role in Role::SERVICES {
        let dir = dir.join(role.name());
        write_file(&dir.join("ca.pem"), ca.pem())?;
        write_pair(&dir, "service", &ca.issue_service(&[role], name, now).map_err(failed)?)?;
        // Only those that mail programs and other hosts talk to.
        if matches!(role, Role::Mta | Role::Mra) {
            write_pair(&dir, "server", &host)?;
        }
    }
    let dir = dir.join(Role::Operator.name());
    write_file(&dir.join("ca.pem"), ca.pem())?;
    write_pair(&dir, "operator", &ca.issue_service(&[Role::Operator], name, now).map_err(failed)?)?;
    println!("certificates for {name} are in place");
    Ok(())
}

fn write_pair(dir: &Path, name: &str, issued: &Issued) -> Result<(), String> {
    write_file(&dir.join(format!("{name}.key")), &issued.key_pem)?;
    write_file(&dir.join(format!("{name}.pem")), &issued.chain_pem)
}
