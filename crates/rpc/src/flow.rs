//! HTTP/2's bounds, the same on both sides.
//!
//! One connection carries the calls of thousands of sessions. What a slow mail program does not fetch waits
//! in its stream's window and counts against the connection's: so the latter must be far larger, or a few
//! slow ones would stop all others.

/// Octets that one stream may have under way.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// Octets that all streams of a connection may have under way.
pub(crate) const CONNECTION_WINDOW: u32 = 1 << 30;
/// Octets of a frame: a chunk of a message's body, whole.
pub(crate) const FRAME: u32 = 64 * 1024 + 1024;
/// Calls under way on one connection: each IDLE session holds one.
pub(crate) const STREAMS_MAX: u32 = 50_000;
