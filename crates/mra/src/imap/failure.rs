//! What went wrong at the mailbox, in the client's words.

use postroad_wire_imap::{Code, Status};

use crate::mailbox::MailboxError;

/// The NO that the client gets. What only the operator can mend is logged here, once.
pub(super) fn status(error: MailboxError) -> Status {
    match error {
        MailboxError::NotFound => Status::no("there is no such mailbox").with(Code::NonExistent),
        MailboxError::AlreadyExists => {
            Status::no("there is such a mailbox already").with(Code::AlreadyExists)
        }
        MailboxError::Invalid(why) => Status::no(why).with(Code::Cannot),
        MailboxError::OverQuota => Status::no("the mailbox is over its quota").with(Code::OverQuota),
        MailboxError::UidValidityChanged => Status::no(error.to_string()).with(Code::NonExistent),
        MailboxError::Unavailable(_) => {
            tracing::warn!(%error, "a command failed");
            Status::no("the mailbox does not answer, try again later").with(Code::Unavailable)
        }
        MailboxError::Internal(_) => {
            tracing::error!(%error, "a command failed");
            Status::no("the server is at fault, its operator has been told").with(Code::ServerBug)
        }
    }
}
