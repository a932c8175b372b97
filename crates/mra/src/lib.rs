//! MRA: IMAP and POP3 access to mailboxes
#![forbid(unsafe_code)]
