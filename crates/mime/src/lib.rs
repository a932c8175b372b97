//! Message structure without IO: headers, envelope, body structure, sections, search
#![forbid(unsafe_code)]
