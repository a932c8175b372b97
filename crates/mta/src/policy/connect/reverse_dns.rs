//! An address has a name that leads back to it (forward-confirmed reverse DNS), as mail servers' do.

use std::net::IpAddr;

use postroad_config::CheckAction;
use postroad_types::limits::POLICY_PTR_NAMES_MAX;

use crate::policy::lookup::Questions;
use crate::policy::verdict::Finding;
use crate::route::{DnsAnswer, Family};

const CHECK: &str = "reverse-dns";

/// The finding, and the name if it is confirmed.
pub(super) async fn check(
    peer: IpAddr,
    wanted: bool,
    action: CheckAction,
    dns: &Questions<'_>,
) -> (Finding, Option<String>) {
    if !wanted {
        return (Finding::clean(CHECK), None);
    }
    let names = match dns.names(peer).await {
        DnsAnswer::Records { records, .. } => records,
        DnsAnswer::NoSuchDomain | DnsAnswer::NoRecords => {
            return (Finding::by(action, CHECK, (5, 7, 25), format!("{peer} has no name")), None);
        }
        DnsAnswer::Failed(why) => {
            return (Finding::pass(CHECK, format!("the name of {peer} could not be found out: {why}")), None);
        }
    };
    let family = if peer.is_ipv4() { Family::A } else { Family::Aaaa };
    let mut unknown = None;
    for name in names.iter().filter(|name| is_host_name(name)).take(POLICY_PTR_NAMES_MAX) {
        match dns.addresses(name, family).await {
            DnsAnswer::Records { records, .. } if records.contains(&peer) => {
                return (Finding::clean(CHECK), Some(name.clone()));
            }
            DnsAnswer::Failed(why) => unknown = Some(why),
            _ => {}
        }
    }
    match unknown {
        Some(why) => (Finding::pass(CHECK, format!("no name of {peer} could be confirmed: {why}")), None),
        None => {
            let shown = names.first().map(String::as_str).unwrap_or_default();
            let reason = format!("{peer} has the name {shown}, which does not lead back to it");
            (Finding::by(action, CHECK, (5, 7, 25), reason), None)
        }
    }
}

/// What may stand in a Received header as a domain: DNS itself allows any octets in names.
fn is_host_name(name: &str) -> bool {
    name.parse::<postroad_types::Domain>().is_ok_and(|domain| domain.ascii().contains('.'))
}
