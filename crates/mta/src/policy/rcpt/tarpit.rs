//! Who tries many recipients that do not exist waits longer and longer for each answer.

use std::time::Duration;

use postroad_config::Policy as Settings;

use crate::policy::verdict::{Finding, Verdict};

const CHECK: &str = "tarpit";

/// `refused`: recipients that were refused in the session, this one included.
pub(super) fn check(settings: &Settings, refused: u32) -> Finding {
    let beyond = refused.saturating_sub(settings.tarpit_after);
    if settings.tarpit_after == 0 || beyond == 0 || settings.tarpit_delay.is_zero() {
        return Finding::clean(CHECK);
    }
    let delay: Duration = settings.tarpit_delay.saturating_mul(beyond).min(settings.tarpit_max);
    let reason = format!("{refused} recipients were refused: {} ms", delay.as_millis());
    Finding { check: CHECK, verdict: Verdict::Delay(delay), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_is_bounded() {
        let settings = Settings::default();
        let delays: Vec<u64> = [0, 3, 4, 5, 13, 14, u32::MAX]
            .map(|refused| match check(&settings, refused).verdict {
                Verdict::Delay(delay) => delay.as_secs(),
                _ => 0,
            })
            .to_vec();
        assert_eq!(delays, [0, 0, 1, 2, 10, 10, 10]);
        let off = Settings { tarpit_after: 0, ..settings };
        assert_eq!(check(&off, 100).verdict, Verdict::Pass);
    }
}
