//! What an SMTP server does by the book, looked at over the wire alone: any server can be the subject.
//!
//! Without arguments it starts a lab and looks at Postroad, which must pass all checks:
//! `cargo test -p postroad --test conformance`. With `--subject FILE…` it looks at others too and prints a table
//! (`tests/conformance/peers` starts Debian's and does so).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, though a program of its own"
)]

#[path = "../harness/mod.rs"]
#[allow(dead_code)]
mod harness;
mod report;
mod script;
mod session;
mod subject;

use std::process::ExitCode;

use report::Column;
use script::Check;
use session::Verdict;
use subject::Subject;

const FILES: &[(&str, &str)] = &[
    ("checks/greeting.txt", include_str!("checks/greeting.txt")),
    ("checks/transaction.txt", include_str!("checks/transaction.txt")),
    ("checks/syntax.txt", include_str!("checks/syntax.txt")),
    ("checks/end_of_data.txt", include_str!("checks/end_of_data.txt")),
    ("checks/extensions.txt", include_str!("checks/extensions.txt")),
    ("checks/security.txt", include_str!("checks/security.txt")),
    ("checks/submission.txt", include_str!("checks/submission.txt")),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let checks: Vec<Check> = FILES.iter().flat_map(|(file, text)| script::parse(file, text)).collect();
    if arguments.first().is_some_and(|first| first == "--subject") {
        return look_at(&checks, &arguments[1..]);
    }
    let column = ours(&checks);
    print!("{}", report::failures(&checks, &column));
    if column.count(Verdict::Passes) == checks.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Postroad, in a lab.
fn ours(checks: &[Check]) -> Column {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let lab = runtime.block_on(harness::Lab::start());
    let column = column(checks, &lab_subject(&lab));
    runtime.block_on(async { drop(lab) });
    column
}

/// Postroad beside other servers, each of them described by a file; their table on standard output.
fn look_at(checks: &[Check], files: &[String]) -> ExitCode {
    let mut columns = vec![ours(checks)];
    for file in files {
        let described = std::fs::read_to_string(file).map_err(|error| error.to_string());
        match described.and_then(|text| Subject::parse(&text)) {
            Ok(subject) => {
                let column = column(checks, &subject);
                eprint!("{}", report::failures(checks, &column));
                columns.push(column);
            }
            Err(why) => {
                eprintln!("{file}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    print!("{}", report::table(checks, &columns));
    ExitCode::SUCCESS
}

/// All checks, a few at a time: most of their time goes by in waiting for silence.
fn column(checks: &[Check], subject: &Subject) -> Column {
    let findings = std::thread::scope(|scope| {
        let mut findings = Vec::new();
        for some in checks.chunks(8) {
            let running: Vec<_> =
                some.iter().map(|check| scope.spawn(|| session::run(check, subject))).collect();
            findings.extend(running.into_iter().map(|one| one.join().expect("a check that ends")));
        }
        findings
    });
    Column { name: subject.name.clone(), findings }
}

fn lab_subject(lab: &harness::Lab) -> Subject {
    let (domain, ports) = (lab.alpha(), &lab.plan.ports);
    let at = |port| lab.plan.socket(domain.mta, port);
    Subject {
        name: "Postroad".to_owned(),
        relay: at(ports.smtp),
        submission: Some(at(ports.submission)),
        submissions: Some(at(ports.submissions)),
        user: lab.alice().address.clone(),
        other: "carol@alpha.test".to_owned(),
        nobody: "nobody-of-this-name@alpha.test".to_owned(),
        account: lab.alice().address.clone(),
        password: lab.alice().password.clone(),
        client: "client.example".to_owned(),
    }
}
