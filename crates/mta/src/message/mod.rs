//! What mta reads in and writes into messages: header fields, Received, dates. Octets in, octets out.

pub mod date;
pub mod edit;
pub mod header;
pub mod received;
