//! What SMTP says about a message outside of the message (RFC 5321 §2.3.1).

/// The BODY parameter of MAIL FROM (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyKind {
    #[default]
    SevenBit,
    EightBitMime,
    BinaryMime,
}

/// What a sender asks for with MAIL beyond delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeOptions {
    /// RET (RFC 3461 §4.3); absent: as we like.
    pub ret: Option<Ret>,
    /// REQUIRETLS (RFC 8689): never without verified TLS, not even as a bounce.
    pub require_tls: bool,
    /// MT-PRIORITY (RFC 6710 §4): -9 to 9, greater is more urgent.
    pub priority: i8,
    /// BY (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
}

/// How much of the message a report of failure gives back (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    Full,
    Headers,
}

/// A time by which a message must have arrived (RFC 2852 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverBy {
    /// Microseconds since 1970-01-01 UTC.
    pub at: i64,
    pub mode: ByMode,
    /// T: the sender wants to hear of hosts that do not know BY.
    pub trace: bool,
}

/// What is done about a message that is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// R: it is given up and returned.
    Return,
    /// N: its sender is told, and it is tried on.
    Notify,
}

/// Which reports a sender wants about a recipient (NOTIFY, RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Notify {
    /// Not said: of failures and delays, as ever.
    #[default]
    Unsaid,
    Never,
    On {
        success: bool,
        failure: bool,
        delay: bool,
    },
}

impl Notify {
    pub fn of_success(self) -> bool {
        matches!(self, Notify::On { success: true, .. })
    }

    pub fn of_failure(self) -> bool {
        matches!(self, Notify::Unsaid | Notify::On { failure: true, .. })
    }

    pub fn of_delay(self) -> bool {
        matches!(self, Notify::Unsaid | Notify::On { delay: true, .. })
    }

    /// What is left when somebody has reported success already (RFC 3461 §5.2.7.2).
    pub fn without_success(self) -> Self {
        match self {
            Notify::On { failure: false, delay: false, .. } => Notify::Never,
            Notify::On { failure, delay, .. } => Notify::On { success: false, failure, delay },
            other => other,
        }
    }
}
