//! A client that talks before it is greeted (RFC 5321 §3.1: it SHOULD wait) does not listen either: it pours out
//! a prepared dialogue. What it says before the greeting is dropped in any case.

use std::sync::atomic::{AtomicUsize, Ordering};

use postroad_config::CheckAction;

use crate::policy::verdict::Finding;

/// Octets that a client sent before its greeting; counted by the driver while the stage runs.
#[derive(Debug, Default)]
pub struct EarlyTalk(AtomicUsize);

impl EarlyTalk {
    pub fn heard(&self, octets: usize) {
        self.0.fetch_add(octets, Ordering::Relaxed);
    }

    fn octets(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn check(action: CheckAction, early: &EarlyTalk) -> Finding {
    match early.octets() {
        0 => Finding::clean("early-talker"),
        octets => {
            let reason = format!("{octets} octets came before the greeting");
            Finding::by(action, "early-talker", (5, 5, 1), reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_the_setting_says() {
        let quiet = EarlyTalk::default();
        assert_eq!(check(CheckAction::Refuse, &quiet).verdict.name(), "pass");
        quiet.heard(7);
        for (action, verdict) in
            [(CheckAction::Off, "pass"), (CheckAction::Mark, "mark"), (CheckAction::Refuse, "refuse")]
        {
            assert_eq!(check(action, &quiet).verdict.name(), verdict);
        }
    }
}
