//! The DNS server as a process of its own: `postroad-dns -c postroad.toml`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postroad_service::role::main(postroad_types::Role::Dns, postroad_dns::run)
}
