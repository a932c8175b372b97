//! A message that came by too often is in a loop (RFC 5321 §6.3).

use postroad_types::limits;

use crate::consignment::reply;
use crate::message::header;
use crate::policy::verdict::Finding;

/// Refuses a header section with too many Received fields.
pub(super) fn check(head: &[u8]) -> Finding {
    let hops = header::fields(head).filter(|field| field.is("Received")).count();
    if hops < limits::RECEIVED_HEADERS_MAX {
        return Finding::clean("loop");
    }
    let text = format!("the message went through {hops} hosts: it is in a loop");
    Finding::refuse("loop", reply(554, (5, 4, 6), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::verdict::Verdict;

    #[test]
    fn a_hundred_hosts_are_too_many() {
        let hop = "Received: from a by b; now\r\n";
        let few = check(hop.repeat(limits::RECEIVED_HEADERS_MAX - 1).as_bytes());
        assert_eq!(few, Finding::clean("loop"));
        let refused = check(hop.repeat(limits::RECEIVED_HEADERS_MAX).as_bytes());
        assert!(
            matches!(refused.verdict, Verdict::Refuse(reply) if reply.to_string().starts_with("554 5.4.6"))
        );
    }
}
