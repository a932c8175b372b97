//! What the directory says of a recipient, and what became of a delivery.

use crate::address::Address;
use crate::id::AccountId;
use crate::reply::{EnhancedCode, Reply};

/// The directory's answer to "who is that?", asked at RCPT and again at delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientVerdict {
    /// A mailbox here; `detail` is what stood behind the `+`.
    Local { account: AccountId, detail: Option<String> },
    /// An alias here that leads to these addresses, here or elsewhere.
    Alias { targets: Vec<Address> },
    /// The domain is ours, the name is not known.
    Unknown,
    /// The mailbox is over its quota; mail is put off with 452 4.2.2 or refused with 552 5.2.2.
    OverQuota { try_again: bool },
    /// The domain is not ours: relayed only for authenticated senders.
    NotOurs,
}

/// What a sender hears about a full mailbox: at RCPT and after delivery the same.
pub fn over_quota(try_again: bool, text: impl Into<String>) -> Reply {
    match try_again {
        true => Reply::new(452, EnhancedCode::new(4, 2, 2), text),
        false => Reply::new(552, EnhancedCode::new(5, 2, 2), text),
    }
}

/// What became of one recipient in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// Durable at the next hop or in the mailbox.
    Delivered(Reply),
    /// Temporary: try again.
    Deferred(Reply),
    /// Permanent: bounce.
    Rejected(Reply),
    /// The recipient stands for these; each goes on on its own, and no success is reported yet.
    Expanded(Vec<Address>),
}
