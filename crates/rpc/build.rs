//! Compiles proto/postroad/v1 into Rust, without protoc.

use std::error::Error;
use std::path::PathBuf;

/// Messages that carry a password or what proves one: their Debug is written by hand in `secret.rs`.
const SECRETS: [&str; 5] = [
    ".postroad.v1.PutAccountRequest",
    ".postroad.v1.AuthenticateStart",
    ".postroad.v1.AuthenticateRequest",
    ".postroad.v1.AuthenticateReply",
    ".postroad.v1.AuthenticateSuccess",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Asked at run time: a checkout that has moved must not look where it was built first.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let folder = root.join("postroad/v1");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, [&root])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .skip_debug(SECRETS)
        .compile_fds(descriptors)?;
    Ok(())
}
