//! What the configuration says of names that are not looked for from the root downwards: forward, stub and local zones, and
//! block lists.

use std::sync::Arc;

use postroad_config::{BlockAnswer, DnsServer, ForwardMode, LocalKind, Recursion};

use crate::resolve::blocked::{BlockListError, Blocked, BlockedAs};
use crate::resolve::routes::{Route, RouteKind, Routes};
use crate::wire::{Name, NameError};
use crate::zone::{Zone, ZoneErrors, Zones, zone_from_text};

/// Why these names cannot be answered so. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RedirectedError {
    #[error("[dns.recursion] \"{name}\" is no domain name: {error}")]
    Zone { name: String, error: NameError },
    #[error("[[dns.recursion.local]] {zone} cannot be served:\n{faults}")]
    Local { zone: Name, faults: String },
    #[error("[[dns.recursion.block]] {0}")]
    Blocked(#[from] BlockListError),
}

fn name(text: &str) -> Result<Name, RedirectedError> {
    text.parse().map_err(|error| RedirectedError::Zone { name: text.to_owned(), error })
}

/// The forward and stub zones, and the domains that nobody is asked for.
pub(crate) fn routes(config: &Recursion) -> Result<Routes, RedirectedError> {
    let kind = |mode| match mode {
        ForwardMode::First => RouteKind::ForwardFirst,
        ForwardMode::Only => RouteKind::ForwardOnly,
    };
    let forward = config.forward.iter().map(|it| (&it.zone, kind(it.mode()), &it.servers));
    let stub = config.stub.iter().map(|it| (&it.zone, RouteKind::Stub, &it.servers));
    let route = |(zone, kind, servers): (&String, RouteKind, &Vec<DnsServer>)| {
        Ok(Route::new(&name(zone)?, kind, servers))
    };
    let refused = config.local.iter().filter(|it| it.kind == LocalKind::Refuse);
    let refused = refused.map(|it| name(&it.zone)).collect::<Result<Vec<_>, _>>()?;
    let routes = forward.chain(stub).map(route).collect::<Result<Vec<_>, RedirectedError>>()?;
    Ok(Routes::new(routes).refusing(refused))
}

/// Whether one of their servers is asked over TLS.
pub(crate) fn any_over_tls(config: &Recursion) -> bool {
    let forward = config.forward.iter().flat_map(|it| &it.servers);
    forward.chain(config.stub.iter().flat_map(|it| &it.servers)).any(DnsServer::is_tls)
}

/// The local zones, and those of `special` that none of them takes the place of.
pub(crate) fn zones(config: &Recursion, special: Zones) -> Result<Zones, RedirectedError> {
    let mut local: Vec<Arc<Zone>> = Vec::with_capacity(config.local.len());
    for zone in config.local.iter().filter(|zone| zone.kind != LocalKind::Refuse) {
        let apex = name(&zone.zone)?;
        let built = zone_from_text(&apex, &text(zone.kind, &zone.records)).map_err(|errors| {
            let faults = faults(zone.kind, &zone.records, &errors);
            RedirectedError::Local { zone: apex.clone(), faults }
        })?;
        local.push(Arc::new(built));
    }
    let others = special.iter().filter(|zone| !local.iter().any(|own| own.apex() == zone.apex()));
    let others: Vec<Arc<Zone>> = others.cloned().collect();
    Ok(Zones::new(others.into_iter().chain(local)))
}

/// What a local zone, which is its own name server, begins with (RFC 6303 section 3).
const BEGINNING: &str = "$TTL 300\n@ SOA @ nobody.invalid. 1 1h 20m 1w 300\n@ NS @\n";

/// The zone file of a local zone.
fn text(kind: LocalKind, records: &[String]) -> String {
    BEGINNING.to_owned() + &records.iter().map(|record| lines(kind, record)).collect::<String>()
}

/// The lines of the zone file that a record of the configuration makes.
fn lines(kind: LocalKind, record: &str) -> String {
    match (kind, record.strip_prefix('@')) {
        (LocalKind::Redirect, Some(rest)) => format!("{record}\n*{rest}\n"),
        _ => format!("{record}\n"),
    }
}

/// What is wrong with records, each fault with the record as it is in the configuration.
fn faults(kind: LocalKind, records: &[String], errors: &ZoneErrors) -> String {
    let mut faults: Vec<String> = Vec::new();
    for error in &errors.0 {
        let mut end = BEGINNING.lines().count();
        let record = records.iter().find(|record| {
            end += lines(kind, record).lines().count();
            end >= usize::try_from(error.line).unwrap_or(usize::MAX)
        });
        let fault = match record.filter(|_| error.line > 0) {
            Some(record) => format!("{record:?}: {}", error.message),
            None => error.message.clone(),
        };
        // A record that stands for two lines is wrong once.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults.join("\n")
}

/// The block lists.
pub(crate) fn blocked(config: &Recursion) -> Result<Blocked, RedirectedError> {
    let answer = |answer| match answer {
        BlockAnswer::Nxdomain => BlockedAs::Missing,
        BlockAnswer::Null => BlockedAs::Null,
    };
    let lists = config.block.iter().map(|list| (list.file.clone(), answer(list.answer)));
    Ok(Blocked::load(lists.collect())?)
}

#[cfg(test)]
mod tests {
    use postroad_config::LocalZone;

    use super::*;
    use crate::wire::Rtype;
    use crate::zone::Lookup;

    fn local(zone: &str, kind: LocalKind, record: &str) -> LocalZone {
        LocalZone { zone: zone.to_owned(), kind, records: vec![record.to_owned()] }
    }

    fn config(local: Vec<LocalZone>) -> Recursion {
        Recursion { local, ..Recursion::default() }
    }

    #[test]
    fn local_zones_take_the_place_of_special_ones() {
        let config = config(vec![
            local("test", LocalKind::Redirect, "@ A 192.0.2.1"),
            local("printer.example", LocalKind::Static, "www A 192.0.2.2"),
        ]);
        let empty = zone_from_text(&"test".parse().unwrap(), &text(LocalKind::Static, &[])).unwrap();
        let zones = zones(&config, Zones::new([Arc::new(empty)])).unwrap();
        assert_eq!(zones.iter().count(), 2);
        let found = |name: &str| {
            let key = name.parse::<Name>().unwrap().key();
            match zones.find(&key, Rtype::A).unwrap().lookup(&key, Rtype::A) {
                Lookup::Found(node) | Lookup::Wildcard(node) => node.rrset(Rtype::A).is_some(),
                _ => false,
            }
        };
        assert!(found("test") && found("any.name.test") && found("www.printer.example"));
        assert!(!found("other.printer.example"));
    }

    #[test]
    fn what_is_wrong_with_a_local_zone_is_said() {
        let config = config(vec![local("bad.example", LocalKind::Static, "@ A nowhere")]);
        let error = zones(&config, Zones::default()).unwrap_err().to_string();
        assert!(error.contains("bad.example. cannot be served:\n\"@ A nowhere\": "), "{error}");
        let mut redirected = local("bad.example", LocalKind::Redirect, "@ A 192.0.2.1");
        redirected.records.extend(["@ AAAA 2001:db8::1".to_owned(), "@ MX mx".to_owned()]);
        let error = zones(&Recursion { local: vec![redirected], ..config }, Zones::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("\"@ MX mx\": ") && error.lines().count() == 2, "{error}");
    }
}
