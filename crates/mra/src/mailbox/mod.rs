//! An account's folders and messages, as the sessions see them: a typed client of the Mailbox service.
//!
//! The sessions (imap, pop3) know only [`MailboxClient`] and the words in [`model`]; [`grpc`] speaks to mda.
//! Bodies are streamed in chunks both ways, so that no message is ever whole in memory, and a session that
//! goes away drops its stream, which ends the call at mda.
//!
//! What a call did is seen by every call that starts after its answer (a session reads its own writes), on
//! whichever replica of mda it lands.

pub mod client;
mod convert;
pub mod grpc;
#[cfg(test)]
mod grpc_tests;
pub mod model;

pub use client::{Body, FetchStream, MailboxClient, OpenFolder, WatchStream};
pub use grpc::GrpcMailbox;
pub use model::{
    AppendMessage, Appended, Change, Changes, Copied, Expunged, FetchItem, FetchRequest, FlagChange,
    FlagMode, FlagsStored, Folder, FolderNumbers, Found, MailboxError, MessageInfo, Part, Quota, SearchKey,
    UidRange,
};
