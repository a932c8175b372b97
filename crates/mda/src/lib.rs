//! MDA: who lives here, and their mail.
//!
//! ```text
//!  mta ──Delivery──► intake ──► resolve ──► filter ──► deliver ──► mailbox store ──► watchers (IDLE)
//!  mta, mra ──Directory──► directory (accounts, aliases, SASL exchanges)
//!  mra ──Mailbox──► mailbox
//! ```
//!
//! This service alone holds mailboxes and what proves passwords, and it faces no client of the Internet: only
//! the other services call it, over mTLS, each what it is there for.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod context;
mod deliver;
mod directory;
mod fault;
mod filter;
mod intake;
mod mailbox;
mod resolve;

use std::sync::Arc;

use postroad_rpc::Server;
use postroad_rpc::v1::delivery_server::DeliveryServer;
use postroad_rpc::v1::directory_server::DirectoryServer;
use postroad_rpc::v1::mailbox_server::MailboxServer;
use postroad_service::{Node, StartError};
use postroad_store::StoreError;
use postroad_store_local::directory::SqliteDirectory;
use postroad_store_local::mailbox::{LocalMailboxes, Options};
use postroad_types::Role;

use context::Context;

/// The service cannot start, or its storage can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("storage can't be opened: {0}")]
    Store(#[from] StoreError),
}

/// Runs the service until its drain has finished.
pub async fn run(node: Node) -> Result<(), RunError> {
    let directory = Arc::new(SqliteDirectory::open(&node.config.directory_file())?);
    let mailboxes = LocalMailboxes::open(&node.config.mailbox_dir(), directory.clone(), Options::default())?;
    let context = Arc::new(Context::new(&node, directory, Arc::new(mailboxes.clone()))?);
    serve(&node, context)?;
    node.serve_admin()?;
    let cut = node.finish().await;
    mailboxes.close().await;
    if cut > 0 {
        tracing::info!(cut, "calls that did not end within the grace were cut");
    }
    Ok(())
}

fn serve(node: &Node, context: Arc<Context>) -> Result<(), StartError> {
    let directory = directory::Service::new(context.clone());
    let delivery = deliver::Service::new(context.clone());
    let mailbox = mailbox::Service::new(context);
    let server = Server::new(Role::Mda)
        // Each service says for itself which callers it is there for.
        .add(DirectoryServer::new(directory))
        .add(DeliveryServer::new(delivery))
        .add(MailboxServer::new(mailbox));
    node.serve_rpc(server)?;
    Ok(())
}
