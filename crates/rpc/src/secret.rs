//! Debug of the messages that carry a password or what proves one: everything but that.

use std::fmt;

use crate::v1;

/// Stands for octets that must not be shown.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Debug for v1::PutAccountRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutAccountRequest")
            .field("address", &self.address)
            .field("password", &self.password.as_ref().map(|_| Hidden))
            .field("quota_octets", &self.quota_octets)
            .field("enabled", &self.enabled)
            .finish()
    }
}

impl fmt::Debug for v1::AuthenticateStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateStart")
            .field("mechanism", &self.mechanism)
            .field("initial", &self.initial.as_ref().map(|_| Hidden))
            .field("service", &self.service)
            .field("remote_ip", &self.remote_ip)
            .field("channel_binding", &Hidden)
            .finish()
    }
}

impl fmt::Debug for v1::AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateRequest").field("step", &self.step).finish()
    }
}

impl fmt::Debug for v1::authenticate_request::Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => f.debug_tuple("Start").field(start).finish(),
            Self::Response(_) => f.debug_tuple("Response").field(&Hidden).finish(),
        }
    }
}

impl fmt::Debug for v1::AuthenticateReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateReply").field("step", &self.step).finish()
    }
}

impl fmt::Debug for v1::authenticate_reply::Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge(_) => f.debug_tuple("Challenge").field(&Hidden).finish(),
            Self::Success(success) => f.debug_tuple("Success").field(success).finish(),
            Self::Failure(failure) => f.debug_tuple("Failure").field(failure).finish(),
        }
    }
}

impl fmt::Debug for v1::AuthenticateSuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateSuccess")
            .field("account_id", &self.account_id)
            .field("address", &self.address)
            .field("server_data", &Hidden)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_in_any_debug_output() {
        let secret = "correct horse battery staple";
        let start = v1::AuthenticateStart {
            mechanism: "PLAIN".to_owned(),
            initial: Some(format!("\0bob\0{secret}").into()),
            ..Default::default()
        };
        let shown = [
            format!(
                "{:?}",
                v1::PutAccountRequest { password: Some(secret.to_owned()), ..Default::default() }
            ),
            format!(
                "{:?}",
                v1::AuthenticateRequest { step: Some(v1::authenticate_request::Step::Start(start)) }
            ),
            format!("{:?}", v1::authenticate_request::Step::Response(secret.into())),
        ];
        for text in shown {
            assert!(text.contains("hidden") && !text.contains("horse"), "{text}");
        }
    }
}
