//! What an operator may set of the embedded spool.

/// Octets of a segment unless set otherwise.
pub const SEGMENT_OCTETS: u64 = 64 * 1024 * 1024;
/// Octets of mail that the queue holds unless set otherwise.
pub const SPOOL_OCTETS_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Recipients that the queue holds unless set otherwise: each takes up to a KiB of memory.
pub const SPOOL_RECIPIENTS_MAX: u64 = 2_000_000;
/// Octets of bodies that are kept in memory for the attempt that follows their arrival, unless set otherwise.
pub const CACHE_OCTETS: usize = 32 * 1024 * 1024;

/// How large the spool and its files may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Size of a segment file; between 64 KiB and 1 GiB, else the nearest of these.
    pub segment_octets: u64,
    /// Octets of queued mail; new mail beyond is refused for a while (452). The files take up to twice as
    /// much and three segments, for what was delivered is given back in whole segments.
    pub max_octets: u64,
    /// Recipients that are not done yet; new mail beyond is refused for a while, so that a flood ends in 452 and not in
    /// a lack of memory.
    pub max_recipients: u64,
    /// Octets of memory for bodies that arrived just now.
    pub cache_octets: usize,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        SpoolSettings {
            segment_octets: SEGMENT_OCTETS,
            max_octets: SPOOL_OCTETS_MAX,
            max_recipients: SPOOL_RECIPIENTS_MAX,
            cache_octets: CACHE_OCTETS,
        }
    }
}

impl SpoolSettings {
    pub(super) fn bounded(mut self) -> Self {
        self.segment_octets = self.segment_octets.clamp(64 * 1024, 1 << 30);
        self
    }
}
