//! The services that a node is made of, as they name themselves to each other.

use std::fmt;
use std::str::FromStr;

/// One of the four services, or the operator's command line, which calls them and is called by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Dns,
    Mta,
    Mda,
    Mra,
    Operator,
}

/// The text names none of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a role (dns, mta, mda, mra, operator)")]
pub struct RoleError;

impl Role {
    /// The four that serve; what a whole node runs.
    pub const SERVICES: [Role; 4] = [Role::Dns, Role::Mda, Role::Mta, Role::Mra];

    /// `mta`: in the configuration, logs, metrics and timelines.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Dns => "dns",
            Role::Mta => "mta",
            Role::Mda => "mda",
            Role::Mra => "mra",
            Role::Operator => "operator",
        }
    }

    /// The DNS name in the service's certificate. It names the role and not the machine, so that any of
    /// its replicas can answer; `.internal` is never delegated in the public DNS.
    pub const fn identity(self) -> &'static str {
        match self {
            Role::Dns => "dns.postroad.internal",
            Role::Mta => "mta.postroad.internal",
            Role::Mda => "mda.postroad.internal",
            Role::Mra => "mra.postroad.internal",
            Role::Operator => "operator.postroad.internal",
        }
    }

    /// The role that a name out of a certificate stands for.
    pub fn from_identity(name: &str) -> Option<Role> {
        let all = [Role::Dns, Role::Mta, Role::Mda, Role::Mra, Role::Operator];
        all.into_iter().find(|role| role.identity() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(s: &str) -> Result<Self, RoleError> {
        let all = [Role::Dns, Role::Mta, Role::Mda, Role::Mra, Role::Operator];
        all.into_iter().find(|role| role.name() == s).ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_found_by_its_name_and_by_its_identity_only() {
        for role in Role::SERVICES {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(Role::from_identity(role.identity()), Some(role));
        }
        assert_eq!(Role::from_identity("mta.example.org"), None);
        assert_eq!("MTA".parse::<Role>(), Err(RoleError));
    }
}
