//! One file per command, with what happens when its answer comes.

mod auth;
mod capa;
mod dele;
mod list;
mod quit;
mod retr;
mod rset;
mod stat;
mod stls;
mod uidl;
mod user;
mod utf8;
