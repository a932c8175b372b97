//! What goes wrong in a service, as its callers must tell it apart: the gRPC codes that the contracts name.

use std::fmt;

use tonic::{Code, Status};

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// There is no such thing.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The request cannot be right, now or later.
    Invalid,
    /// The request would be right in another state: a domain that still has accounts.
    Precondition,
    /// A bound is reached: quota, too many at a time.
    Exhausted,
    /// What the request was based on has changed: begin again.
    Stale,
    /// The caller may not do that.
    Denied,
    /// Nothing is known of what became of it, or it could not be done now: repeat it.
    Unavailable,
    /// It took too long; nothing is known of what became of it.
    Deadline,
    /// A fault of the service's own; repeating will not help.
    Internal,
}

impl FaultKind {
    fn code(self) -> Code {
        match self {
            FaultKind::NotFound => Code::NotFound,
            FaultKind::AlreadyExists => Code::AlreadyExists,
            FaultKind::Invalid => Code::InvalidArgument,
            FaultKind::Precondition => Code::FailedPrecondition,
            FaultKind::Exhausted => Code::ResourceExhausted,
            FaultKind::Stale => Code::Aborted,
            FaultKind::Denied => Code::PermissionDenied,
            FaultKind::Unavailable => Code::Unavailable,
            FaultKind::Deadline => Code::DeadlineExceeded,
            FaultKind::Internal => Code::Internal,
        }
    }

    fn of(code: Code) -> FaultKind {
        match code {
            Code::NotFound => FaultKind::NotFound,
            Code::AlreadyExists => FaultKind::AlreadyExists,
            Code::InvalidArgument | Code::OutOfRange => FaultKind::Invalid,
            Code::FailedPrecondition => FaultKind::Precondition,
            Code::ResourceExhausted => FaultKind::Exhausted,
            Code::Aborted => FaultKind::Stale,
            Code::PermissionDenied | Code::Unauthenticated => FaultKind::Denied,
            // A connection that broke in the middle shows as Cancelled or Unknown: the answer is lost, not the call.
            Code::Unavailable | Code::Cancelled | Code::Unknown => FaultKind::Unavailable,
            Code::DeadlineExceeded => FaultKind::Deadline,
            Code::Ok | Code::Internal | Code::Unimplemented | Code::DataLoss => FaultKind::Internal,
        }
    }
}

/// A call's failure: what kind, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl fmt::Display) -> Self {
        Fault { kind, message: message.to_string() }
    }

    /// Whether the same call may succeed later without anybody changing anything else.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Unavailable | FaultKind::Deadline | FaultKind::Stale | FaultKind::Exhausted
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// A status is a header, percent-encoded, and headers are bounded; what is longer is shortened.
const MESSAGE_OCTETS_MAX: usize = 2000;

impl From<Fault> for Status {
    fn from(fault: Fault) -> Status {
        let mut message = fault.message;
        if message.len() > MESSAGE_OCTETS_MAX {
            let end = (0..=MESSAGE_OCTETS_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
            message.truncate(end);
            message.push('…');
        }
        Status::new(fault.kind.code(), message)
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Fault {
        let kind = FaultKind::of(status.code());
        let message =
            if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
        Fault { kind, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        use FaultKind::*;
        let all = [
            NotFound,
            AlreadyExists,
            Invalid,
            Precondition,
            Exhausted,
            Stale,
            Denied,
            Unavailable,
            Deadline,
            Internal,
        ];
        for kind in all {
            let fault = Fault::new(kind, "why");
            assert_eq!(Fault::from(Status::from(fault.clone())), fault);
        }
    }

    #[test]
    fn a_message_too_long_for_a_header_is_shortened_at_a_character() {
        let status = Status::from(Fault::new(FaultKind::Invalid, "ä".repeat(3000)));
        assert!(status.message().len() <= MESSAGE_OCTETS_MAX + 3 && status.message().ends_with("ä…"));
    }

    #[test]
    fn a_lost_answer_may_be_asked_for_again() {
        assert!(Fault::from(Status::cancelled("h2 reset")).is_transient());
        assert!(Fault::from(Status::unknown("transport")).is_transient());
        assert!(!Fault::from(Status::not_found("no such folder")).is_transient());
    }
}
