//! DNS: authoritative zones and caching resolver that iterates from the root
#![forbid(unsafe_code)]
