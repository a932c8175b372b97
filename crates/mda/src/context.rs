//! What all parts of the service share.

use std::path::PathBuf;
use std::sync::Arc;

use postroad_config::{FullMailbox, Mda};
use postroad_service::{Clock, Drain, Node, TraceLog};
use postroad_store::StoreError;
use postroad_store::directory::DirectoryStore;
use postroad_store::mailbox::MailboxStore;
use postroad_store::spool::Micros;

use crate::directory::passwords::Passwords;
use crate::directory::throttle::Throttle;

pub struct Context {
    pub config: Mda,
    /// Large messages on their way from the queue lie here; emptied at the start.
    pub intake_dir: PathBuf,
    pub directory: Arc<dyn DirectoryStore>,
    pub mailboxes: Arc<dyn MailboxStore>,
    pub passwords: Passwords,
    pub throttle: Throttle,
    pub clock: Arc<dyn Clock>,
    pub trace: TraceLog,
    pub drain: Drain,
}

impl Context {
    pub fn new(
        node: &Node,
        directory: Arc<dyn DirectoryStore>,
        mailboxes: Arc<dyn MailboxStore>,
    ) -> Result<Context, StoreError> {
        let state_dir = &node.config.node.state_dir;
        let intake_dir = state_dir.join("intake");
        crate::intake::prepare(&intake_dir)?;
        let config = node.config.mda.clone();
        Ok(Context {
            passwords: Passwords::new(config.password_checks_max, &state_dir.join("login-secret"))?,
            throttle: Throttle::default(),
            intake_dir,
            directory,
            mailboxes,
            clock: node.clock.clone(),
            trace: node.trace.clone(),
            drain: node.drain.clone(),
            config,
        })
    }

    /// Microseconds since 1970.
    pub fn now(&self) -> Micros {
        let since = self.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// The bound that holds for an account: its own, or the configuration's; 0: none.
    pub fn quota(&self, own_octets: u64) -> u64 {
        if own_octets == 0 { self.config.quota } else { own_octets }
    }

    /// Whether mail for a full mailbox is put off rather than refused.
    pub fn defers_when_full(&self) -> bool {
        self.config.full_mailbox == FullMailbox::Defer
    }
}
