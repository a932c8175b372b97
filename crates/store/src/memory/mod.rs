//! Implementations in memory, for tests of the roles: the contract without the disk.

pub mod directory;
pub mod mailbox;
pub mod spool;

pub use directory::MemoryDirectory;
pub use mailbox::MemoryMailboxes;
pub use spool::MemorySpool;
