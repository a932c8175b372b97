//! The last lines of a dialogue, so that people can read why a mail was not delivered.

use std::collections::VecDeque;

use postroad_types::limits;

/// Commands and replies, the last [`limits::SMTP_DIALOGUE_LINES_MAX`]; without bodies and without what AUTH sends.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    lines: VecDeque<String>,
}

impl Dialogue {
    /// `C: …`, `S: …`.
    pub(super) fn add(&mut self, line: String) {
        if self.lines.len() == limits::SMTP_DIALOGUE_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }
}
