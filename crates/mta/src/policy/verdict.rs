//! What a check says, and what a stage makes of what its checks say.

use std::ops::ControlFlow;
use std::time::Duration;

use postroad_config::CheckAction;
use postroad_types::Reply;

use crate::consignment::reply;

/// Where in the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Connect => "connect",
            Stage::Helo => "helo",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
        }
    }
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Weighs so much, and stands in the message's header.
    Mark(u32),
    /// 5xx.
    Refuse(Reply),
    /// 4xx: the client keeps its mail and comes again.
    Defer(Reply),
    /// The answer comes so much later.
    Delay(Duration),
}

impl Verdict {
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Mark(_) => "mark",
            Verdict::Refuse(_) => "refuse",
            Verdict::Defer(_) => "defer",
            Verdict::Delay(_) => "delay",
        }
    }
}

/// A check's verdict and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check's name, as in the timeline, the header and the metrics: `reverse-dns`.
    pub check: &'static str,
    pub verdict: Verdict,
    /// For people. Empty: nothing worth a line.
    pub reason: String,
}

impl Finding {
    /// Nothing was found.
    pub fn clean(check: &'static str) -> Self {
        Finding { check, verdict: Verdict::Pass, reason: String::new() }
    }

    /// Nothing is held against it, which is worth a line.
    pub fn pass(check: &'static str, reason: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Pass, reason: reason.into() }
    }

    /// Refused or put off, by the reply's code. The reply's text is the reason.
    pub fn refuse(check: &'static str, reply: Reply) -> Self {
        let reason = reply.text.clone();
        let verdict = if reply.is_transient() { Verdict::Defer(reply) } else { Verdict::Refuse(reply) };
        Finding { check, verdict, reason }
    }

    /// What the setting says to do with something that was found.
    pub fn by(action: CheckAction, check: &'static str, enhanced: (u8, u16, u16), reason: String) -> Self {
        match action {
            CheckAction::Off => Finding::clean(check),
            CheckAction::Mark => Finding { check, verdict: Verdict::Mark(1), reason },
            CheckAction::Refuse => Finding::refuse(check, reply(550, enhanced, reason)),
        }
    }

    /// What it weighs.
    pub fn score(&self) -> u32 {
        match self.verdict {
            Verdict::Mark(score) => score,
            _ => 0,
        }
    }
}

/// What a stage found, and the answer it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub stage: Stage,
    /// In the order of the checks; behind one that refuses only its delay follows.
    pub findings: Vec<Finding>,
    pub refusal: Option<Reply>,
    /// How much later the answer is to come.
    pub delay: Duration,
}

impl Outcome {
    pub fn new(stage: Stage) -> Self {
        Outcome { stage, findings: Vec::new(), refusal: None, delay: Duration::ZERO }
    }

    /// Takes a check's finding: counts it, keeps it, and ends the stage if it refuses.
    pub fn take(&mut self, mut finding: Finding) -> ControlFlow<()> {
        if let (Stage::Connect, Verdict::Refuse(reply)) = (self.stage, &mut finding.verdict) {
            // In place of a greeting there is no other (RFC 5321 §3.1, §4.3.2).
            reply.code = 554;
        }
        metrics::counter!(
            "postroad_mta_policy_total",
            "stage" => self.stage.name(), "check" => finding.check, "verdict" => finding.verdict.name()
        )
        .increment(1);
        match &finding.verdict {
            Verdict::Refuse(reply) | Verdict::Defer(reply) => self.refusal = Some(reply.clone()),
            Verdict::Delay(delay) => self.delay += *delay,
            Verdict::Pass | Verdict::Mark(_) => {}
        }
        if finding.verdict != Verdict::Pass || !finding.reason.is_empty() {
            self.findings.push(finding);
        }
        if self.refusal.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The header field that tells of the marks on a message; nothing if there are none.
///
/// `Postroad-Policy: score=2; reverse-dns (192.0.2.7 has no name); helo-name (...)`
pub fn header<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let marks: Vec<&Finding> = findings.filter(|finding| finding.score() > 0).collect();
    if marks.is_empty() {
        return String::new();
    }
    let score: u32 = marks.iter().map(|mark| mark.score()).fold(0, u32::saturating_add);
    let mut out = format!("Postroad-Policy: score={score}");
    for mark in marks {
        out.push_str(&format!(";\r\n\t{} ({})", mark.check, as_comment(&mark.reason)));
    }
    out.push_str("\r\n");
    out
}

/// Words of clients and lists inside a comment: what could end, nest or break it is replaced.
fn as_comment(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !"()\\".contains(c) || c == ' ' { c } else { '?' };
    text.chars().map(plain).take(postroad_types::limits::POLICY_TEXT_OCTETS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_the_stage_and_marks_add_up() {
        let mut outcome = Outcome::new(Stage::Helo);
        let mark = |check| Finding::by(CheckAction::Mark, check, (5, 7, 1), "odd (\r\n".into());
        assert!(outcome.take(mark("a")).is_continue());
        assert!(outcome.take(Finding::clean("b")).is_continue());
        let delay =
            Finding { check: "c", verdict: Verdict::Delay(Duration::from_secs(1)), reason: "slowly".into() };
        assert!(outcome.take(delay).is_continue());
        assert!(outcome.take(Finding::refuse("d", reply(450, (4, 7, 1), "later"))).is_break());
        let kept: Vec<_> = outcome.findings.iter().map(|f| (f.check, f.verdict.name())).collect();
        assert_eq!(kept, [("a", "mark"), ("c", "delay"), ("d", "defer")]);
        assert_eq!((outcome.refusal.unwrap().code, outcome.delay), (450, Duration::from_secs(1)));
        let twice = [mark("a"), mark("b")];
        let expected = "Postroad-Policy: score=2;\r\n\ta (odd ???);\r\n\tb (odd ???)\r\n";
        assert_eq!(header(twice.iter()), expected);
        assert_eq!(header([Finding::clean("a")].iter()), "");
    }
}
