//! Implementations in memory, for tests of the roles: the contract without the disk.

pub mod spool;

pub use spool::MemorySpool;
