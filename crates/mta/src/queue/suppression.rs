//! Bounces that would only repeat themselves: a program that sends to a dead address every minute hears of it a few
//! times an hour, not sixty times.

use std::collections::HashMap;
use std::time::Duration;

use postroad_types::{Address, limits};
use tokio::time::Instant;

/// How often which sender was told about which recipient in the running hour.
#[derive(Debug, Default)]
pub struct Suppression {
    told: HashMap<(Address, Address), Told>,
}

#[derive(Debug)]
struct Told {
    since: Instant,
    times: u32,
}

impl Suppression {
    /// Whether a sender is to hear once more that this recipient failed; counts it if so.
    pub fn allows(&mut self, sender: &Address, recipient: &Address, now: Instant) -> bool {
        let window = Duration::from_secs(limits::BOUNCES_REPEATED_SECONDS);
        if self.told.len() >= limits::BOUNCES_REMEMBERED_MAX {
            self.told.retain(|_, told| now < told.since + window);
        }
        if self.told.len() >= limits::BOUNCES_REMEMBERED_MAX {
            // Rather one bounce too many than none.
            return true;
        }
        let told = self
            .told
            .entry((sender.clone(), recipient.clone()))
            .or_insert_with(|| Told { since: now, times: 0 });
        if now >= told.since + window {
            *told = Told { since: now, times: 0 };
        }
        told.times += 1;
        told.times <= limits::BOUNCES_REPEATED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_bounce_is_heard_a_few_times_an_hour() {
        let mut suppression = Suppression::default();
        let (ann, bob, cat): (Address, Address, Address) =
            ("ann@a".parse().unwrap(), "bob@b".parse().unwrap(), "cat@b".parse().unwrap());
        let heard = (0..60).filter(|_| suppression.allows(&ann, &bob, Instant::now())).count();
        assert_eq!(heard, limits::BOUNCES_REPEATED_MAX as usize);
        assert!(suppression.allows(&ann, &cat, Instant::now()), "another recipient");
        assert!(suppression.allows(&cat, &bob, Instant::now()), "another sender");
        tokio::time::advance(Duration::from_secs(limits::BOUNCES_REPEATED_SECONDS)).await;
        assert!(suppression.allows(&ann, &bob, Instant::now()), "another hour");
    }
}
