//! Who may do something with a zone.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::Name;

/// A network, a key, or both, which are then both needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub network: Option<IpNet>,
    pub key: Option<Name>,
}

impl Rule {
    fn fits(&self, client: IpAddr, key: Option<&Name>) -> bool {
        let names_something = self.network.is_some() || self.key.is_some();
        names_something
            && self.network.is_none_or(|network| network.contains(&client))
            && self.key.as_ref().is_none_or(|wanted| key == Some(wanted))
    }
}

/// The rules of all zones. A zone without any is closed.
#[derive(Debug, Clone, Default)]
pub struct Access(HashMap<Name, Vec<Rule>>);

impl Access {
    pub fn new(rules: impl IntoIterator<Item = (Name, Vec<Rule>)>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// Whether a client that has proved to have `key` is let in.
    pub fn allows(&self, zone: &Name, client: IpAddr, key: Option<&Name>) -> bool {
        let client = client.to_canonical();
        self.0.get(zone).is_some_and(|rules| rules.iter().any(|rule| rule.fits(client, key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_key_of_one_rule_are_both_needed() {
        let zone: Name = "alpha.test".parse().unwrap();
        let key: Name = "k".parse().unwrap();
        let rule = |network: Option<&str>, key: Option<&Name>| Rule {
            network: network.map(|network| network.parse().unwrap()),
            key: key.cloned(),
        };
        let allows = |rules: Vec<Rule>, client: &str, key: Option<&Name>| {
            Access::new([(zone.clone(), rules)]).allows(
                &"Alpha.test".parse().unwrap(),
                client.parse().unwrap(),
                key,
            )
        };
        let either = || vec![rule(Some("192.0.2.0/24"), None), rule(None, Some(&key))];
        assert!(allows(either(), "192.0.2.7", None) && allows(either(), "::ffff:192.0.2.7", None));
        assert!(allows(either(), "198.51.100.1", Some(&key)));
        assert!(!allows(either(), "198.51.100.1", Some(&zone)) && !allows(either(), "198.51.100.1", None));
        let both = || vec![rule(Some("192.0.2.0/24"), Some(&key))];
        assert!(allows(both(), "192.0.2.7", Some(&key)));
        assert!(!allows(both(), "192.0.2.7", None) && !allows(both(), "198.51.100.1", Some(&key)));
        assert!(
            !allows(vec![], "192.0.2.7", Some(&key)) && !allows(vec![rule(None, None)], "192.0.2.7", None)
        );
    }
}
