//! Embedded storage: log-structured spool, Maildir with SQLite index, SQLite directory
#![forbid(unsafe_code)]
