//! Storage traits, memory and faulty implementations, one contract suite
#![forbid(unsafe_code)]
