//! POP3 as a pure state machine
#![forbid(unsafe_code)]
