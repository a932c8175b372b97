//! What an authoritative name server does by the book, looked at over the wire alone: any server can be the subject.
//!
//! Without arguments it starts `postroad run dns` with the zones beside this file and looks at it; no check may fail:
//! `cargo test -p postroad --test dns-conformance`. With an address and port it looks at the server there, which must
//! serve the same zones, give no recursion, and allow transfers to nobody. With `--table NAME=ADDRESS…` it looks at
//! Postroad and at those and prints a table (`tests/dns-conformance/peers` starts Debian's servers and does so).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, though a program of its own"
)]

mod message;
#[path = "../conformance/report.rs"]
mod report;
mod script;
mod session;
mod subject;
mod transport;

use std::net::SocketAddr;
use std::process::ExitCode;

use report::Column;
use script::Check;
use session::{Finding, Verdict};
use subject::Postroad;

const FILES: &[(&str, &str)] = &[
    ("checks/answers.txt", include_str!("checks/answers.txt")),
    ("checks/aliases.txt", include_str!("checks/aliases.txt")),
    ("checks/wildcards.txt", include_str!("checks/wildcards.txt")),
    ("checks/referrals.txt", include_str!("checks/referrals.txt")),
    ("checks/edns.txt", include_str!("checks/edns.txt")),
    ("checks/tcp.txt", include_str!("checks/tcp.txt")),
    ("checks/robustness.txt", include_str!("checks/robustness.txt")),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut checks: Vec<Check> = FILES.iter().flat_map(|(file, text)| script::parse(file, text)).collect();
    checks.sort_by_key(|check| numbers(&check.section));
    match arguments.first().map(String::as_str) {
        Some("--table") => table(&checks, &arguments[1..]),
        Some(address) if address.parse::<SocketAddr>().is_ok() => {
            verdict(&checks, &column(&checks, address, address.parse().expect("an address")))
        }
        // What cargo test is called with (a filter, --nocapture) means nothing here.
        _ => verdict(&checks, &ours(&checks)),
    }
}

/// `RFC 1034 §4.3.2` as 1034, 4, 3, 2.
fn numbers(section: &str) -> Vec<u32> {
    section.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Says what does not pass; what is not offered is no failure.
fn verdict(checks: &[Check], column: &Column) -> ExitCode {
    print!("{}", report::failures(checks, column));
    if column.count(Verdict::Fails) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ours(checks: &[Check]) -> Column {
    let postroad = Postroad::start();
    column(checks, "Postroad", postroad.address)
}

fn table(checks: &[Check], peers: &[String]) -> ExitCode {
    let mut columns = vec![ours(checks)];
    for peer in peers {
        let described = peer.split_once('=').and_then(|(name, at)| Some((name, at.parse().ok()?)));
        let Some((name, address)) = described else {
            eprintln!("{peer}: expected NAME=ADDRESS:PORT");
            return ExitCode::FAILURE;
        };
        columns.push(column(checks, name, address));
    }
    for column in &columns {
        eprint!("{}", report::failures(checks, column));
    }
    print!("{}", report::table(checks, &columns));
    ExitCode::SUCCESS
}

/// All checks, twice: a server may answer otherwise from what it has kept.
fn column(checks: &[Check], name: &str, server: SocketAddr) -> Column {
    let (first, second) = (round(checks, server), round(checks, server));
    let worse = |(first, second): (Finding, Finding)| {
        if first.verdict == Verdict::Passes { second } else { first }
    };
    Column { name: name.to_owned(), findings: first.into_iter().zip(second).map(worse).collect() }
}

/// All checks, a few at a time: most of their time goes by in waiting for silence.
fn round(checks: &[Check], server: SocketAddr) -> Vec<Finding> {
    std::thread::scope(|scope| {
        let mut findings = Vec::new();
        for some in checks.chunks(8) {
            let running: Vec<_> =
                some.iter().map(|check| scope.spawn(move || session::run(check, server))).collect();
            findings.extend(running.into_iter().map(|one| one.join().expect("a check that ends")));
        }
        findings
    })
}
