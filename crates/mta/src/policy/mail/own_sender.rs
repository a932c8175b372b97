//! A sender in a domain of ours, from a host that is none of ours: a forgery, or a service that should log in.

use postroad_config::CheckAction;
use postroad_types::{Address, TraceId};

use crate::directory::CachedDirectory;
use crate::policy::verdict::Finding;

const CHECK: &str = "own-sender";

/// For clients that have not logged in and may not relay.
pub(super) async fn check(
    action: CheckAction,
    sender: &Address,
    directory: &CachedDirectory,
    trace: TraceId,
) -> Finding {
    if action == CheckAction::Off {
        return Finding::clean(CHECK);
    }
    match directory.is_ours(sender, trace).await {
        Ok(false) => Finding::clean(CHECK),
        Ok(true) => {
            let reason = format!("{} sends only after a login, on the submission port", sender.host);
            Finding::by(action, CHECK, (5, 7, 1), reason)
        }
        // Without the directory no recipient is taken either: that is where the client is put off.
        Err(error) => Finding::pass(CHECK, format!("not known: {error}")),
    }
}
