//! The operator's rules: mail that does not go by its domain's MX records, and on which terms hosts are spoken to.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postroad_config::{HostPort, Pattern, Protocol, TlsOutbound, Transport, Via};
use postroad_types::{Address, Domain, Host};
use postroad_wire_smtp::client::Credentials;

/// What is demanded of other servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    Off,
    /// Where it is offered, with any certificate; else in the clear.
    #[default]
    Opportunistic,
    /// Only with a certificate that we trust and that names the host.
    Require,
}

impl From<TlsOutbound> for TlsPolicy {
    fn from(config: TlsOutbound) -> Self {
        match config {
            TlsOutbound::Opportunistic => TlsPolicy::Opportunistic,
            TlsOutbound::Require => TlsPolicy::Require,
            TlsOutbound::Off => TlsPolicy::Off,
        }
    }
}

/// How the hosts of a destination are spoken to. Terms of one name are the same terms.
#[derive(Debug)]
pub struct Terms {
    /// `mx`, `rule 2`, …: connections and limits are shared by what has the same.
    pub name: Box<str>,
    pub protocol: Protocol,
    /// Without it what holds for all.
    pub tls: Option<TlsPolicy>,
    pub credentials: Option<Credentials>,
    /// Without it what holds for all.
    pub connections_max: Option<usize>,
    /// Between two attempts; zero: as fast as it goes.
    pub pace: Duration,
}

impl Terms {
    /// Of hosts that were found by MX.
    pub fn usual() -> Self {
        Terms {
            name: "mx".into(),
            protocol: Protocol::Smtp,
            tls: None,
            credentials: None,
            connections_max: None,
            pace: Duration::ZERO,
        }
    }

    /// The same, but never without TLS and a certificate that we trust (RFC 8689 §4.2.1).
    pub fn with_tls_alone(&self) -> Self {
        Terms {
            name: format!("{}, REQUIRETLS", self.name).into(),
            protocol: self.protocol,
            tls: Some(TlsPolicy::Require),
            credentials: self.credentials.clone(),
            connections_max: self.connections_max,
            pace: self.pace,
        }
    }

    fn of(number: usize, rule: &Transport) -> Result<Self, RuleError> {
        let protocol = match rule.via {
            Via::Host(protocol, _) => protocol,
            Via::Mx(_) | Via::Mailboxes => Protocol::Smtp,
        };
        let credentials = match (&rule.username, &rule.password_file) {
            (Some(username), Some(file)) => {
                let wrong = |what: String| RuleError { number, file: file.clone(), what };
                let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
                let password = text.lines().next().unwrap_or_default().to_owned();
                if password.is_empty() {
                    return Err(wrong("its first line is empty".to_owned()));
                }
                Some(Credentials { name: username.clone(), password })
            }
            _ => None,
        };
        // A password goes to nobody whose certificate was not looked at, unless the operator says so.
        let careful = credentials.is_some().then_some(TlsPolicy::Require);
        Ok(Terms {
            name: format!("rule {number}").into(),
            protocol,
            tls: rule.tls.map(TlsPolicy::from).or(careful),
            credentials,
            connections_max: rule.connections_max,
            pace: rule.pace,
        })
    }
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Terms {}

impl Hash for Terms {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A rule that can't be followed.
#[derive(Debug, thiserror::Error)]
#[error("[[mta.transport]] number {number}: password_file {}: {what}", file.display())]
pub struct RuleError {
    number: usize,
    file: PathBuf,
    what: String,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    recipient: Pattern,
    sender: Pattern,
    next: Via,
    terms: Arc<Terms>,
}

/// Where a recipient's mail goes, before anybody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To mda.
    Mailboxes,
    /// To other hosts.
    Out(Wanted),
}

/// What a route is looked up for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub(super) goal: Goal,
    pub(super) terms: Arc<Terms>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The MX hosts of a domain, or a literal.
    Mx(Host),
    Host(HostPort),
}

impl Wanted {
    /// Names what is looked up: equal for all recipients that share a route.
    pub(super) fn key(&self) -> String {
        match &self.goal {
            Goal::Mx(Host::Domain(domain)) => format!("{}: {}", self.terms.name, domain.ascii()),
            Goal::Mx(literal) => format!("{}: {literal}", self.terms.name),
            Goal::Host(host) => format!("{}: {host}", self.terms.name),
        }
    }
}

/// All rules.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    usual: Arc<Terms>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { rules: Vec::new(), usual: Arc::new(Terms::usual()) }
    }
}

impl Rules {
    /// Reads the password files too.
    pub fn new(config: &[Transport]) -> Result<Self, RuleError> {
        let rule = |(index, rule): (usize, &Transport)| {
            Ok(Rule {
                recipient: rule.recipient.clone(),
                sender: rule.sender.clone(),
                next: rule.via.clone(),
                terms: Arc::new(Terms::of(index + 1, rule)?),
            })
        };
        let rules: Result<Vec<Rule>, RuleError> = config.iter().enumerate().map(rule).collect();
        Ok(Rules { rules: rules?, ..Rules::default() })
    }

    /// The way of a rule that names the recipient or its domain, ours or not.
    pub fn named(&self, recipient: &Address, sender: Option<&Address>) -> Option<Way> {
        let fits = |rule: &&Rule| {
            rule.recipient != Pattern::Any && rule.recipient.fits(Some(recipient)) && rule.sender.fits(sender)
        };
        self.rules.iter().find(fits).map(|rule| self.way(rule, recipient))
    }

    /// The way of a recipient that is not ours and that no rule names.
    pub fn outside(&self, recipient: &Address, sender: Option<&Address>) -> Way {
        let fits = |rule: &&Rule| rule.recipient == Pattern::Any && rule.sender.fits(sender);
        match self.rules.iter().find(fits) {
            Some(rule) => self.way(rule, recipient),
            None => Way::Out(self.by_mx(recipient.host.clone())),
        }
    }

    /// The way that an operator chose for one message; `None` if the text is none.
    pub fn chosen(&self, text: &str, recipient: &Address) -> Option<Way> {
        let next: Via = text.parse().ok()?;
        let terms = match &next {
            Via::Host(protocol, _) if *protocol != Protocol::Smtp => {
                let name = format!("{protocol:?}").into();
                Arc::new(Terms { name, protocol: *protocol, ..Terms::usual() })
            }
            _ => self.usual.clone(),
        };
        let rule = Rule { recipient: Pattern::Any, sender: Pattern::Any, next, terms };
        Some(self.way(&rule, recipient))
    }

    pub(super) fn by_mx(&self, host: Host) -> Wanted {
        Wanted { goal: Goal::Mx(host), terms: self.usual.clone() }
    }

    fn way(&self, rule: &Rule, recipient: &Address) -> Way {
        let mx = |domain: &Domain| Goal::Mx(Host::Domain(domain.clone()));
        let goal = match &rule.next {
            Via::Mailboxes => return Way::Mailboxes,
            Via::Mx(None) => Goal::Mx(recipient.host.clone()),
            Via::Mx(Some(domain)) => mx(domain),
            Via::Host(_, host) => Goal::Host(host.clone()),
        };
        Way::Out(Wanted { goal, terms: rule.terms.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(toml: &str) -> Rules {
        let text = format!("[node]\nname = \"a.test\"\n{toml}");
        Rules::new(&postroad_config::Config::parse("postroad.toml", &text).unwrap().mta.transport).unwrap()
    }

    fn shown(way: Way) -> String {
        match way {
            Way::Mailboxes => "mailboxes".to_owned(),
            Way::Out(wanted) => wanted.key(),
        }
    }

    #[test]
    fn named_recipients_come_before_the_rule_for_all() {
        let rules = rules(
            "[[mta.transport]]\nvia = \"smtp://relay.test:587\"\n\
             [[mta.transport]]\nrecipient = \"beta.test\"\nvia = \"lmtp://127.0.0.1:24\"\n\
             [[mta.transport]]\nrecipient = \".gamma.test\"\nvia = \"mx:hub.test\"\n\
             [[mta.transport]]\nrecipient = \"delta.test\"\nsender = \"alpha.test\"\nvia = \"mx\"\n",
        );
        let way = |to: &str, from: &str| {
            let (to, from): (Address, Option<Address>) = (to.parse().unwrap(), from.parse().ok());
            shown(rules.named(&to, from.as_ref()).unwrap_or_else(|| rules.outside(&to, from.as_ref())))
        };
        assert_eq!(way("x@other.test", "a@alpha.test"), "rule 1: relay.test:587");
        assert_eq!(way("x@beta.test", ""), "rule 2: 127.0.0.1:24");
        assert_eq!(way("x@sub.gamma.test", ""), "rule 3: hub.test");
        assert_eq!(way("x@delta.test", "a@alpha.test"), "rule 4: delta.test");
        assert_eq!(way("x@delta.test", "a@other.test"), "rule 1: relay.test:587");
    }

    #[test]
    fn without_rules_everything_goes_by_mx() {
        let (rules, to) = (Rules::default(), "x@beta.test".parse().unwrap());
        assert!(rules.named(&to, None).is_none());
        assert_eq!(shown(rules.outside(&to, None)), "mx: beta.test");
    }

    #[test]
    fn an_operator_can_choose_for_one_message() {
        let (rules, to) = (Rules::default(), "x@beta.test".parse().unwrap());
        let chosen = |text: &str| rules.chosen(text, &to).map(shown);
        assert_eq!(chosen("smtp://[192.0.2.1]:2525"), None);
        assert_eq!(chosen("smtp://192.0.2.1:2525").as_deref(), Some("mx: 192.0.2.1:2525"));
        assert_eq!(chosen("lmtp://192.0.2.1").as_deref(), Some("Lmtp: 192.0.2.1:24"));
        assert_eq!(chosen("mx:hub.test").as_deref(), Some("mx: hub.test"));
        assert_eq!(chosen("nonsense"), None);
    }

    #[test]
    fn a_password_is_for_trusted_hosts_only_unless_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let rule = |more: &str| {
            let file = file.display();
            let toml = format!(
                "[[mta.transport]]\nvia = \"smtp://r.test\"\nusername = \"me\"\npassword_file = \"{file}\"\n{more}"
            );
            match rules(&toml).outside(&"x@y.test".parse().unwrap(), None) {
                Way::Out(wanted) => wanted.terms.tls,
                Way::Mailboxes => None,
            }
        };
        assert_eq!(rule(""), Some(TlsPolicy::Require));
        assert_eq!(rule("tls = \"opportunistic\""), Some(TlsPolicy::Opportunistic));
    }
}
