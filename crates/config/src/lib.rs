//! One postroad.toml, a section per role, errors that point at the line
#![forbid(unsafe_code)]
