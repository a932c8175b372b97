//! `postroad-mta -c postroad.toml`: the MTA alone in its process.

use std::process::ExitCode;

use postroad_types::Role;

/// Many small, short-lived buffers on many threads: the system's allocator is the bottleneck there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postroad_service::role::main(Role::Mta, postroad_mta::run)
}
