//! MTA: submission, queue, routing, relay, bounces
#![forbid(unsafe_code)]
