//! The keys that zones are signed with: their lives, when they follow each other, and where they are kept.
//!
//! | module | what |
//! | --- | --- |
//! | [`policy`] | algorithm, lifetimes, delays |
//! | [`state`] | one key's state, as times of what happened to it |
//! | [`roll`] | what happens next, and when (RFC 6781, 7583) |
//! | [`words`] | the same for people |
//! | [`store`] | the folder of a zone's keys |
//!
//! How keys follow each other is decided by a pure function of the policy, the keys, the time and what is seen at the
//! parent: nothing here asks a clock or a server.

pub mod policy;
pub mod roll;
pub mod state;
pub mod store;
pub mod words;

pub use policy::{Denial, Policy};
pub use roll::{DsSeen, Facts, RollError, Seen, Step, step};
pub use state::{KeyState, Role};
pub use store::{Key, KeyStore, StoreError};
