//! The thread that makes Maildirs and indexes durable and gives segments free.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use postroad_store::StoreError;

use super::{Segment, Shared, State};
use crate::maildir::sync_dir;

/// Files that are kept to be overwritten.
const FREE_MAX: usize = 3;
/// After a failure the disk is left alone for so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

impl Shared {
    /// Until the journal is dropped.
    pub(super) fn run(&self) {
        let mut state = self.state();
        loop {
            self.seal_what_is_old(&mut state);
            let ready = state.released_later.iter().take_while(|segment| !segment.is_held()).count();
            // In order: what a later record takes back must not outlive an earlier one.
            let segments: Vec<Arc<Segment>> = state.released_later.get(..ready).unwrap_or_default().to_vec();
            if state.abandoned && state.stopping {
                return;
            }
            if segments.is_empty() {
                if state.stopping && (state.active.is_none() || state.busy) {
                    return;
                }
                state = self.wait(state, self.options.release_after);
                continue;
            }
            drop(state);
            let paths = segments.iter().map(|segment| segment.path().to_owned()).collect();
            let released = self.release_files(paths);
            state = self.state();
            match released {
                Ok(()) => {
                    state.released_later.drain(..ready);
                    state.failing = None;
                    self.turned.notify_all();
                }
                Err(error) => {
                    tracing::error!(%error, "mailboxes can't be made durable; the journal is kept");
                    state.failing = Some(error);
                    self.turned.notify_all();
                    if state.stopping {
                        return;
                    }
                    state = self.wait(state, PAUSE_AFTER_FAILURE);
                }
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.sealed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn seal_what_is_old(&self, state: &mut State) {
        let old = |since: std::time::Instant| since.elapsed() >= self.options.release_after;
        if !state.busy
            && (state.stopping || state.active.as_ref().is_some_and(|active| old(active.since)))
            && let Some(active) = state.active.take()
        {
            self.seal(state, active);
        }
    }

    /// Makes everything on the file system durable, then takes these files out of the journal.
    pub(super) fn release_files(&self, paths: Vec<PathBuf>) -> Result<(), StoreError> {
        if paths.is_empty() {
            return Ok(());
        }
        nix::unistd::syncfs(&self.on_file_system)
            .map_err(|e| StoreError::io("flushing the mailboxes' file system", &e.into()))?;
        let mut free = Vec::new();
        for path in paths {
            let failed = |e| StoreError::io(format_args!("releasing {}", path.display()), &e);
            if self.state().free.len() + free.len() >= FREE_MAX {
                fs::remove_file(&path).map_err(failed)?;
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().replace("journal-", "free-");
            let renamed = path.with_file_name(name);
            fs::rename(&path, &renamed).map_err(failed)?;
            free.push(renamed);
        }
        sync_dir(&self.dir)?;
        self.state().free.extend(free);
        Ok(())
    }
}
