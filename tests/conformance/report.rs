//! What was found, as a table.

use super::script::Check;
use super::session::{Finding, Verdict};

/// A server's findings, in the order of the checks.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub findings: Vec<Finding>,
}

impl Column {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// For a terminal: what does not pass, with the step and the answer.
pub fn failures(checks: &[Check], column: &Column) -> String {
    let mut out = String::new();
    for (check, finding) in checks.iter().zip(&column.findings) {
        if finding.verdict != Verdict::Passes {
            out += &format!(
                "{:?}  {}: {}\n      {}\n",
                finding.verdict, check.section, check.name, finding.answer
            );
        }
    }
    let (passed, failed, lacking) =
        (column.count(Verdict::Passes), column.count(Verdict::Fails), column.count(Verdict::Lacks));
    out + &format!("{}: {passed} passed, {failed} failed, {lacking} not offered\n", column.name)
}

/// For documentation: a Markdown table, a row for each check.
pub fn table(checks: &[Check], columns: &[Column]) -> String {
    let mut out = String::from("| section | check |");
    for column in columns {
        out += &format!(" {} |", column.name);
    }
    out += &format!("\n|---|---|{}\n", "---|".repeat(columns.len()));
    for (index, check) in checks.iter().enumerate() {
        out += &format!("| {} | {} |", check.section, check.name.replace('|', "\\|"));
        for column in columns {
            out += &format!(" {} |", column.findings.get(index).map_or(String::new(), cell));
        }
        out.push('\n');
    }
    out += "| | **passed** |";
    for column in columns {
        out += &format!(" **{} of {}** |", column.count(Verdict::Passes), checks.len());
    }
    out.push('\n');
    out
}

fn cell(finding: &Finding) -> String {
    let answer = finding.answer.replace('|', "\\|").replace('`', "");
    match finding.verdict {
        Verdict::Passes => "yes".to_owned(),
        Verdict::Lacks => "not offered".to_owned(),
        Verdict::Fails => {
            let short: String = answer.chars().take(70).collect();
            format!("**no**: {short}")
        }
    }
}
