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

/// IMAP command line without its literals.
pub const IMAP_LINE_OCTETS_MAX: usize = 65_536;
/// An IMAP literal outside APPEND.
pub const IMAP_LITERAL_OCTETS_MAX: usize = 65_536;
/// Nesting of parentheses in IMAP search keys and lists.
pub const IMAP_NESTING_MAX: usize = 32;
/// POP3 command line: RFC 2449 §4 asks for 255; AUTH lines need more.
pub const POP3_LINE_OCTETS_MAX: usize = 12_288;

/// Nesting of MIME parts that is looked into; deeper ones are opaque.
pub const MIME_NESTING_MAX: usize = 32;
/// MIME parts that are told apart in one message.
pub const MIME_PARTS_MAX: usize = 10_000;

/// How often an alias may lead to an alias.
pub const ALIAS_DEPTH_MAX: usize = 8;
/// Addresses that one recipient may expand to.
pub const ALIAS_TARGETS_MAX: usize = 1000;

/// A mail folder's name in octets of UTF-8.
pub const FOLDER_NAME_OCTETS_MAX: usize = 255;

/// Chunk of a message body in a gRPC stream, in the spool and in memory, in octets.
pub const BODY_CHUNK_OCTETS: usize = 64 * 1024;
