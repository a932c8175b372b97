//! MDA: directory, delivery into Maildir, mailboxes
#![forbid(unsafe_code)]
