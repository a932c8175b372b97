//! EDNS options that a response carries (RFC 6891 §6.1.2), at the end of the message.

/// Octets of a whole COOKIE option with a client's and a server's cookie.
pub const COOKIE_OPTION_OCTETS: usize = 4 + COOKIE_OCTETS;
/// Octets of both cookies (RFC 9018 §4: the server's has 16).
pub const COOKIE_OCTETS: usize = 24;

/// Option codes, IANA's registry.
pub mod code {
    pub const NSID: u16 = 3;
    pub const COOKIE: u16 = 10;
    pub const TCP_KEEPALIVE: u16 = 11;
    pub const PADDING: u16 = 12;
    pub const EXTENDED_ERROR: u16 = 15;
}

/// Extended errors (RFC 8914 §4).
pub mod extended {
    pub const UNSUPPORTED_ALGORITHM: u16 = 1;
    pub const UNSUPPORTED_DIGEST: u16 = 2;
    pub const STALE_ANSWER: u16 = 3;
    pub const INDETERMINATE: u16 = 5;
    pub const BOGUS: u16 = 6;
    pub const SIGNATURE_EXPIRED: u16 = 7;
    pub const SIGNATURE_EARLY: u16 = 8;
    pub const DNSKEY_MISSING: u16 = 9;
    pub const RRSIGS_MISSING: u16 = 10;
    pub const NO_ZONE_KEY: u16 = 11;
    pub const NSEC_MISSING: u16 = 12;
    pub const BLOCKED: u16 = 15;
    pub const PROHIBITED: u16 = 18;
    pub const STALE_NXDOMAIN: u16 = 19;
    pub const NOT_AUTHORITATIVE: u16 = 20;
    pub const NOT_SUPPORTED: u16 = 21;
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    pub const UNSUPPORTED_ITERATIONS: u16 = 27;
}

/// What the asker is told beside the answer; only askers with EDNS are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplyOptions<'a> {
    /// The server's name for itself (RFC 5001).
    pub nsid: Option<&'a [u8]>,
    /// How long a connection may be idle, in units of 100 ms (RFC 7828).
    pub keepalive: Option<u16>,
    /// The message is made longer (RFC 7830).
    pub padding: Option<Padding>,
    /// The client's and the server's cookie (RFC 7873). Stands last, so that it can be cut off.
    pub cookie: Option<[u8; COOKIE_OCTETS]>,
}

/// How long a message is made, so that its length tells less of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// To a multiple of so many octets, if the asker takes so many.
    pub block: u16,
    /// Octets of a signature that is still to come behind the message.
    pub signature: usize,
}

impl Padding {
    /// Octets of padding for a message of `octets` with everything but them.
    pub(super) fn octets(self, octets: usize) -> usize {
        let whole = octets + self.signature;
        whole.next_multiple_of(usize::from(self.block.max(1))) - whole
    }
}

impl ReplyOptions<'_> {
    /// Octets of all options, of padding only what it takes at least.
    pub fn octets(&self) -> usize {
        self.nsid.map_or(0, |nsid| 4 + nsid.len())
            + self.keepalive.map_or(0, |_| 6)
            + self.padding.map_or(0, |_| 4)
            + self.cookie.map_or(0, |_| COOKIE_OPTION_OCTETS)
    }

    /// Appends the options, with the extended error before them if there is one, and `padding` octets of nothing.
    pub(super) fn write(&self, extended_error: Option<u16>, padding: usize, buffer: &mut Vec<u8>) {
        if let Some(info) = extended_error {
            push(buffer, code::EXTENDED_ERROR, &info.to_be_bytes());
        }
        if let Some(nsid) = self.nsid {
            push(buffer, code::NSID, nsid);
        }
        if let Some(keepalive) = self.keepalive {
            push(buffer, code::TCP_KEEPALIVE, &keepalive.to_be_bytes());
        }
        if self.padding.is_some() {
            buffer.extend_from_slice(&code::PADDING.to_be_bytes());
            buffer.extend_from_slice(&(padding as u16).to_be_bytes());
            buffer.resize(buffer.len() + padding, 0);
        }
        if let Some(cookie) = &self.cookie {
            push(buffer, code::COOKIE, cookie);
        }
    }
}

fn push(buffer: &mut Vec<u8>, code: u16, data: &[u8]) {
    buffer.extend_from_slice(&code.to_be_bytes());
    buffer.extend_from_slice(&(data.len() as u16).to_be_bytes());
    buffer.extend_from_slice(data);
}
