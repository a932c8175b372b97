//! Every bound of the protocols in one place, with the RFC that asks for it.
//! What an operator may set (message size, recipients, connections …) has its default in the configuration.

/// RFC 5321 §4.5.3.1.1 asks for 64; longer ones exist (VERP, SRS), so room is left as other servers do.
pub const LOCAL_PART_OCTETS_MAX: usize = 256;
/// RFC 5321 §4.5.3.1.2, RFC 1035 §2.3.4.
pub const DOMAIN_OCTETS_MAX: usize = 253;

/// SMTP command line with CRLF: RFC 5321 §4.5.3.1.4 asks for 512 and more with extensions.
pub const SMTP_COMMAND_OCTETS_MAX: usize = 4096;
/// An AUTH exchange's line: RFC 4954 §4.
pub const SMTP_AUTH_LINE_OCTETS_MAX: usize = 12_288;
/// Reply line that our client reads: RFC 5321 §4.5.3.1.5 asks for 512.
pub const SMTP_REPLY_LINE_OCTETS_MAX: usize = 2048;
/// Lines of one reply that our client reads before it gives up.
pub const SMTP_REPLY_LINES_MAX: usize = 128;
/// Text line of a message with CRLF that is carried as it is; RFC 5321 §4.5.3.1.6 asks for 1000, long
/// lines are common and must not be changed: only the message's size bounds them.
pub const SMTP_TEXT_LINE_SENT_MAX: usize = 998;
/// Replies to wrong commands before the session ends with 421.
pub const SMTP_ERRORS_MAX: u32 = 20;
/// Received headers before a message counts as looping: RFC 5321 §6.3 asks for at least 100.
pub const RECEIVED_HEADERS_MAX: usize = 100;
/// Octets of an SMTP client that wait in memory while a question to policy or directory is open.
pub const SMTP_INPUT_OCTETS_MAX: usize = 64 * 1024;
/// Failed AUTH attempts before the session ends with 421.
pub const SMTP_AUTH_FAILURES_MAX: u32 = 3;
/// Commands between two messages that carry no mail (NOOP, RSET, VRFY, HELP, EHLO …) before 421.
pub const SMTP_IDLE_COMMANDS_MAX: u32 = 100;
/// HELO and EHLO argument that is no domain and no literal, but printable.
pub const SMTP_HELLO_OCTETS_MAX: usize = 255;
/// A body must gain this much within the data block timeout; one octet now and then is no progress.
pub const SMTP_DATA_PROGRESS_OCTETS: u64 = 1024;
/// Octets of an already refused body that are read on, so that the client can hear why (RFC 5321 §4.5.3.1.9).
pub const SMTP_DRAIN_OCTETS_MAX: u64 = 256 * 1024 * 1024;
/// Commands that our client sends ahead of their replies (RFC 2920 §3.1: neither side may fill the other's window).
pub const SMTP_PIPELINE_MAX: usize = 100;

/// IMAP command line without its literals.
pub const IMAP_LINE_OCTETS_MAX: usize = 65_536;
/// An IMAP literal outside APPEND.
pub const IMAP_LITERAL_OCTETS_MAX: usize = 65_536;
/// Nesting of parentheses in IMAP search keys and lists.
pub const IMAP_NESTING_MAX: usize = 32;
/// An IMAP command with all its literals (APPEND's message is not counted: it is streamed).
pub const IMAP_COMMAND_OCTETS_MAX: usize = 262_144;
/// Octets of refused input (an over-long line, a non-synchronising literal that is too big) that are
/// read and thrown away so that the session can go on; beyond, the session ends with BYE.
pub const IMAP_DISCARDED_OCTETS_MAX: u64 = 128 * 1024 * 1024;
/// Wrong commands in a row before the session ends with BYE.
pub const IMAP_ERRORS_MAX: u32 = 20;
/// A session before authentication that says nothing for so long is ended, in seconds.
pub const IMAP_LOGIN_SECONDS_MAX: u64 = 180;
/// Autologout: RFC 3501 §5.4 asks for at least 30 minutes, in seconds.
pub const IMAP_AUTOLOGOUT_SECONDS: u64 = 30 * 60;
/// Keywords that one message may have.
pub const IMAP_KEYWORDS_MAX: usize = 128;
/// A keyword's name in octets.
pub const IMAP_KEYWORD_OCTETS_MAX: usize = 64;
/// POP3 command line: RFC 2449 §4 asks for 255; AUTH lines need more.
pub const POP3_LINE_OCTETS_MAX: usize = 12_288;

/// Nesting of MIME parts that is looked into; deeper ones are opaque.
pub const MIME_NESTING_MAX: usize = 32;
/// MIME parts that are told apart in one message.
pub const MIME_PARTS_MAX: usize = 10_000;
/// Octets of one part's header that are looked into for its structure; the rest is carried unread.
pub const MIME_HEADER_OCTETS_MAX: usize = 256 * 1024;
/// A multipart's boundary: RFC 2046 §5.1.1 allows 70, longer ones exist.
pub const MIME_BOUNDARY_OCTETS_MAX: usize = 200;
/// Parameters of a Content-Type or Content-Disposition that are kept.
pub const MIME_PARAMETERS_MAX: usize = 64;
/// Addresses of one header field that an envelope lists.
pub const ENVELOPE_ADDRESSES_MAX: usize = 10_000;

/// How often an alias may lead to an alias.
pub const ALIAS_DEPTH_MAX: usize = 8;
/// Addresses that one recipient may expand to.
pub const ALIAS_TARGETS_MAX: usize = 1000;

/// A mail folder's name in octets of UTF-8.
pub const FOLDER_NAME_OCTETS_MAX: usize = 255;

/// Chunk of a message body in a gRPC stream, in the spool and in memory, in octets.
pub const BODY_CHUNK_OCTETS: usize = 64 * 1024;
