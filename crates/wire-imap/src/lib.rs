//! IMAP4rev1 as a pure state machine: grammar, session states, responses
#![forbid(unsafe_code)]
