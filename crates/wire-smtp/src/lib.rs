//! SMTP as pure state machines: codec, server and client
#![forbid(unsafe_code)]
