//! gRPC contracts: generated stubs, conversions, channels with mTLS, deadlines
#![forbid(unsafe_code)]
