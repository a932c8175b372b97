//! The mda alone in its process: `postroad-mda -c postroad.toml`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postroad_service::role::main(postroad_types::Role::Mda, postroad_mda::run)
}
