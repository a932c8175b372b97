//! Addresses of the envelope that become others (`[[mta.rewrite]]`). The first rule that fits counts, and what it
//! gives is not looked at again. Headers stay as they are: rewriting them would break signatures.

use postroad_config::{Rewrite, RewriteSide};
use postroad_types::{Address, Host, ReversePath};

/// The rules, in their order.
#[derive(Debug, Default)]
pub struct Rewrites(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    from: Pattern,
    to: Pattern,
    side: RewriteSide,
}

#[derive(Debug)]
enum Pattern {
    One(Address),
    Domain(Host),
}

impl Rewrites {
    /// The configuration has checked the rules; one that can't be read anyway is left out.
    pub fn new(rules: &[Rewrite]) -> Self {
        let rule = |rule: &Rewrite| {
            Some(Rule { from: pattern(&rule.from)?, to: pattern(&rule.to)?, side: rule.applies })
        };
        Rewrites(rules.iter().filter_map(rule).collect())
    }

    pub fn sender(&self, sender: &ReversePath) -> ReversePath {
        match sender {
            ReversePath::Null => ReversePath::Null,
            ReversePath::Address(address) => {
                ReversePath::Address(self.rewritten(address, RewriteSide::Sender))
            }
        }
    }

    pub fn recipient(&self, recipient: &Address) -> Address {
        self.rewritten(recipient, RewriteSide::Recipient)
    }

    fn rewritten(&self, address: &Address, side: RewriteSide) -> Address {
        let fits = |rule: &&Rule| {
            (rule.side == RewriteSide::Both || rule.side == side)
                && match &rule.from {
                    Pattern::One(one) => one == address,
                    Pattern::Domain(host) => *host == address.host,
                }
        };
        match self.0.iter().find(fits).map(|rule| &rule.to) {
            None => address.clone(),
            Some(Pattern::One(one)) => one.clone(),
            Some(Pattern::Domain(host)) => Address::new(address.local.clone(), host.clone()),
        }
    }
}

fn pattern(text: &str) -> Option<Pattern> {
    match text.strip_prefix('@') {
        Some(domain) => domain.parse().ok().map(|domain| Pattern::Domain(Host::Domain(domain))),
        None => text.parse().ok().map(Pattern::One),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rule = |from: &str, to: &str, applies| Rewrite { from: from.into(), to: to.into(), applies };
        let rules = Rewrites::new(&[
            rule("old@a.test", "new@a.test", RewriteSide::Both),
            rule("@a.test", "@b.test", RewriteSide::Recipient),
            rule("@in.test", "team@b.test", RewriteSide::Sender),
        ]);
        for (address, as_sender, as_recipient) in [
            ("old@A.test", "new@a.test", "new@a.test"),
            ("x@a.test", "x@a.test", "x@b.test"),
            ("y@in.test", "team@b.test", "y@in.test"),
            ("\"q r\"@a.test", "\"q r\"@a.test", "\"q r\"@b.test"),
            ("z@c.test", "z@c.test", "z@c.test"),
        ] {
            let address: Address = address.parse().unwrap();
            let sender = rules.sender(&ReversePath::Address(address.clone())).to_string();
            assert_eq!(
                (sender.as_str(), rules.recipient(&address).to_string().as_str()),
                (as_sender, as_recipient)
            );
        }
        assert!(rules.sender(&"".parse().unwrap()).is_null());
    }
}
