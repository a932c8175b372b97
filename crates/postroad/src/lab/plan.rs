//! Who lives where in the lab: addresses, ports, names, people.
//!
//! Each host of the little internet has an address of its own and all hosts use the same ports, as on the
//! real one, where a name server's port is never asked for but known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use postroad_types::Role;
use rand::RngExt;

/// Ports that are the same on every host.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub dns: u16,
    pub smtp: u16,
    pub submission: u16,
    pub submissions: u16,
    pub imap: u16,
    pub imaps: u16,
    pub pop3: u16,
    pub pop3s: u16,
    pub rpc: u16,
    pub admin: u16,
}

impl Ports {
    /// Above 1024, so that nobody needs to be root.
    pub const LOOPBACK: Ports = Ports {
        dns: 5300,
        smtp: 2525,
        submission: 5870,
        submissions: 4650,
        imap: 1430,
        imaps: 9930,
        pop3: 1100,
        pop3s: 9950,
        rpc: 7300,
        admin: 7380,
    };

    /// The real ones, for containers.
    pub const REAL: Ports = Ports {
        dns: 53,
        smtp: 25,
        submission: 587,
        submissions: 465,
        imap: 143,
        imaps: 993,
        pop3: 110,
        pop3s: 995,
        rpc: 7300,
        admin: 7380,
    };
}

/// One of the two domains.
#[derive(Clone, Debug)]
pub struct DomainPlan {
    /// `alpha.test`
    pub name: String,
    /// The authoritative name server.
    pub ns: Ipv4Addr,
    /// The caching resolver.
    pub resolver: Ipv4Addr,
    pub mta: Ipv4Addr,
    pub mda: Ipv4Addr,
    pub mra: Ipv4Addr,
    pub people: Vec<Person>,
}

/// An account of the lab.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub address: String,
    pub password: String,
}

/// The whole lab.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `postroad` program that the processes run.
    pub program: PathBuf,
    pub state: PathBuf,
    pub ports: Ports,
    pub root: Ipv4Addr,
    pub tld: Ipv4Addr,
    /// alpha, beta
    pub domains: [DomainPlan; 2],
}

impl Plan {
    /// `net` is the first three octets of all addresses: `127.0.0`.
    pub fn new(program: PathBuf, state: PathBuf, net: [u8; 3], ports: Ports) -> Plan {
        let host = |last: u8| Ipv4Addr::new(net[0], net[1], net[2], last);
        let domain = |name: &str, base: u8, people: [&str; 3]| DomainPlan {
            name: name.to_owned(),
            ns: host(base),
            resolver: host(base + 1),
            mta: host(base + 2),
            mda: host(base + 3),
            mra: host(base + 4),
            people: people.iter().map(|who| Person::new(who, name)).collect(),
        };
        Plan {
            program,
            state,
            ports,
            root: host(2),
            tld: host(3),
            domains: [
                domain("alpha.test", 11, ["alice", "carol", "dave"]),
                domain("beta.test", 21, ["bob", "erin", "frank"]),
            ],
        }
    }

    pub fn alpha(&self) -> &DomainPlan {
        &self.domains[0]
    }

    pub fn beta(&self) -> &DomainPlan {
        &self.domains[1]
    }

    pub fn ca_file(&self) -> PathBuf {
        self.state.join("pki/ca.pem")
    }

    /// The certificate that the lab and the command line show to the services.
    pub fn operator_cert(&self) -> (PathBuf, PathBuf) {
        (self.state.join("pki/operator.pem"), self.state.join("pki/operator.key"))
    }

    pub fn root_hints_file(&self) -> PathBuf {
        self.state.join("dns/root.hints")
    }

    pub fn lab_json(&self) -> PathBuf {
        self.state.join("lab.json")
    }

    /// Configuration of one process.
    pub fn config_file(&self, process: &Process) -> PathBuf {
        self.state.join("etc").join(format!("{}.toml", process.name))
    }

    /// All processes in the order of their start: whoever is asked comes before those who ask.
    pub fn processes(&self) -> Vec<Process> {
        let mut all = vec![
            Process::new("root", Role::Dns, self.root, None, "name server of the root"),
            Process::new("tld", Role::Dns, self.tld, None, "name server of test."),
        ];
        for (index, domain) in self.domains.iter().enumerate() {
            let short = domain.short();
            let mut add = |suffix: &str, role, ip, what: &str| {
                all.push(Process::new(&format!("{short}-{suffix}"), role, ip, Some(index), what));
            };
            add("ns", Role::Dns, domain.ns, "authoritative name server");
            add("dns", Role::Dns, domain.resolver, "caching resolver");
            add("mda", Role::Mda, domain.mda, "mailboxes and directory");
            add("mta", Role::Mta, domain.mta, "relay, submission and queue");
            add("mra", Role::Mra, domain.mra, "IMAP and POP3");
        }
        all
    }

    pub fn socket(&self, ip: Ipv4Addr, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(ip), port)
    }
}

impl DomainPlan {
    /// `alpha`
    pub fn short(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }

    /// The host in its MX record, and in the certificate of its submission and mailbox services.
    pub fn mail_host(&self) -> String {
        format!("mx.{}", self.name)
    }
}

impl Person {
    fn new(name: &str, domain: &str) -> Person {
        Person { name: name.to_owned(), address: format!("{name}@{domain}"), password: passphrase() }
    }
}

/// Four groups of chance that a person can type: about 62 bits.
fn passphrase() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz";
    let mut rng = rand::rng();
    let mut group =
        || -> String { (0..4).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect() };
    format!("{}-{}-{}", group(), group(), group())
}

/// One process of the lab.
#[derive(Clone, Debug)]
pub struct Process {
    /// `alpha-mta`
    pub name: String,
    pub role: Role,
    pub ip: Ipv4Addr,
    /// Index into [`Plan::domains`]; the root and the TLD belong to nobody.
    pub domain: Option<usize>,
    pub what: String,
}

impl Process {
    fn new(name: &str, role: Role, ip: Ipv4Addr, domain: Option<usize>, what: &str) -> Process {
        Process { name: name.to_owned(), role, ip, domain, what: what.to_owned() }
    }
}

/// "127.0.0" as three octets.
pub fn parse_net(text: &str) -> Result<[u8; 3], String> {
    let octets: Result<Vec<u8>, _> = text.split('.').map(str::parse).collect();
    match octets.as_deref() {
        Ok(&[a, b, c]) => Ok([a, b, c]),
        _ => Err(format!("{text:?} is no network of the form 127.0.0")),
    }
}
