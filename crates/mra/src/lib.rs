//! MRA: IMAP and POP3 access to mailboxes.
//!
//! ```text
//!  mail program ──► serve ──► imap │ pop3 ──► login ─────► mda: Directory
//!                  (ports,   (a session over  mailbox ───► mda: Mailbox
//!                   TLS)      a pure machine)
//! ```
//!
//! This service faces the Internet with parsers and holds nothing: no mailbox, no password, no state that
//! outlives a connection. Any number of replicas serve any user.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod conn;
mod context;
mod idle;
mod imap;
pub mod login;
pub mod mailbox;
mod pop3;
mod serve;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use context::Context;
use postroad_rpc::Server;
use postroad_service::{Node, StartError};
use postroad_types::Role;

/// Runs the service until its drain has finished.
///
/// When the drain begins, clients are told good bye in their protocol's words as soon as no reply is half
/// written; who has not gone after the grace is cut.
pub async fn run(node: Node) -> Result<(), StartError> {
    let channel = node.required_channel(Role::Mda);
    let context = Arc::new(Context {
        host: node.name().to_owned(),
        config: node.config.mra.clone(),
        tls: node.client_tls()?,
        logins: Arc::new(login::GrpcDirectory::new(channel.clone())),
        mailbox: Arc::new(mailbox::GrpcMailbox::new(channel)),
        traces: node.trace.clone(),
        clock: node.clock.clone(),
        drain: node.drain.clone(),
    });
    let ports = serve::Port::bind_all(&node)?;
    node.serve_rpc(Server::new(Role::Mra))?;
    node.serve_admin()?;
    node.drain.spawn(serve::serve(ports, context));
    let cut = node.finish().await;
    if cut > 0 {
        tracing::info!(cut, "sessions that did not end within the grace were cut");
    }
    Ok(())
}
