//! `STAT` (RFC 1939 §5): two bare numbers, which programs read.

use crate::session::Session;

impl Session {
    pub(crate) fn stat(&mut self) {
        let (count, octets) = (self.maildrop.count(), self.maildrop.octets());
        self.ok(format_args!("{count} {octets}"));
    }
}
