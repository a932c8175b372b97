//! `postroad dns`: the resolver, its cache, the zones, the traffic.

mod cache;
mod keys;
mod record;
mod top;
mod zone;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use postroad_dns::wire::Name;
use postroad_dns::zone::load_zone_file;
use postroad_rpc::v1;
use postroad_rpc::v1::cache_client::CacheClient;
use postroad_rpc::v1::traffic_client::TrafficClient;
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_types::Role;

use super::client::{Services, said};
use super::table::table;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Ask the resolver, and see whom it asked
    Query {
        name: String,
        /// MX, A, AAAA, TXT …
        #[arg(default_value = "A", value_name = "TYPE")]
        kind: String,
        /// Ask the servers even if the answer is cached
        #[arg(long)]
        refresh: bool,
        /// Show what does not stand validation too
        #[arg(long)]
        unchecked: bool,
    },
    /// What the resolver remembers
    Cache(cache::Args),
    /// Zones that are answered for
    Zone(zone::Args),
    /// Single records of our zones
    Record(record::Args),
    /// What passes, as it passes
    Top(top::Args),
    /// The keys that zones are signed with, and what their parents need to know of them
    Keys(keys::Args),
    /// How the zones are: serials, signatures, what comes next, who knows the last version
    Status(keys::StatusArgs),
    /// Say what is wrong with a zone file, without serving it; needs no running service
    CheckZone { origin: String, file: PathBuf },
}

pub async fn main(config: &Path, args: Args) -> Result<(), String> {
    if let What::CheckZone { origin, file } = &args.what {
        return check_zone(origin, file);
    }
    let channel = Services::load(config)?.channel(Role::Dns).await?;
    match args.what {
        What::Query { name, kind, refresh, unchecked: checking_disabled } => {
            let request = v1::ResolveRequest { name, r#type: kind, refresh, checking_disabled };
            let reply = CacheClient::new(channel).resolve(request).await.map_err(said)?.into_inner();
            print!("{}", resolved(&reply));
            Ok(())
        }
        What::Cache(args) => cache::main(&mut CacheClient::new(channel), args).await,
        What::Zone(args) => zone::main(&mut ZonesClient::new(channel), args).await,
        What::Record(args) => record::main(&mut ZonesClient::new(channel), args).await,
        What::Top(args) => top::main(TrafficClient::new(channel), args).await,
        What::Keys(args) => keys::main(&mut ZonesClient::new(channel), args).await,
        What::Status(args) => keys::status(&mut ZonesClient::new(channel), args).await,
        // Done before any service was looked for.
        What::CheckZone { .. } => Ok(()),
    }
}

/// Reads the file here and not in the service, so that `$INCLUDE` finds the files it names.
fn check_zone(origin: &str, file: &Path) -> Result<(), String> {
    let origin = origin.parse::<Name>().map_err(|error| format!("{origin:?} is no zone's name: {error}"))?;
    match load_zone_file(&origin, file) {
        Ok(zone) => {
            println!("{}: fine, {} records", file.display(), zone.records());
            Ok(())
        }
        Err(errors) => {
            eprintln!("{errors}");
            Err(format!("{}: not a good zone file", file.display()))
        }
    }
}

/// The way to an answer, then the answer.
pub fn resolved(reply: &v1::ResolveReply) -> String {
    let rows: Vec<Vec<String>> = reply
        .steps
        .iter()
        .map(|step| {
            let server = match (step.server.as_str(), step.transport.as_str()) {
                ("", "dnssec") => "(checked)",
                ("", "zone") => "(own zone)",
                ("", _) => "(cache)",
                (server, _) => server,
            };
            vec![
                server.to_owned(),
                step.transport.clone(),
                step.zone.clone(),
                step.question.clone(),
                step.outcome.clone(),
                format!("{:.1} ms", step.duration_us as f64 / 1000.0),
            ]
        })
        .collect();
    let mut out = String::new();
    if !rows.is_empty() {
        out.push_str(&table(&["ASKED", "OVER", "SERVER OF", "QUESTION", "OUTCOME", "TIME"], &rows));
        out.push('\n');
    }
    for record in reply.answers.iter().chain(&reply.authority) {
        out.push_str(record);
        out.push('\n');
    }
    let age = if reply.cached_s >= 0 { format!(", cached {} s ago", reply.cached_s) } else { String::new() };
    if !reply.failure.is_empty() {
        out.push_str(&format!("{}\n", reply.failure));
    }
    let (rcode, security) = (&reply.rcode, &reply.security);
    out.push_str(&format!("{rcode}, {security}, in {:.1} ms{age}\n", reply.duration_us as f64 / 1000.0));
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_file_is_checked_with_the_files_it_includes() {
        let folder = tempfile::tempdir().unwrap();
        let (zone, hosts) = (folder.path().join("zone"), folder.path().join("hosts"));
        std::fs::write(&zone, "$TTL 5\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n$INCLUDE hosts\n").unwrap();
        assert!(check_zone("a.test", &zone).is_err());
        std::fs::write(&hosts, "ns A 192.0.2.1\n").unwrap();
        assert_eq!(check_zone("a.test", &zone), Ok(()));
        std::fs::write(&hosts, "ns A 192.0.2.256\n").unwrap();
        assert!(check_zone("a.test", &zone).unwrap_err().ends_with("not a good zone file"));
        assert!(check_zone("a..test", &zone).is_err());
    }
}
