//! The repository checks itself: the licences of what ships, the arrows between our crates, the length of files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Any of these, alone or as one of the choices that a crate leaves open.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "Apache-2.0 WITH LLVM-exception",
];

/// Crates that must not come in: a second crypto backend, a second TLS, a second SQLite.
const UNWANTED: &[&str] = &["ring", "openssl-sys", "native-tls", "sqlx"];

/// Longer files are no longer read from top to bottom.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Packages that a shipped binary is made of, with their licences: what the command depends on as it is built, without
/// build and test tools. `cargo tree` knows which features are on; `cargo metadata` does not.
fn shipped() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "-p",
            "postroad",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-f",
            "{p}|{l}",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| {
            let (package, licence) = line.split_once('|')?;
            let licence = licence.trim_end_matches("(*)").trim();
            Some((package.split(' ').next()?.to_owned(), licence.to_owned()))
        })
        .collect()
}

/// Whether an SPDX expression leaves a choice that is allowed: OR needs one side, AND needs both.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let flat = expression.replace(['(', ')'], " ");
    flat.split(" AND ").all(|side| side.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn what_ships_is_under_permissive_licences() {
    let shipped = shipped();
    let mut wrong = Vec::new();
    for (name, licence) in &shipped {
        if !is_allowed(licence) {
            wrong.push(format!("{name}: {licence:?}"));
        }
        if UNWANTED.contains(&name.as_str()) {
            wrong.push(format!("{name} must not be in what ships"));
        }
    }
    assert!(shipped.len() > 100, "only {} packages were looked at", shipped.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!is_allowed("AGPL-3.0-only") && !is_allowed("MIT AND GPL-2.0") && is_allowed("GPL-2.0 OR MIT"));
}

/// The arrows between our crates, as ARCHITECTURE.md tells them.
#[test]
fn our_crates_depend_on_each_other_as_drawn() {
    let drawn: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("types", &[][..]),
        ("mime", &["types"]),
        ("wire-smtp", &["types"]),
        ("wire-imap", &["mime", "types"]),
        ("wire-pop3", &["types"]),
        ("config", &["types"]),
        ("rpc", &["types"]),
        ("service", &["config", "rpc", "types"]),
        ("store", &["types"]),
        ("store-local", &["mime", "store", "types"]),
        ("dns", &["config", "rpc", "service", "types"]),
        ("mta", &["config", "mime", "rpc", "service", "store", "store-local", "types", "wire-smtp"]),
        ("mda", &["config", "mime", "rpc", "service", "store", "store-local", "types"]),
        ("mra", &["config", "mime", "rpc", "service", "types", "wire-imap", "wire-pop3"]),
        ("postroad", &["config", "dns", "mda", "mra", "mta", "rpc", "service", "store-local", "types"]),
    ]);
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if !package["source"].is_null() {
            continue;
        }
        let short = name.strip_prefix("postroad-").unwrap_or(name);
        let expected = drawn
            .get(short)
            .unwrap_or_else(|| panic!("{name} is not drawn: add it here and to ARCHITECTURE.md"));
        let found: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null() && dependency["source"].is_null())
            .filter_map(|dependency| dependency["name"].as_str()?.strip_prefix("postroad-"))
            .collect();
        let too_many: Vec<_> = found.iter().filter(|name| !expected.contains(name)).collect();
        assert!(too_many.is_empty(), "{name} depends on {too_many:?}, which is not drawn");
    }
}

#[test]
fn files_can_be_read_in_one_go() {
    let mut long = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count();
                if lines > LINES_MAX {
                    long.push(format!("{}: {lines} lines", path.display()));
                }
            }
        }
    }
    assert!(long.is_empty(), "longer than {LINES_MAX} lines:\n{}", long.join("\n"));
}
