//! Replies (RFC 1939 §3) and their codes (RFC 2449 §8, RFC 3206).

use std::fmt::Display;

/// Tells programs what a text tells people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The credentials are wrong: ask the person for them.
    Auth,
    /// The same may work later.
    SysTemp,
    /// It will not work until somebody mends it.
    SysPerm,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Code::Auth => "[AUTH] ",
            Code::SysTemp => "[SYS/TEMP] ",
            Code::SysPerm => "[SYS/PERM] ",
        }
    }
}

pub(crate) fn ok(text: impl Display) -> String {
    format!("+OK {text}\r\n")
}

pub(crate) fn err(text: impl Display) -> String {
    format!("-ERR {text}\r\n")
}

pub(crate) fn err_code(code: Code, text: impl Display) -> String {
    format!("-ERR {}{text}\r\n", code.text())
}
