//! `postroad dns`: the resolver, its cache, the zones.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use postroad_dns::wire::Name;
use postroad_dns::zone::load_zone_file;
use postroad_rpc::v1;
use postroad_rpc::v1::cache_client::CacheClient;
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_types::Role;

use super::client::{Services, said};
use super::dns_keys;
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
    },
    /// What the resolver remembers
    Cache {
        /// This name and all below it
        name: Option<String>,
    },
    /// Forget a name and all below it; "." forgets everything
    Flush { name: String },
    /// Zones that are answered for
    Zones,
    /// All records of a zone
    Zone { origin: String },
    /// Read the zone files again
    Reload { origin: Option<String> },
    /// The keys that zones are signed with, and what their parents need to know of them
    Keys(dns_keys::KeysArgs),
    /// How the zones are: serials, signatures, what comes next, who knows the last version
    Status(dns_keys::StatusArgs),
    /// Say what is wrong with a zone file, without serving it; needs no running service
    CheckZone { origin: String, file: PathBuf },
}

pub async fn main(config: &Path, args: Args) -> Result<(), String> {
    if let What::CheckZone { origin, file } = &args.what {
        return check_zone(origin, file);
    }
    let channel = Services::load(config)?.channel(Role::Dns).await?;
    let mut cache = CacheClient::new(channel.clone());
    let mut zones = ZonesClient::new(channel);
    match args.what {
        What::Query { name, kind, refresh } => {
            let request = v1::ResolveRequest { name, r#type: kind, refresh };
            print!("{}", resolved(&cache.resolve(request).await.map_err(said)?.into_inner()));
        }
        What::Cache { name } => {
            let request = v1::ShowCacheRequest { name: name.unwrap_or_default() };
            let mut replies = cache.show_cache(request).await.map_err(said)?.into_inner();
            let mut rows = Vec::new();
            while let Some(reply) = replies.message().await.map_err(said)? {
                rows.extend(reply.entries.into_iter().map(|entry| {
                    vec![
                        entry.name,
                        entry.r#type,
                        entry.ttl_left_s.to_string(),
                        entry.kind,
                        entry.records.join(" | "),
                    ]
                }));
            }
            print!("{}", table(&["NAME", "TYPE", "TTL", "KIND", "RECORDS"], &rows));
        }
        What::Flush { name } => {
            let reply = cache.flush_cache(v1::FlushCacheRequest { name }).await.map_err(said)?.into_inner();
            println!("{} forgotten", reply.entries);
        }
        What::Zones => {
            print_zones(zones.list_zones(v1::ListZonesRequest {}).await.map_err(said)?.into_inner())
        }
        What::Reload { origin } => {
            let request = v1::ReloadZonesRequest { origin: origin.unwrap_or_default() };
            print_zones(zones.reload_zones(request).await.map_err(said)?.into_inner());
        }
        What::Zone { origin } => {
            let mut replies =
                zones.show_zone(v1::ShowZoneRequest { origin }).await.map_err(said)?.into_inner();
            while let Some(reply) = replies.message().await.map_err(said)? {
                for record in reply.records {
                    println!("{record}");
                }
            }
        }
        What::Keys(args) => dns_keys::keys(zones, args).await?,
        What::Status(args) => dns_keys::status(zones, args).await?,
        // Done before any service was looked for.
        What::CheckZone { .. } => {}
    }
    Ok(())
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
            let server = if step.server.is_empty() { "(cache)" } else { &step.server };
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
    out.push_str(&format!("{} in {:.1} ms{age}\n", reply.rcode, reply.duration_us as f64 / 1000.0));
    out
}

fn print_zones(reply: v1::ListZonesReply) {
    let rows: Vec<Vec<String>> = reply
        .zones
        .into_iter()
        .map(|zone| {
            vec![
                zone.origin,
                zone.serial.to_string(),
                zone.names.to_string(),
                zone.records.to_string(),
                zone.file,
            ]
        })
        .collect();
    print!("{}", table(&["ZONE", "SERIAL", "NAMES", "RECORDS", "FILE"], &rows));
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
