//! What a well-formed configuration can still be wrong in: all of it is found, not the first alone.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use postroad_types::{Address, Domain, limits as bounds};

use crate::dns_peer::same_name;
use crate::document::Document;
use crate::{Config, Pattern, Via, units};

pub(crate) fn check(config: &Config, document: &mut Document<'_>) {
    // Defaults that stand in for a section that cannot be read would clash with what was meant there.
    if document.problems.is_empty() {
        listeners(config, document);
    }
    node(config, document);
    files(config, document);
    dns(config, document);
    mta(config, document);
    policy(config, document);
    limits(config, document);
}

fn node(config: &Config, document: &mut Document<'_>) {
    let name = &config.node.name;
    // An empty name stands for one that was not read, which is reported already.
    if !name.is_empty()
        && let Err(error) = name.parse::<Domain>()
    {
        let message =
            format!("{name:?}: {error}; expected the host's full name, such as \"mx1.example.org\"");
        document.problem(&["node", "name"], message);
    }
    let delimiter = &config.mda.recipient_delimiter;
    if delimiter.chars().count() > 1 || delimiter.contains(['@', '"']) {
        let message =
            format!("{delimiter:?} cannot delimit; expected one character such as \"+\", or \"\" for none");
        document.problem(&["mda", "recipient_delimiter"], message);
    }
}

fn files(config: &Config, document: &mut Document<'_>) {
    let mut pair = |section: &'static str, cert: &Option<_>, key: &Option<_>| {
        let message = "cert_file and key_file belong together; expected both or neither";
        match (cert, key) {
            (Some(_), None) => document.problem(&[section, "cert_file"], message),
            (None, Some(_)) => document.problem(&[section, "key_file"], message),
            _ => {}
        }
    };
    pair("tls", &config.tls.cert_file, &config.tls.key_file);
    pair("rpc", &config.rpc.cert_file, &config.rpc.key_file);
    if config.rpc.cert_file.is_some() && config.rpc.ca_file.is_none() {
        let message =
            "cert_file without ca_file; expected the CA that issued it, to check the other services with";
        document.problem(&["rpc", "cert_file"], message);
    }

    let mut file = |path: &[&str], file: Option<&Path>| {
        if let Some(file) = file
            && let Err(error) = std::fs::File::open(file).and_then(|f| f.metadata()).and_then(|m| {
                if m.is_file() { Ok(()) } else { Err(std::io::Error::other("it is no regular file")) }
            })
        {
            let message = format!("{}: {error}; expected a file that can be read", file.display());
            document.problem(path, message);
        }
    };
    file(&["tls", "cert_file"], config.tls.cert_file.as_deref());
    file(&["tls", "key_file"], config.tls.key_file.as_deref());
    file(&["tls", "extra_ca_file"], config.tls.extra_ca_file.as_deref());
    file(&["rpc", "ca_file"], config.rpc.ca_file.as_deref());
    file(&["rpc", "cert_file"], config.rpc.cert_file.as_deref());
    file(&["rpc", "key_file"], config.rpc.key_file.as_deref());
    file(&["dns", "recursion", "root_hints"], config.dns.recursion.root_hints.as_deref());
    for (index, list) in config.dns.recursion.block.iter().enumerate() {
        file(&["dns", "recursion", "block", &index.to_string(), "file"], Some(&list.file));
    }
    let anchors = config.dns.recursion.trust_anchors_file.as_deref();
    file(&["dns", "recursion", "trust_anchors_file"], anchors);
    for (index, rule) in config.mta.transport.iter().enumerate() {
        let path = ["mta", "transport", &index.to_string(), "password_file"];
        file(&path, rule.password_file.as_deref());
    }
    for (index, zone) in config.dns.zones.iter().enumerate() {
        // A secondary's file is written by the server itself, and is not there before the first transfer.
        if zone.primaries.is_empty() {
            file(&["dns", "zones", &index.to_string(), "file"], zone.file.as_deref());
        }
    }
    for (index, key) in config.dns.keys.iter().enumerate() {
        file(&["dns", "keys", &index.to_string(), "secret_file"], Some(&key.secret_file));
    }
}

/// No two listeners of a node on the same TCP address.
fn listeners(config: &Config, document: &mut Document<'_>) {
    let (dns, mta, mda, mra) = (&config.dns, &config.mta, &config.mda, &config.mra);
    let all: [(&str, &str, &[SocketAddr]); 18] = [
        ("dns", "listen", &dns.listen),
        ("dns", "tls_listen", &dns.tls_listen),
        ("dns", "https_listen", &dns.https_listen),
        ("dns", "rpc_listen", &dns.rpc_listen),
        ("dns", "admin_listen", &dns.admin_listen),
        ("mta", "smtp_listen", &mta.smtp_listen),
        ("mta", "submission_listen", &mta.submission_listen),
        ("mta", "submissions_listen", &mta.submissions_listen),
        ("mta", "rpc_listen", &mta.rpc_listen),
        ("mta", "admin_listen", &mta.admin_listen),
        ("mda", "rpc_listen", &mda.rpc_listen),
        ("mda", "admin_listen", &mda.admin_listen),
        ("mra", "imap_listen", &mra.imap_listen),
        ("mra", "imaps_listen", &mra.imaps_listen),
        ("mra", "pop3_listen", &mra.pop3_listen),
        ("mra", "pop3s_listen", &mra.pop3s_listen),
        ("mra", "rpc_listen", &mra.rpc_listen),
        ("mra", "admin_listen", &mra.admin_listen),
    ];
    let mut seen: Vec<(SocketAddr, &str, &str)> = Vec::new();
    for (section, key, addresses) in all {
        for address in addresses {
            if let Some((other, its_section, its_key)) =
                seen.iter().find(|(other, _, _)| clash(*other, *address))
            {
                // Point at the one that was written down, if the other is a default.
                let (at, with) = if document.has(section) {
                    ((section, key), (*its_section, *its_key))
                } else {
                    ((*its_section, *its_key), (section, key))
                };
                let message = format!(
                    "{address} is taken by {}.{} ({other}); expected another port or another address",
                    with.0, with.1
                );
                document.problem(&[at.0, at.1], message);
            }
            seen.push((*address, section, key));
        }
    }
    // QUIC is UDP, which DNS alone speaks beside it.
    for quic in &dns.quic_listen {
        if let Some(other) = dns.listen.iter().find(|other| clash(**other, *quic)) {
            let message =
                format!("{quic} is taken by dns.listen ({other}); expected another port, such as 853");
            document.problem(&["dns", "quic_listen"], message);
        }
    }
}

/// Port 0 is whatever port is free, so it never clashes. IPv6 sockets are IPv6 only.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0
        && a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Policies of signing whose times do not fit together, and zones without a policy.
fn signing(config: &Config, document: &mut Document<'_>) {
    let dns = &config.dns;
    for (index, zone) in dns.zones.iter().enumerate() {
        let Some(name) = &zone.sign else { continue };
        if dns.signing_of(zone).is_none() {
            let message =
                format!("there is no policy {name:?}; expected \"default\", or [dns.signing.{name}]");
            document.problem(&["dns", "zones", &index.to_string(), "sign"], message);
        }
    }
    for (name, policy) in &dns.signing {
        if policy.validity <= policy.refresh + policy.jitter {
            let message = format!(
                "signatures must count for longer than refresh and jitter together; expected more than {}",
                units::duration::show(policy.refresh + policy.jitter)
            );
            document.problem(&["dns", "signing", name, "validity"], message);
        }
        let ttl_max = Duration::from_secs(bounds::DNS_TTL_S_MAX.into());
        for (key, ttl) in [("dnskey_ttl", policy.dnskey_ttl), ("parent_ds_ttl", policy.parent_ds_ttl)] {
            if ttl > ttl_max {
                document
                    .problem(&["dns", "signing", name, key], "no TTL is so long; expected 68 years at most");
            }
        }
        if policy.validity > ttl_max {
            let message = "no signature counts for so long; expected 68 years at most";
            document.problem(&["dns", "signing", name, "validity"], message);
        }
        if policy.parents.iter().any(|peer| peer.key.is_some()) {
            let message = "a parent is asked as everybody asks it; expected addresses without keys";
            document.problem(&["dns", "signing", name, "parents"], message);
        }
    }
}

fn dns(config: &Config, document: &mut Document<'_>) {
    let dns = &config.dns;
    for (index, zone) in dns.zones.iter().enumerate() {
        let at = index.to_string();
        if zone.origin != "."
            && let Err(error) = zone.origin.parse::<Domain>()
        {
            let message = format!("{:?}: {error}; expected a domain, or \".\" for the root", zone.origin);
            document.problem(&["dns", "zones", &at, "origin"], message);
        }
        let same = |other: &crate::Zone| same_name(&other.origin, &zone.origin);
        if dns.zones.iter().take(index).any(same) {
            let message = format!("the zone {} is given twice; expected each zone once", zone.origin);
            document.problem(&["dns", "zones", &at, "origin"], message);
        }
        if zone.file.is_none() && zone.primaries.is_empty() {
            let message = format!("the zone {} comes from nowhere; expected file, or primaries", zone.origin);
            document.problem(&["dns", "zones", &at], message);
        }
        let peers = |key: &'static str, peers: &[crate::DnsPeer]| {
            peers.iter().map(move |peer| (key, peer.key.clone())).collect::<Vec<_>>()
        };
        let named = peers("primaries", &zone.primaries).into_iter().chain(peers("notify", &zone.notify));
        let named = named.chain(zone.transfer_to.iter().map(|rule| ("transfer_to", rule.key.clone())));
        let named = named.chain(zone.update_from.iter().map(|rule| ("update_from", rule.key.clone())));
        for (list, key) in named.filter_map(|(list, key)| Some((list, key?))) {
            if !dns.keys.iter().any(|known| same_name(&known.name, &key)) {
                let message = format!("there is no key {key:?}; expected one of [[dns.keys]]");
                document.problem(&["dns", "zones", &at, list], message);
            }
        }
    }
    for (index, zone) in dns.zones.iter().enumerate() {
        let at = index.to_string();
        if !zone.update_from.is_empty() && !zone.primaries.is_empty() {
            let message = "the zone is had from others; expected its updates there, not here";
            document.problem(&["dns", "zones", &at, "update_from"], message);
        }
        if !zone.mail_names.is_empty() && !zone.primaries.is_empty() {
            let message = "the zone is had from others; expected its records there, not here";
            document.problem(&["dns", "zones", &at, "mail_names"], message);
        }
        for (place, name) in zone.mail_names.iter().enumerate() {
            let is_label = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            if !name.split('.').all(is_label) {
                let message = format!("{name:?} is no name within the zone; expected such as \"_domainkey\"");
                document.problem(&["dns", "zones", &at, "mail_names", &place.to_string()], message);
            }
        }
        for (place, rule) in zone.update_from.iter().enumerate().filter(|(_, rule)| rule.key.is_none()) {
            let message = format!(
                "{rule} could be anyone, since addresses can be forged; expected a key, such as \"{rule} key:NAME\""
            );
            document.problem(&["dns", "zones", &at, "update_from", &place.to_string()], message);
        }
    }
    signing(config, document);
    for (index, key) in dns.keys.iter().enumerate() {
        let at = index.to_string();
        if key.name.is_empty() {
            let message = "the key has no name; expected such as \"transfer.example.org\"";
            document.problem(&["dns", "keys", &at, "name"], message);
        }
        if dns.keys.iter().take(index).any(|other| same_name(&other.name, &key.name)) {
            let message = format!("the key {} is given twice; expected each key once", key.name);
            document.problem(&["dns", "keys", &at, "name"], message);
        }
    }
    crate::dns_routes::check(&dns.recursion, document);
    if dns.recursion.min_ttl > dns.recursion.max_ttl {
        let message =
            format!("min_ttl is longer than max_ttl ({})", units::duration::show(dns.recursion.max_ttl));
        document.problem(&["dns", "recursion", "min_ttl"], message);
    }
    let path = dns.https_path.strip_prefix('/');
    if !path.is_some_and(|path| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b))) {
        let message = format!("{:?} is no path; expected such as \"/dns-query\"", dns.https_path);
        document.problem(&["dns", "https_path"], message);
    }
    if dns.udp_payload_max < 512 {
        document
            .problem(&["dns", "udp_payload_max"], "too small; expected 512 (RFC 1035 section 2.3.4) or more");
    }
    if dns.recursion.upstream_port == 0 {
        document
            .problem(&["dns", "recursion", "upstream_port"], "port 0 cannot be asked; expected 1 to 65535");
    }
}

fn mta(config: &Config, document: &mut Document<'_>) {
    let mta = &config.mta;
    if !mta.postmaster.is_empty()
        && let Err(error) = mta.postmaster.parse::<Address>()
    {
        let message = format!("{:?}: {error}; expected a mail address", mta.postmaster);
        document.problem(&["mta", "postmaster"], message);
    }
    if mta.smtp_port == 0 {
        document.problem(&["mta", "smtp_port"], "port 0 cannot be reached; expected 1 to 65535");
    }
    let shown = units::duration::show;
    if mta.retry_first > mta.retry_max {
        let message = format!("longer than retry_max ({}); expected at most that", shown(mta.retry_max));
        document.problem(&["mta", "retry_first"], message);
    }
    if mta.retry_max > mta.queue_lifetime {
        let message =
            format!("longer than queue_lifetime ({}); expected at most that", shown(mta.queue_lifetime));
        document.problem(&["mta", "retry_max"], message);
    }
    if mta.retry_first.is_zero() {
        document
            .problem(&["mta", "retry_first"], "no wait at all would be a busy loop; expected \"1s\" or more");
    }
    for (index, rule) in mta.transport.iter().enumerate() {
        let index = index.to_string();
        let path = |key| ["mta", "transport", &index, key];
        match (&rule.username, &rule.password_file) {
            (Some(_), None) => {
                document.problem(&path("username"), "without a password; expected password_file beside it")
            }
            (None, Some(_)) => {
                document.problem(&path("password_file"), "without a name; expected username beside it")
            }
            (Some(_), Some(_)) if matches!(rule.via, Via::Mx(_) | Via::Mailboxes) => document.problem(
                &path("username"),
                "a password is for one host; expected via = \"smtp://…\" or the like",
            ),
            _ => {}
        }
        if rule.connections_max == Some(0) {
            document.problem(&path("connections_max"), "nothing would ever go; expected 1 or more");
        }
        if rule.recipient == Pattern::Null {
            document.problem(&path("recipient"), "a recipient is never <>; expected an address or a domain");
        }
    }
    for (index, network) in mta.proxy_from.iter().enumerate() {
        if network.prefix_len() == 0 {
            let message =
                format!("{network} is anyone, who could claim any address; expected your load balancers");
            document.problem(&["mta", "proxy_from", &index.to_string()], message);
        }
    }
    for (index, network) in mta.relay_networks.iter().enumerate() {
        if network.prefix_len() == 0 {
            let message =
                format!("{network} is the whole Internet: an open relay; expected your own networks");
            document.problem(&["mta", "relay_networks", &index.to_string()], message);
        }
    }
}

fn policy(config: &Config, document: &mut Document<'_>) {
    let policy = &config.mta.policy;
    for (index, list) in policy.dnsbl.iter().enumerate() {
        let at = index.to_string();
        if let Err(error) = list.zone.parse::<Domain>() {
            let message = format!("{:?}: {error}; expected a domain such as \"zen.example.org\"", list.zone);
            document.problem(&["mta", "policy", "dnsbl", &at, "zone"], message);
        }
        if list.weight == 0 {
            let message =
                "a list without weight says nothing; expected 1 or more, or below 0 for an allow list";
            document.problem(&["mta", "policy", "dnsbl", &at, "weight"], message);
        }
        let outside = |code: &&ipnet::IpNet| match code {
            ipnet::IpNet::V4(code) => !code.network().is_loopback(),
            ipnet::IpNet::V6(_) => true,
        };
        if let Some(code) = list.codes.iter().find(outside) {
            let message = format!("{code} is no answer of a list; expected parts of 127.0.0.0/8 (RFC 5782)");
            document.problem(&["mta", "policy", "dnsbl", &at, "codes"], message);
        }
    }
    if policy.dnsbl_refuse_score < 1 {
        let message = "every client would be refused; expected 1 or more";
        document.problem(&["mta", "policy", "dnsbl_refuse_score"], message);
    }
    let longest = Duration::from_secs(bounds::POLICY_DELAY_SECONDS_MAX);
    let delays: [(&[&str], Duration); 4] = [
        (&["mta", "policy", "greet_delay"], policy.greet_delay),
        (&["mta", "policy", "tarpit_delay"], policy.tarpit_delay),
        (&["mta", "policy", "tarpit_max"], policy.tarpit_max),
        (&["mta", "policy", "lookup_timeout"], policy.lookup_timeout),
    ];
    for (path, delay) in delays {
        if delay > longest {
            let message =
                format!("clients would go away; expected at most {}", units::duration::show(longest));
            document.problem(path, message);
        }
    }
    let greylist = &policy.greylist;
    if greylist.delay >= greylist.retry_within {
        let message = format!(
            "nobody could come again in time; expected less than retry_within ({})",
            units::duration::show(greylist.retry_within)
        );
        document.problem(&["mta", "policy", "greylist", "delay"], message);
    }
    if greylist.auto_allow > 100 {
        let message = "more than 100 are not counted; expected 0 to 100";
        document.problem(&["mta", "policy", "greylist", "auto_allow"], message);
    }
    let mime: [(&str, usize, usize); 2] = [
        ("mime_parts_max", policy.mime_parts_max, bounds::MIME_PARTS_MAX - 1),
        ("mime_depth_max", policy.mime_depth_max, bounds::MIME_NESTING_MAX - 1),
    ];
    for (key, value, most) in mime {
        if value > most {
            let message = format!("parts beyond {most} are not told apart; expected at most that, or 0");
            document.problem(&["mta", "policy", key], message);
        }
    }
    for (index, extension) in policy.attachment_extensions.iter().enumerate() {
        if extension.is_empty() || extension.starts_with('.') {
            let message =
                format!("{extension:?} is no ending; expected one without its dot, such as \"exe\"");
            document.problem(&["mta", "policy", "attachment_extensions", &index.to_string()], message);
        }
    }
    for (index, kind) in policy.attachment_types.iter().enumerate() {
        if !kind.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty()) {
            let message =
                format!("{kind:?} is no content type; expected such as \"application/x-msdownload\"");
            document.problem(&["mta", "policy", "attachment_types", &index.to_string()], message);
        }
    }
    let name = &policy.rspamd.spam_header;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let message = format!("{name:?} is no name of a header field; expected such as \"X-Spam\"");
        document.problem(&["mta", "policy", "rspamd", "spam_header"], message);
    }
    rewrites(config, document);
}

/// `user@domain` to one address, `@domain` to an address or `@domain`.
fn rewrites(config: &Config, document: &mut Document<'_>) {
    for (index, rule) in config.mta.rewrite.iter().enumerate() {
        let at = index.to_string();
        let mut side = |key: &str, text: &str| {
            let error = match text.strip_prefix('@') {
                Some(domain) => domain.parse::<Domain>().map(drop).map_err(|error| error.to_string()),
                None => text.parse::<Address>().map(drop).map_err(|error| error.to_string()),
            };
            if let Err(error) = error {
                let message = format!("{text:?}: {error}; expected an address or @domain");
                document.problem(&["mta", "rewrite", &at, key], message);
            }
        };
        side("from", &rule.from);
        side("to", &rule.to);
        if !rule.from.starts_with('@') && rule.to.starts_with('@') {
            let message = "one address becomes one address; expected such as \"user@example.org\"";
            document.problem(&["mta", "rewrite", &at, "to"], message);
        }
    }
}

/// Bounds that must not be nothing.
fn limits(config: &Config, document: &mut Document<'_>) {
    let (dns, mta, mda, mra) = (&config.dns, &config.mta, &config.mda, &config.mra);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let counts: [(&[&str], usize, usize); 15] = [
        (&["trace", "max_bytes"], size(config.trace.max_bytes), 64 << 10),
        (&["dns", "connections_max"], dns.connections_max, 1),
        (&["dns", "recursion", "cache_bytes"], size(dns.recursion.cache_bytes), 64 << 10),
        (&["dns", "recursion", "concurrency_max"], dns.recursion.concurrency_max, 1),
        (&["dns", "recursion", "concurrency_per_client_max"], dns.recursion.concurrency_per_client_max, 1),
        (&["mta", "message_size_max"], size(mta.message_size_max), 64 << 10),
        (&["mta", "recipients_max"], mta.recipients_max, 100),
        (&["mta", "connections_max"], mta.connections_max, 1),
        (&["mta", "connections_per_ip_max"], mta.connections_per_ip_max, 1),
        (&["mta", "destination_connections_max"], mta.destination_connections_max, 1),
        (&["mta", "deliveries_max"], mta.deliveries_max, 1),
        (&["mta", "policy", "header_fields_max"], mta.policy.header_fields_max, 50),
        (&["mda", "password_checks_max"], mda.password_checks_max, 1),
        (&["mra", "connections_max"], mra.connections_max, 1),
        (&["mra", "connections_per_ip_max"], mra.connections_per_ip_max, 1),
    ];
    for (path, value, least) in counts {
        if value < least {
            document.problem(path, format!("{value} is too little; expected {least} or more"));
        }
    }
    let durations: [(&[&str], Duration); 16] = [
        (&["rpc", "deadline"], config.rpc.deadline),
        (&["rpc", "connect_timeout"], config.rpc.connect_timeout),
        (&["rpc", "resolve_every"], config.rpc.resolve_every),
        (&["dns", "tcp_idle"], dns.tcp_idle),
        (&["dns", "recursion", "query_timeout"], dns.recursion.query_timeout),
        (&["dns", "recursion", "resolve_timeout"], dns.recursion.resolve_timeout),
        (&["mta", "idle"], mta.idle),
        (&["mta", "connect_timeout"], mta.connect_timeout),
        (&["mta", "command_timeout"], mta.command_timeout),
        (&["mta", "data_end_timeout"], mta.data_end_timeout),
        (&["mta", "queue_lifetime"], mta.queue_lifetime),
        (&["mta", "policy", "lookup_timeout"], mta.policy.lookup_timeout),
        (&["mta", "policy", "rspamd", "timeout"], mta.policy.rspamd.timeout),
        (&["mra", "idle"], mra.idle),
        (&["mra", "pop3_idle"], mra.pop3_idle),
        (&["mra", "login_timeout"], mra.login_timeout),
    ];
    for (path, value) in durations {
        if value.is_zero() {
            document.problem(path, "no time at all; expected a duration above zero");
        }
    }
}
