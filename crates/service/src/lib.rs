//! IO shell shared by the roles: listeners, TLS, drain, health, telemetry, clock, trace log
#![forbid(unsafe_code)]
