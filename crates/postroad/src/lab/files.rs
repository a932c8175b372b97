//! Everything that the lab's processes read: certificates, zone files, root hints, one configuration each.
//!
//! Written anew at each start, except what must stay true over a restart: the CA and the accounts' passwords.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use ipnet::IpNet;
use postroad_config::{Config, Zone};
use postroad_service::pki;
use postroad_types::Role;
use serde_json::{Value, json};

use super::plan::{DomainPlan, Plan, Process};

/// Writes all of it under the plan's state directory.
pub fn write(plan: &Plan) -> Result<(), String> {
    for dir in ["pki", "dns", "etc", "log"] {
        make_dir(&plan.state.join(dir))?;
    }
    certificates(plan)?;
    zones(plan)?;
    for process in plan.processes() {
        let config = config(plan, &process)?;
        let text = config.to_toml().map_err(|error| format!("configuration of {}: {error}", process.name))?;
        write_file(&plan.config_file(&process), &text)?;
    }
    let json = serde_json::to_string_pretty(&lab_json(plan)).map_err(|error| format!("lab.json: {error}"))?;
    // It holds passwords, if only of the lab's people.
    write_file(&plan.lab_json(), &json)
}

/// Takes the passwords of an earlier run, so that with the same directory the same people may log in.
pub fn recall_passwords(plan: &mut Plan) -> Result<(), String> {
    let file = plan.lab_json();
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let old: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}; remove the file, or give another --state", file.display()))?;
    let accounts = old["domains"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|domain| domain["accounts"].as_array().into_iter().flatten());
    for account in accounts {
        let (Some(address), Some(password)) = (account["address"].as_str(), account["password"].as_str())
        else {
            continue;
        };
        let people = plan.domains.iter_mut().flat_map(|domain| domain.people.iter_mut());
        for person in people.filter(|person| person.address == address) {
            person.password = password.to_owned();
        }
    }
    Ok(())
}

fn certificates(plan: &Plan) -> Result<(), String> {
    let dir = plan.state.join("pki");
    let failed = |error: pki::PkiError| format!("certificates of the lab: {error}");
    let now = SystemTime::now();
    let ca = pki::Ca::open(&dir, "the lab", now).map_err(failed)?;
    let write = |name: &str, issued: pki::Issued| {
        write_file(&dir.join(format!("{name}.pem")), &issued.chain_pem)?;
        write_file(&dir.join(format!("{name}.key")), &issued.key_pem)
    };
    for process in plan.processes() {
        write(&process.name, ca.issue_service(&[process.role], &process.name, now).map_err(failed)?)?;
    }
    write("operator", ca.issue_service(&[Role::Operator], "lab", now).map_err(failed)?)?;
    for domain in &plan.domains {
        let (host, mta, mra) = (domain.mail_host(), domain.mta.to_string(), domain.mra.to_string());
        let names = [&host, &domain.name, &mta, &mra].map(String::as_str);
        write(domain.short(), ca.issue_host(&names, now).map_err(failed)?)?;
    }
    Ok(())
}

fn zones(plan: &Plan) -> Result<(), String> {
    let dir = plan.state.join("dns");
    let (root, tld) = (plan.root, plan.tld);
    let start = "IN SOA ns.nic.test. hostmaster.nic.test. 1 3600 900 604800 60";
    write_file(
        &plan.root_hints_file(),
        &format!(".  3600000  IN NS  a.root-servers.lab.\na.root-servers.lab.  3600000  IN A  {root}\n"),
    )?;
    write_file(
        &dir.join("root.zone"),
        &format!(
            "$ORIGIN .\n$TTL 86400\n@ {start}\n@ IN NS a.root-servers.lab.\na.root-servers.lab. IN A {root}\n\
             ; The one top-level domain of the lab, with the address of its server as glue.\n\
             test. IN NS ns.nic.test.\nns.nic.test. IN A {tld}\n"
        ),
    )?;
    let mut text = format!("$ORIGIN test.\n$TTL 3600\n@ {start}\n@ IN NS ns.nic\nns.nic IN A {tld}\n");
    for domain in &plan.domains {
        let (short, ns) = (domain.short(), domain.ns);
        text.push_str(&format!("{short} IN NS ns1.{short}\nns1.{short} IN A {ns}\n"));
        write_file(&dir.join(format!("{}.zone", domain.name)), &domain_zone(domain))?;
    }
    write_file(&dir.join("test.zone"), &text)
}

fn domain_zone(domain: &DomainPlan) -> String {
    let DomainPlan { name, ns, mta, mra, .. } = domain;
    format!(
        "$ORIGIN {name}.\n$TTL 300\n\
         @      IN SOA   ns1 hostmaster 1 3600 900 604800 60\n\
         @      IN NS    ns1\n\
         @      IN MX    10 mx\n\
         @      IN TXT   \"v=spf1 mx -all\"\n\
         ns1    IN A     {ns}\n\
         mx     IN A     {mta}\n\
         mail   IN A     {mra}\n\
         imap   IN CNAME mail\n\
         pop3   IN CNAME mail\n\
         ; Three addresses of one name: each answer begins with another one.\n\
         www    IN A     192.0.2.1\n\
         www    IN A     192.0.2.2\n\
         www    IN A     192.0.2.3\n\
         _submissions._tcp IN SRV 0 1 465 mx\n\
         _imaps._tcp       IN SRV 0 1 993 mail\n"
    )
}

fn config(plan: &Plan, process: &Process) -> Result<Config, String> {
    let ports = plan.ports;
    let at = |port: u16| vec![plan.socket(process.ip, port)];
    let node = match process.domain.and_then(|index| plan.domains.get(index)) {
        Some(domain) if process.role != Role::Dns => domain.mail_host(),
        _ => format!("{}.lab.test", process.name),
    };
    let mut config = Config::new(node, plan.state.join("var").join(&process.name));
    let pki = plan.state.join("pki");
    config.rpc.ca_file = Some(plan.ca_file());
    config.rpc.cert_file = Some(pki.join(format!("{}.pem", process.name)));
    config.rpc.key_file = Some(pki.join(format!("{}.key", process.name)));
    if let Some(domain) = process.domain.and_then(|index| plan.domains.get(index)) {
        let url = |ip: std::net::Ipv4Addr| format!("https://{}", plan.socket(ip, ports.rpc)).parse();
        let failed = |()| "an address of the plan is no address".to_owned();
        config.rpc.peers.dns = vec![url(domain.resolver).map_err(failed)?];
        config.rpc.peers.mda = vec![url(domain.mda).map_err(failed)?];
        config.rpc.peers.mta = vec![url(domain.mta).map_err(failed)?];
        config.rpc.peers.mra = vec![url(domain.mra).map_err(failed)?];
        config.tls.cert_file = Some(pki.join(format!("{}.pem", domain.short())));
        config.tls.key_file = Some(pki.join(format!("{}.key", domain.short())));
        config.tls.extra_ca_file = Some(plan.ca_file());
        config.mta.postmaster = format!("postmaster@{}", domain.name);
        config.mta.resolver =
            vec![format!("{}", plan.socket(domain.resolver, ports.dns)).parse().map_err(failed)?];
    }
    match process.role {
        Role::Dns => {
            config.dns.listen = at(ports.dns);
            config.dns.rpc_listen = at(ports.rpc);
            config.dns.admin_listen = at(ports.admin);
            config.dns.zones = zones_of(plan, process);
            config.dns.recursion.allow = Vec::new();
            if config.dns.zones.is_empty() {
                let loopback = IpNet::new(IpAddr::from([127, 0, 0, 0]), 8);
                let near = IpNet::new(IpAddr::V4(process.ip), 24).map(|net| net.trunc());
                let allow: Result<Vec<IpNet>, _> = [loopback, near].into_iter().collect();
                config.dns.recursion.allow = allow.map_err(|error| error.to_string())?;
                config.dns.recursion.root_hints = Some(plan.root_hints_file());
                config.dns.recursion.upstream_port = ports.dns;
                // The lab shows how names are found.
                config.dns.recursion.keep_cache = false;
            }
        }
        Role::Mta => {
            config.mta.smtp_listen = at(ports.smtp);
            config.mta.submission_listen = at(ports.submission);
            config.mta.submissions_listen = at(ports.submissions);
            config.mta.rpc_listen = at(ports.rpc);
            config.mta.admin_listen = at(ports.admin);
            config.mta.smtp_port = ports.smtp;
            // A lab is there to be played with: what waits is tried again while somebody watches.
            config.mta.retry_first = std::time::Duration::from_secs(5);
        }
        Role::Mda => {
            config.mda.rpc_listen = at(ports.rpc);
            config.mda.admin_listen = at(ports.admin);
        }
        Role::Mra => {
            config.mra.imap_listen = at(ports.imap);
            config.mra.imaps_listen = at(ports.imaps);
            config.mra.pop3_listen = at(ports.pop3);
            config.mra.pop3s_listen = at(ports.pop3s);
            config.mra.rpc_listen = at(ports.rpc);
            config.mra.admin_listen = at(ports.admin);
        }
        Role::Operator => {}
    }
    Ok(config)
}

/// What a name server of the lab answers for; nothing for a resolver.
fn zones_of(plan: &Plan, process: &Process) -> Vec<Zone> {
    let dir = plan.state.join("dns");
    let zone = |origin: &str, file: &str| vec![Zone::in_file(origin, dir.join(file))];
    match process.domain.and_then(|index| plan.domains.get(index)) {
        None if process.ip == plan.root => zone(".", "root.zone"),
        None => zone("test", "test.zone"),
        Some(domain) if process.ip == domain.ns => zone(&domain.name, &format!("{}.zone", domain.name)),
        Some(_) => Vec::new(),
    }
}

/// What other programs need to join in.
fn lab_json(plan: &Plan) -> Value {
    let ports = plan.ports;
    let domains: Vec<Value> = plan
        .domains
        .iter()
        .map(|domain| {
            let at = |ip, port| plan.socket(ip, port).to_string();
            json!({
                "name": domain.name,
                "resolver": at(domain.resolver, ports.dns),
                "authoritative": at(domain.ns, ports.dns),
                "smtp": at(domain.mta, ports.smtp),
                "submission": at(domain.mta, ports.submission),
                "submissions": at(domain.mta, ports.submissions),
                "imap": at(domain.mra, ports.imap),
                "imaps": at(domain.mra, ports.imaps),
                "pop3": at(domain.mra, ports.pop3),
                "pop3s": at(domain.mra, ports.pop3s),
                "admin": {
                    "dns": at(domain.resolver, ports.admin),
                    "mta": at(domain.mta, ports.admin),
                    "mda": at(domain.mda, ports.admin),
                    "mra": at(domain.mra, ports.admin),
                },
                "accounts": domain.people.iter().map(|person| {
                    json!({ "address": person.address, "password": person.password })
                }).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "ca_file": plan.ca_file(),
        "root_hints": plan.root_hints_file(),
        "root": plan.socket(plan.root, ports.dns).to_string(),
        "domains": domains,
    })
}

fn make_dir(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))
}

/// Whole or not at all, readable for the owner alone.
pub(crate) fn write_file(file: &Path, text: &str) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let new = file.with_extension("new");
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    out.write_all(text.as_bytes()).map_err(failed)?;
    fs::rename(&new, file).map_err(failed)
}
