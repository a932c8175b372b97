//! A message that came by too often is in a loop (RFC 5321 §6.3).

use postroad_types::{EnhancedCode, Reply, limits};

use crate::message::header;

/// Refuses a header section with too many Received fields.
pub fn check(head: &[u8]) -> Result<(), Reply> {
    let hops = header::fields(head).filter(|field| field.is("Received")).count();
    if hops < limits::RECEIVED_HEADERS_MAX {
        return Ok(());
    }
    let text = format!("the message went through {hops} hosts: it is in a loop");
    Err(Reply::new(554, EnhancedCode::new(5, 4, 6), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_hosts_are_too_many() {
        let hop = "Received: from a by b; now\r\n";
        assert_eq!(check(hop.repeat(limits::RECEIVED_HEADERS_MAX - 1).as_bytes()), Ok(()));
        let refused = check(hop.repeat(limits::RECEIVED_HEADERS_MAX).as_bytes()).unwrap_err();
        assert_eq!(refused.to_string().get(..9), Some("554 5.4.6"));
    }
}
