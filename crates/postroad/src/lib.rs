//! The postroad command: up, run, lab, trace, queue, account, domain, dns, config
#![forbid(unsafe_code)]
