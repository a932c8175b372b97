//! What rspamd answers, and what it comes to.

use std::collections::BTreeMap;

use postroad_types::limits::{POLICY_TEXT_OCTETS_MAX, SCAN_HEADER_OCTETS_MAX};
use serde::Deserialize;
use serde_json::Value;

use super::Changes;
use crate::consignment::reply;
use crate::policy::verdict::{Finding, Verdict};

/// The parts of rspamd's answer that count.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    action: String,
    #[serde(default)]
    score: f64,
    #[serde(default)]
    required_score: f64,
    #[serde(default)]
    symbols: BTreeMap<String, Value>,
    #[serde(default)]
    messages: Value,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    milter: Milter,
}

#[derive(Debug, Default, Deserialize)]
struct Milter {
    /// A value, an object with `value`, or a list of either.
    #[serde(default)]
    add_headers: BTreeMap<String, Value>,
    /// Which of them, or a list: 0 all, 1 the first, -1 the last.
    #[serde(default)]
    remove_headers: BTreeMap<String, Value>,
}

impl Answer {
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("an answer that is not understood: {error}"))
    }

    /// The finding, and what is to be changed in the message if it is taken.
    pub(super) fn judge(self, check: &'static str, spam_header: &str) -> (Finding, Changes) {
        let told = self.messages.get("smtp_message").and_then(Value::as_str).map(in_reply);
        let mut changes = self.changes();
        let reason = self.reason();
        let finding = match self.action.as_str() {
            "no action" | "greylist" => Finding::pass(check, reason),
            "add header" => {
                changes.remove.push((spam_header.to_owned(), 0));
                changes.add.push_str(&format!("{spam_header}: Yes\r\n"));
                Finding { check, verdict: Verdict::Mark(1), reason }
            }
            "rewrite subject" => {
                changes.subject = self.subject.as_deref().map(unfolded).filter(|s| !s.is_empty());
                Finding { check, verdict: Verdict::Mark(1), reason }
            }
            "soft reject" => {
                let text = told.unwrap_or_else(|| "try again later".to_owned());
                Finding { reason, ..Finding::refuse(check, reply(451, (4, 7, 1), text)) }
            }
            _ => {
                let text = told.unwrap_or_else(|| "the message looks like spam".to_owned());
                Finding { reason, ..Finding::refuse(check, reply(554, (5, 7, 1), text)) }
            }
        };
        (finding, changes)
    }

    /// `reject, score 15.2 of 15: BAYES_SPAM, …`
    fn reason(&self) -> String {
        let score = |symbol: &Value| symbol.get("score").and_then(Value::as_f64).unwrap_or_default();
        let mut symbols: Vec<(&String, f64)> =
            self.symbols.iter().map(|(name, symbol)| (name, score(symbol))).collect();
        symbols.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        let names: Vec<&str> = symbols.iter().take(8).map(|(name, _)| name.as_str()).collect();
        format!(
            "{}, score {:.1} of {:.1}: {}",
            self.action,
            self.score,
            self.required_score,
            names.join(", ")
        )
    }

    fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (name, value) in self.milter.add_headers.iter().filter(|(name, _)| is_name(name)) {
            for value in one_or_more(value) {
                let text = value.as_str().or_else(|| value.get("value").and_then(Value::as_str));
                if let Some(text) = text
                    && changes.add.len() + name.len() + text.len() <= SCAN_HEADER_OCTETS_MAX
                {
                    changes.add.push_str(&format!("{name}: {}\r\n", folded(text)));
                }
            }
        }
        for (name, which) in self.milter.remove_headers.iter().filter(|(name, _)| is_name(name)) {
            for which in one_or_more(which).iter().filter_map(Value::as_i64) {
                changes.remove.push((name.clone(), i32::try_from(which).unwrap_or_default()));
            }
        }
        changes
    }
}

fn one_or_more(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        one => std::slice::from_ref(one),
    }
}

/// RFC 5322 §2.2.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (33..=126).contains(&b) && b != b':')
}

/// A value with its lines folded as they were meant: each further line begins with white space.
fn folded(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || matches!(c, ' ' | '\t') { c } else { '?' };
    let lines = text.lines().map(|line| line.trim_end().chars().map(plain).collect::<String>());
    let mut out = String::with_capacity(text.len());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if !out.is_empty() {
            out.push_str("\r\n");
            if !line.starts_with([' ', '\t']) {
                out.push('\t');
            }
        }
        out.push_str(&line);
    }
    out
}

fn unfolded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// rspamd's words, fit for a reply.
fn in_reply(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(plain).take(POLICY_TEXT_OCTETS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(json: &str) -> (Finding, Changes) {
        Answer::parse(json.as_bytes()).unwrap().judge("rspamd", "X-Spam")
    }

    #[test]
    fn each_action_has_its_verdict() {
        for (action, verdict) in [
            ("no action", "pass"),
            ("greylist", "pass"),
            ("add header", "mark"),
            ("rewrite subject", "mark"),
            ("soft reject", "defer"),
            ("reject", "refuse"),
            ("quarantine", "refuse"),
        ] {
            let (finding, _) = judged(&format!(r#"{{"action": "{action}"}}"#));
            assert_eq!(finding.verdict.name(), verdict, "{action}");
        }
        assert!(Answer::parse(b"<html>").is_err() && Answer::parse(b"{}").is_err());
    }

    #[test]
    fn reasons_and_replies_are_rspamds() {
        let (finding, _) = judged(
            r#"{"action": "reject", "score": 15.25, "required_score": 15, "messages": {"smtp_message": "Gtube\r\npattern"},
                "symbols": {"GTUBE": {"score": 15, "options": []}, "R_SPF_ALLOW": {"score": -0.2}}}"#,
        );
        assert_eq!(finding.reason, "reject, score 15.2 of 15.0: GTUBE, R_SPF_ALLOW");
        let Verdict::Refuse(reply) = finding.verdict else { panic!("{finding:?}") };
        assert_eq!(reply.to_string(), "554 5.7.1 Gtube??pattern");
    }

    #[test]
    fn fields_are_added_and_removed_and_none_is_smuggled_in() {
        let (_, changes) = judged(
            r#"{"action": "add header", "milter": {
                "add_headers": {"X-Spamd-Bar": {"value": "+++", "order": 0}, "X-Many": ["a", {"value": "b\n c\n\nEvil: x"}],
                                "Bad Name": "x"},
                "remove_headers": {"X-Virus": 0, "X-Old": [1, -1]}}}"#,
        );
        assert_eq!(
            changes.add,
            "X-Many: a\r\nX-Many: b\r\n c\r\n\tEvil: x\r\nX-Spamd-Bar: +++\r\nX-Spam: Yes\r\n"
        );
        let remove: Vec<_> = changes.remove.iter().map(|(name, which)| (name.as_str(), *which)).collect();
        assert_eq!(remove, [("X-Old", 1), ("X-Old", -1), ("X-Virus", 0), ("X-Spam", 0)]);
        let (_, changes) = judged(r#"{"action": "rewrite subject", "subject": "***SPAM*** hello"}"#);
        assert_eq!(changes.subject.as_deref(), Some("***SPAM*** hello"));
    }
}
