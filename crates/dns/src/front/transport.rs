//! The ways that a request comes.

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
    /// By another's listener, which takes one response of any length.
    Whole,
}

impl Transport {
    /// All of them, as they are counted.
    pub const ALL: [Transport; 6] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic, Transport::Whole];

    /// `udp`, `tcp`, `tls`, `https`, `quic`, `other`.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
            Transport::Whole => "other",
        }
    }

    /// Nobody on the way reads along.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Https | Transport::Quic)
    }

    /// It is a connection of our own: responses may have any length.
    pub fn is_connection(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls | Transport::Https | Transport::Quic)
    }

    /// A response may be more than one message.
    pub fn takes_streams(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls | Transport::Quic)
    }
}
