//! SASL as POP3 carries it (RFC 5034): base64 on the wire, octets to the directory, which alone knows what
//! they mean.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the directory can check. All of them are offered over TLS only, PLAIN and LOGIN because they carry
/// the password, SCRAM because what it shows to a listener can be guessed against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    ScramSha256,
    Plain,
    Login,
}

impl Mechanism {
    /// The stronger first: clients take the first they know.
    pub const ALL: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Mechanism::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }
}

/// Octets of a SASL message. They may hold a password: Debug shows their number only.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslMessage(pub Vec<u8>);

impl fmt::Debug for SaslMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaslMessage({} octets)", self.0.len())
    }
}

impl SaslMessage {
    /// The message of PLAIN (RFC 4616) that USER and PASS say together.
    pub(crate) fn plain(user: &str, password: &str) -> Self {
        SaslMessage(format!("\0{user}\0{password}").into_bytes())
    }

    /// A line of an exchange. `=` is the empty initial response (RFC 5034 §4).
    pub(crate) fn decode(base64: &str) -> Option<Self> {
        if base64 == "=" {
            return Some(SaslMessage(Vec::new()));
        }
        STANDARD.decode(base64).ok().map(SaslMessage)
    }

    pub(crate) fn encode(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

/// The directory's word in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslAnswer {
    Challenge(SaslMessage),
    Success {
        /// A last word to the client, which proves that the server knows the password too (SCRAM).
        server_data: Option<SaslMessage>,
    },
    Refused(Refusal),
}

/// Why a login failed, as far as the client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong password, unknown user, disabled account: one answer for all.
    Credentials,
    MechanismUnknown,
    /// The client's message does not follow the mechanism.
    Protocol,
    /// The directory does not answer.
    Temporary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(SaslMessage::decode("AGIAcA=="), Some(SaslMessage::plain("b", "p")));
        assert_eq!(SaslMessage::decode(""), Some(SaslMessage(Vec::new())));
        assert_eq!(SaslMessage::decode("="), Some(SaslMessage(Vec::new())));
        for text in ["AGIAcA", "AGIAcA=", "A GIAcA==", "*", "AGIAcA==="] {
            assert_eq!(SaslMessage::decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{:?}", SaslMessage::plain("bob", "secret")), "SaslMessage(11 octets)");
    }
}
