//! What storage says, as the contracts say it.

use postroad_store::StoreError;
use tonic::Status;

/// For callers of Directory and Mailbox.
pub fn status(error: StoreError) -> Status {
    let text = error.to_string();
    match error {
        StoreError::NotFound(_) => Status::not_found(text),
        StoreError::Exists(_) => Status::already_exists(text),
        StoreError::Invalid(_) => Status::invalid_argument(text),
        StoreError::Stale(_) => Status::aborted(text),
        StoreError::OverQuota { .. } => Status::resource_exhausted(text),
        StoreError::Unavailable(_) => {
            tracing::error!(error = %text, "storage");
            Status::unavailable(text)
        }
        StoreError::Damaged(_) => {
            tracing::error!(error = %text, "storage");
            Status::data_loss(text)
        }
    }
}
