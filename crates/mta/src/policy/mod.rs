//! Policy.
pub mod data;
