//! `postroad dns record`: one name of one of our zones.

use clap::Subcommand;
use postroad_dns::wire::Name;
use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::zones_client::ZonesClient;

use super::zone::{records, told};
use crate::cli::client::said;

/// What signing puts into a zone; it goes with what it is about.
const OF_SIGNING: [&str; 7] = ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY"];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put a record in
    Add {
        /// The whole name, such as www.example.org
        name: String,
        /// MX, A, AAAA, TXT …
        #[arg(value_name = "TYPE")]
        kind: String,
        /// As in a zone file: 10 mx.example.org. ("--" before what begins with a hyphen)
        #[arg(required = true, num_args = 1..)]
        data: Vec<String>,
        /// Seconds; a set has one TTL, so the other records of it get it too
        #[arg(long, default_value_t = 3600)]
        ttl: u32,
    },
    /// Take records out
    Remove {
        /// The whole name, such as www.example.org
        name: String,
        /// Without it, all types
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
        /// Without it, the whole set
        #[arg(num_args = 1..)]
        data: Vec<String>,
    },
}

pub async fn main(zones: &mut ZonesClient<Channel>, args: Args) -> Result<(), String> {
    let name = match &args.what {
        What::Add { name, .. } | What::Remove { name, .. } => parsed(name)?,
    };
    let all = zones.list_zones(v1::ListZonesRequest {}).await.map_err(said)?.into_inner().zones;
    let zone = zone_of(&name, all).ok_or_else(|| format!("{name} is in no zone that is served here"))?;
    let mut request = v1::CommitZoneRequest { origin: zone.origin.clone(), ..Default::default() };
    match args.what {
        What::Add { kind, data, ttl, .. } => {
            request.add.push(format!("{name} {ttl} IN {kind} {}", data.join(" ")));
        }
        What::Remove { kind, data, .. } if !data.is_empty() => {
            let kind = kind.unwrap_or_default();
            request.remove.push(format!("{name} IN {kind} {}", data.join(" ")));
        }
        What::Remove { kind, .. } => {
            // What is taken out is what was seen: the zone must not have changed meanwhile.
            request.expected_serial = Some(zone.serial);
            let of_name = |record: &String| is_of(record, &name, kind.as_deref());
            request.remove = records(zones, &zone.origin).await?.into_iter().filter(of_name).collect();
            if request.remove.is_empty() {
                return Err(format!("{name} has no such records"));
            }
        }
    }
    told(zones.commit_zone(request).await.map_err(said)?.into_inner());
    Ok(())
}

fn parsed(name: &str) -> Result<Name, String> {
    name.parse().map_err(|error| format!("{name:?} is no domain name: {error}"))
}

/// The zone that a name is in: the one with the longest name.
fn zone_of(name: &Name, zones: Vec<v1::Zone>) -> Option<v1::Zone> {
    let of = |zone: &v1::Zone| zone.origin.parse::<Name>().ok().filter(|origin| name.is_at_or_below(origin));
    let known = zones.into_iter().filter_map(|zone| Some((of(&zone)?.label_count(), zone)));
    known.max_by_key(|(labels, _)| *labels).map(|(_, zone)| zone)
}

/// Whether a record as it is shown is one of a name and of a type, or of any that is not of signing.
fn is_of(record: &str, name: &Name, kind: Option<&str>) -> bool {
    let mut words = record.split(' ');
    let owner = words.next().and_then(|owner| owner.parse::<Name>().ok());
    let shown = words.nth(2).unwrap_or_default();
    let wanted = kind.map_or(!OF_SIGNING.contains(&shown), |kind| kind.eq_ignore_ascii_case(shown));
    owner.as_ref() == Some(name) && wanted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_the_zone_with_the_longest_name() {
        let zones = || {
            ["test", "b.a.test", "a.test"]
                .map(|origin| v1::Zone { origin: origin.into(), ..Default::default() })
        };
        let of = |name: &str| zone_of(&parsed(name).unwrap(), zones().to_vec()).map(|zone| zone.origin);
        assert_eq!(of("x.B.a.test").as_deref(), Some("b.a.test"));
        assert_eq!(of("a.test").as_deref(), Some("a.test"));
        assert_eq!(of("ba.test").as_deref(), Some("test"));
        assert_eq!(of("example"), None);
        assert!(parsed("a..b").is_err());
    }

    #[test]
    fn records_are_found_by_name_and_type() {
        let name = parsed("a.test").unwrap();
        assert!(is_of("A.test. 60 IN MX 10 b.test.", &name, None));
        assert!(is_of("a.test. 60 IN MX 10 b.test.", &name, Some("mx")));
        assert!(!is_of("a.test. 60 IN MX 10 b.test.", &name, Some("A")));
        assert!(!is_of("a.test. 60 IN NSEC b.test. MX", &name, None));
        assert!(is_of("a.test. 60 IN CDS 0 0 0 00", &name, Some("CDS")));
        assert!(!is_of("b.a.test. 60 IN A 192.0.2.1", &name, None));
    }
}
