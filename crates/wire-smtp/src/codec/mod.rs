//! The octets of SMTP: command lines, replies, bodies, paths, parameters.
//!
//! Everything here is strict where leniency has been an attack (line ends, the end of data, quoted strings)
//! and exact where mail is carried on (no octet of a body and no character of a path is changed).

pub mod base64;
pub mod date_time;
pub mod dot;
pub mod line;
pub mod line_ends;
pub mod parameter;
pub mod path;
pub mod proxy;
pub mod reply;
pub mod xtext;
