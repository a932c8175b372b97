//! Stopping in two steps: new work is refused and what runs may finish; after the grace it is cut.
//!
//! A connection's task learns of the first step by [`Drain::stopping`] and ends its session in its
//! protocol's way (421, `* BYE`). The second step drops the task where it is: nothing that was promised may
//! depend on what stands behind an `await` of it.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// The stop of a role; clones are one and the same.
#[derive(Clone, Debug)]
pub struct Drain {
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
    grace: Duration,
}

impl Drain {
    /// `grace`: between the first step and the second.
    pub fn new(grace: Duration) -> Self {
        Drain {
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            grace,
        }
    }

    /// A role's part of a whole process: it stops with the whole, and waits for its own tasks only.
    #[must_use]
    pub fn part(&self) -> Drain {
        Drain {
            stop: self.stop.child_token(),
            cut: self.cut.child_token(),
            tasks: TaskTracker::new(),
            grace: self.grace,
        }
    }

    /// Begins the first step.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Begins the second step at once.
    pub fn cut(&self) {
        self.stop.cancel();
        self.cut.cancel();
    }

    /// Waits for the first step.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// The first step as a token, for what takes one.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Runs a task that the stop waits for, and that the second step drops.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = cut.cancelled() => {}
            }
        })
    }

    /// How many tasks run.
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Waits for the first step, then for the tasks, at most for the grace; then cuts what is left.
    /// Returns how many were cut.
    pub async fn finish(&self) -> usize {
        self.stop.cancelled().await;
        self.tasks.close();
        let cut_early = self.cut.cancelled();
        let left = tokio::select! {
            finished = tokio::time::timeout(self.grace, self.tasks.wait()) => match finished {
                Ok(()) => 0,
                Err(_) => self.tasks.len(),
            },
            () = cut_early => self.tasks.len(),
        };
        self.cut.cancel();
        self.tasks.wait().await;
        left
    }

    /// Stops on SIGTERM or SIGINT, and cuts on a second one.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let drain = self.clone();
        tokio::spawn(async move {
            for step in [Drain::stop, Drain::cut] {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "stopping; a second signal cuts what is left");
                step(&drain);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_ends_in_time_is_waited_for_and_the_rest_is_cut() {
        let drain = Drain::new(Duration::from_millis(50));
        let (said, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let polite = drain.clone();
        drain.spawn(async move {
            polite.stopping().await;
            said.send("bye").unwrap();
        });
        drain.spawn(std::future::pending());
        assert_eq!(drain.running(), 2);
        drain.stop();
        assert_eq!(drain.finish().await, 1);
        assert_eq!(hears.recv().await, Some("bye"));
        assert_eq!(drain.running(), 0);
    }

    #[tokio::test]
    async fn a_part_stops_with_the_whole_but_not_the_whole_with_a_part() {
        let whole = Drain::new(Duration::ZERO);
        let part = whole.part();
        part.stop();
        assert!(!whole.is_stopping());
        let other = whole.part();
        whole.stop();
        assert!(other.is_stopping());
        assert_eq!(other.finish().await, 0);
    }
}
