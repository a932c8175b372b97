//! Stage data: what is said about a message once its header section is here.

pub mod loops;
pub mod submission;
