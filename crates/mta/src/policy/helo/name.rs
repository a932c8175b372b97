//! The name in HELO and EHLO: whose it is, and whether it is one.

use std::net::IpAddr;

use postroad_config::CheckAction;
use postroad_types::Host;
use postroad_wire_smtp::server::Hello;

use crate::policy::lookup::Questions;
use crate::policy::verdict::Finding;
use crate::route::{DnsAnswer, Family, OwnHost};

/// Our own name or address: nobody but us has it.
pub(super) fn ours(action: CheckAction, hello: &Hello, own: &OwnHost) -> Finding {
    let ours = match &hello.host {
        Some(Host::Domain(domain)) => domain.ascii() == own.name.ascii(),
        Some(Host::Literal(ip)) => own.addresses.contains(ip),
        None => false,
    };
    if !ours {
        return Finding::clean("helo-ours");
    }
    Finding::by(action, "helo-ours", (5, 7, 1), format!("you are not {}", hello.name))
}

/// An address literal that is not the client's address. Behind address translation an honest client says one.
pub(super) fn literal(action: CheckAction, hello: &Hello, peer: IpAddr) -> Finding {
    match &hello.host {
        Some(Host::Literal(ip)) if ip.to_canonical() != peer => {
            let reason = format!("{} is not your address, which is {peer}", hello.name);
            Finding::by(action, "helo-literal", (5, 7, 1), reason)
        }
        _ => Finding::clean("helo-literal"),
    }
}

/// RFC 5321 §4.1.1.1 wants a fully-qualified domain or an address literal.
pub(super) fn fqdn(action: CheckAction, hello: &Hello) -> Finding {
    let full = match &hello.host {
        Some(Host::Domain(domain)) => domain.ascii().trim_end_matches('.').contains('.'),
        Some(Host::Literal(_)) => true,
        None => false,
    };
    if full {
        return Finding::clean("helo-fqdn");
    }
    Finding::by(action, "helo-fqdn", (5, 5, 2), format!("{} is not the full name of a host", hello.name))
}

/// RFC 5321 §2.3.5 wants names that DNS resolves to addresses or MX hosts.
pub(super) async fn resolves(action: CheckAction, hello: &Hello, dns: &Questions<'_>) -> Finding {
    const CHECK: &str = "helo-resolves";
    let Some(Host::Domain(domain)) = &hello.host else { return Finding::clean(CHECK) };
    let name = domain.ascii();
    if action == CheckAction::Off || !name.contains('.') {
        return Finding::clean(CHECK);
    }
    let (a, aaaa) = tokio::join!(dns.addresses(name, Family::A), dns.addresses(name, Family::Aaaa));
    match (a, aaaa) {
        (DnsAnswer::Records { .. }, _) | (_, DnsAnswer::Records { .. }) => Finding::clean(CHECK),
        (DnsAnswer::Failed(why), _) | (_, DnsAnswer::Failed(why)) => {
            Finding::pass(CHECK, format!("{name} could not be looked up: {why}"))
        }
        _ => match dns.mx(name).await {
            DnsAnswer::Records { .. } | DnsAnswer::Failed(_) => Finding::clean(CHECK),
            _ => Finding::by(action, CHECK, (5, 7, 1), format!("{name} has no address in DNS")),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::fake::FakeDns;
    use crate::policy::lookup::Lookup;

    fn hello(name: &str) -> Hello {
        Hello { extended: true, name: name.into(), host: name.parse().ok() }
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_judged_one_by_one() {
        let own = OwnHost {
            name: "mx.alpha.test".parse().unwrap(),
            addresses: vec!["192.0.2.25".parse().unwrap()],
        };
        let peer: IpAddr = "192.0.2.7".parse().unwrap();
        let dns = FakeDns::new()
            .a("mail.beta.test", "192.0.2.7")
            .a("six.beta.test", "2001:db8::1")
            .mx("beta.test", "mail.beta.test")
            .fails("broken.test")
            .hangs("slow.test");
        let lookup = Lookup::new(Arc::new(dns), Duration::from_secs(1));
        let refuse = CheckAction::Refuse;
        for (name, expected) in [
            ("mail.beta.test", ["pass"; 4]),
            ("six.beta.test", ["pass"; 4]),
            ("beta.test", ["pass"; 4]),
            ("broken.test", ["pass"; 4]),
            ("slow.test", ["pass"; 4]),
            ("nowhere.test", ["pass", "pass", "pass", "refuse"]),
            ("localhost", ["pass", "pass", "refuse", "pass"]),
            ("WIN_BOX", ["pass", "pass", "refuse", "pass"]),
            ("MX.Alpha.test", ["refuse", "pass", "pass", "refuse"]),
            ("[192.0.2.7]", ["pass"; 4]),
            ("[192.0.2.8]", ["pass", "refuse", "pass", "pass"]),
            ("[192.0.2.25]", ["refuse", "refuse", "pass", "pass"]),
        ] {
            let hello = hello(name);
            let findings = [
                ours(refuse, &hello, &own),
                literal(refuse, &hello, peer),
                fqdn(refuse, &hello),
                resolves(refuse, &hello, &lookup.begin()).await,
            ];
            assert_eq!(findings.map(|f| f.verdict.name()), expected, "{name}");
        }
    }
}
