//! The mra alone in its process: `postroad-mra -c postroad.toml`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postroad_service::role::main(postroad_types::Role::Mra, postroad_mra::run)
}
