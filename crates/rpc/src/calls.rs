//! Who may call whom: the call graph of the services, which has no circle.
//!
//! A server turns away a connection whose caller has no arrow to it; a finer choice (which method for whom)
//! is each service's own, by [`crate::Peer::require`]. A service may ask one of its own role for its health.

use postroad_types::Role;

/// Whether a service in role `caller` has business with one in role `callee`.
pub const fn may_call(caller: Role, callee: Role) -> bool {
    match (caller, callee) {
        // Mail and logins.
        (Role::Mta | Role::Mra, Role::Mda) => true,
        // Explaining how a name was found, and publishing what a domain needs.
        (Role::Mta | Role::Mda, Role::Dns) => true,
        (Role::Operator, Role::Dns | Role::Mta | Role::Mda | Role::Mra) => true,
        _ => false,
    }
}

/// Where a caller of the callee's own role may go.
pub(crate) const HEALTH_PATH: &str = "/grpc.health.v1.Health/";

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of ARCHITECTURE.md. Who changes one of them changes this list, and says why.
    const GOLDEN: &str = "\
mda -> dns
mta -> dns
mta -> mda
mra -> mda
operator -> dns
operator -> mda
operator -> mra
operator -> mta";

    const ALL: [Role; 5] = [Role::Dns, Role::Mda, Role::Mta, Role::Mra, Role::Operator];

    #[test]
    fn the_arrows_are_those_that_were_agreed_on() {
        let pairs = ALL.into_iter().flat_map(|caller| ALL.map(|callee| (caller, callee)));
        let mut arrows: Vec<_> =
            pairs.filter(|(a, b)| may_call(*a, *b)).map(|(a, b)| format!("{a} -> {b}")).collect();
        arrows.sort();
        let mut golden: Vec<_> = GOLDEN.lines().collect();
        golden.sort_unstable();
        assert_eq!(arrows, golden);
    }

    #[test]
    fn no_way_leads_back_to_where_it_began() {
        // A role that only calls roles without calls of their own left can be taken away; a circle cannot.
        let mut left = ALL.to_vec();
        while let Some(end) = left.iter().position(|a| !left.iter().any(|b| may_call(*a, *b))) {
            left.remove(end);
        }
        assert_eq!(left, []);
    }
}
