//! Status responses and their codes (RFC 3501 §7.1, RFC 5530).

use super::write::text;
use crate::flag::Flags;
use crate::sequence::Compact;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Ok,
    No,
    Bad,
    Bye,
}

/// Condition, code and text of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub condition: Condition,
    pub code: Option<Code>,
    /// For people; one line.
    pub text: String,
}

/// What stands in brackets, for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    AlreadyExists,
    AppendUid {
        uid_validity: u32,
        uid: u32,
    },
    AuthenticationFailed,
    BadCharset,
    Cannot,
    Capability(String),
    /// The mailbox that was selected before is no more (RFC 7162 §3.2.11).
    Closed,
    /// Same length, same order; sources rise.
    CopyUid {
        uid_validity: u32,
        sources: Vec<u32>,
        targets: Vec<u32>,
    },
    ExpungeIssued,
    HighestModSeq(u64),
    Limit,
    /// Uids or message numbers that STORE left as they are, rising.
    Modified(Vec<u32>),
    NoModSeq,
    NonExistent,
    OverQuota,
    /// The flags that can be stored, and whether new keywords can be made.
    PermanentFlags {
        flags: Flags,
        keywords: bool,
    },
    PrivacyRequired,
    ReadOnly,
    ReadWrite,
    ServerBug,
    TooBig,
    TryCreate,
    UidNext(u32),
    UidValidity(u32),
    Unavailable,
    /// The number of the first message without `\Seen`.
    Unseen(u32),
    /// RFC 6154 §3: the special use cannot be given.
    UseAttr,
}

impl Status {
    pub fn ok(text: impl Into<String>) -> Self {
        Status { condition: Condition::Ok, code: None, text: text.into() }
    }

    pub fn no(text: impl Into<String>) -> Self {
        Status { condition: Condition::No, code: None, text: text.into() }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Status { condition: Condition::Bad, code: None, text: text.into() }
    }

    pub fn bye(text: impl Into<String>) -> Self {
        Status { condition: Condition::Bye, code: None, text: text.into() }
    }

    pub fn with(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    pub fn is_ok(&self) -> bool {
        self.condition == Condition::Ok
    }

    pub(crate) fn write_to(&self, out: &mut Vec<u8>, tag: &[u8]) {
        out.extend_from_slice(tag);
        out.extend_from_slice(match self.condition {
            Condition::Ok => b" OK ",
            Condition::No => b" NO ",
            Condition::Bad => b" BAD ",
            Condition::Bye => b" BYE ",
        });
        if let Some(code) = &self.code {
            out.push(b'[');
            code.write_to(out);
            out.extend_from_slice(b"] ");
        }
        // resp-text is one line of characters without controls, and never empty.
        let start = out.len();
        out.extend(self.text.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
        if out.len() == start {
            out.extend_from_slice(b"done");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Code {
    fn write_to(&self, out: &mut Vec<u8>) {
        let word = match self {
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AppendUid { uid_validity, uid } => {
                return text(out, format_args!("APPENDUID {uid_validity} {uid}"));
            }
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::BadCharset => "BADCHARSET (UTF-8 US-ASCII)",
            Code::Cannot => "CANNOT",
            Code::Capability(capabilities) => return text(out, format_args!("CAPABILITY {capabilities}")),
            Code::Closed => "CLOSED",
            Code::CopyUid { uid_validity, sources, targets } => {
                let (sources, targets) = (Compact(sources), Compact(targets));
                return text(out, format_args!("COPYUID {uid_validity} {sources} {targets}"));
            }
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::HighestModSeq(mod_seq) => return text(out, format_args!("HIGHESTMODSEQ {mod_seq}")),
            Code::Limit => "LIMIT",
            Code::Modified(set) => return text(out, format_args!("MODIFIED {}", Compact(set))),
            Code::NoModSeq => "NOMODSEQ",
            Code::NonExistent => "NONEXISTENT",
            Code::OverQuota => "OVERQUOTA",
            Code::PermanentFlags { flags, keywords } => {
                out.extend_from_slice(b"PERMANENTFLAGS (");
                let mut space = "";
                for name in flags.names().chain(keywords.then_some("\\*")) {
                    text(out, format_args!("{space}{name}"));
                    space = " ";
                }
                return out.push(b')');
            }
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::ServerBug => "SERVERBUG",
            Code::TooBig => "TOOBIG",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(uid) => return text(out, format_args!("UIDNEXT {uid}")),
            Code::UidValidity(uid_validity) => return text(out, format_args!("UIDVALIDITY {uid_validity}")),
            Code::Unavailable => "UNAVAILABLE",
            Code::Unseen(number) => return text(out, format_args!("UNSEEN {number}")),
            Code::UseAttr => "USEATTR",
        };
        out.extend_from_slice(word.as_bytes());
    }
}
