//! Mail that was delivered to an address before and comes back to it: the Delivered-To lines of its header.

use postroad_mime::header::{Fields, body_offset};
use postroad_store::StoreError;
use postroad_store::mailbox::BodySource;
use postroad_types::{Address, limits};

use crate::intake::Message;

/// The addresses of all Delivered-To lines, as far as the header is looked at.
pub async fn delivered_to(message: &Message) -> Result<Vec<Address>, StoreError> {
    let head = message.read(0, limits::LOOP_HEADER_OCTETS_MAX).await?;
    let header = head.get(..body_offset(&head)).unwrap_or(&head);
    let values = Fields::new(header).filter(|field| field.is(b"delivered-to"));
    Ok(values.filter_map(|field| std::str::from_utf8(&field.unfolded()).ok()?.trim().parse().ok()).collect())
}
