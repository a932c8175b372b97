//! Zones on their way from server to server.
//!
//! | module | what |
//! | --- | --- |
//! | `access` | who may have which zone |
//! | `follow`, `schedule` | a zone that is had from its primaries, and when it is asked for |
//! | [`incoming`] | what the messages of another server's transfer bring |
//! | `notify` | tells other servers that a zone has changed |
//! | `outgoing` | a zone, or what has changed in it, as a stream of records (AXFR, IXFR) |
//! | [`told`] | what other servers said when they were told |
//! | `peer` | another server, over TCP and UDP |
//!
//! A transfer is of one version of a zone: it holds the zone as it was when it was asked for, and a reload meanwhile
//! does no harm.

mod access;
mod follow;
pub mod incoming;
mod notify;
mod outgoing;
mod peer;
mod schedule;
pub mod told;

pub use access::{Access, Rule};
pub use follow::{Follower, Followers, Poke};
pub use notify::Notifier;
pub use outgoing::{Filled, Kind, Outgoing};
pub use peer::{FetchError, Have, Peer, source_for};
