//! What policy said: into the timeline, the log, and the answer.

use postroad_service::TraceEvent;
use postroad_types::{Reply, TraceId};
use postroad_wire_smtp::server::Answer;

use super::session::{Session, Transaction};
use crate::policy::verdict::{Finding, Outcome, Stage, Verdict};

impl Session {
    /// For stages connect and helo, which belong to every message of the session. A refusal here ends in no
    /// message, and is a timeline of its own.
    pub(super) fn conclude_session(&mut self, outcome: Outcome) -> Answer {
        let steps = self.policy_steps(&outcome);
        if let Some(reply) = &outcome.refusal {
            let trace = TraceId::random();
            let step = refused(self.step("refused"), &outcome, reply);
            for step in self.steps.iter().cloned().chain(steps).chain([step]) {
                self.inbound.trace_log.record(TraceEvent { trace_id: trace, ..step });
            }
            self.note_refusal(outcome.stage, reply);
            return Answer::Refuse(reply.clone());
        }
        if outcome.stage == Stage::Helo {
            // The last HELO counts.
            self.helo_steps = steps;
            self.helo_findings = outcome.findings;
        } else {
            self.steps.extend(steps);
            self.findings.extend(outcome.findings);
        }
        Answer::Accept
    }

    /// For the other stages. The answer comes as late as policy wants it.
    pub(super) async fn conclude(
        &mut self,
        transaction: &mut Transaction,
        step: TraceEvent,
        outcome: Outcome,
    ) -> Answer {
        transaction.steps.extend(self.policy_steps(&outcome));
        let answer = match &outcome.refusal {
            None => {
                transaction.steps.push(step);
                Answer::Accept
            }
            Some(reply) => {
                self.note_refusal(outcome.stage, reply);
                transaction.steps.push(refused(step, &outcome, reply));
                transaction.refused = true;
                Answer::Refuse(reply.clone())
            }
        };
        transaction.findings.extend(outcome.findings.into_iter().filter(|f| f.score() > 0));
        if !outcome.delay.is_zero() {
            self.inbound.clock.sleep(outcome.delay).await;
        }
        answer
    }

    /// What stage data found while the message came in.
    pub(super) fn note_outcomes(&self, transaction: &mut Transaction, outcomes: &[Outcome]) {
        for outcome in outcomes {
            transaction.steps.extend(self.policy_steps(outcome));
        }
    }

    /// Marks on the session and on the message so far.
    pub(super) fn score(&self, transaction: &Transaction) -> u32 {
        self.marks(transaction).map(Finding::score).fold(0, u32::saturating_add)
    }

    pub(super) fn marks<'a>(&'a self, transaction: &'a Transaction) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().chain(&self.helo_findings).chain(&transaction.findings).filter(|f| f.score() > 0)
    }

    fn policy_steps(&self, outcome: &Outcome) -> Vec<TraceEvent> {
        // The step of the command itself tells the reply.
        let is_told =
            |finding: &&Finding| outcome.refusal.as_ref().is_none_or(|reply| !refuses(finding, reply));
        let step = |finding: &Finding| {
            self.step("policy")
                .with("stage", outcome.stage.name())
                .with("check", finding.check)
                .with("verdict", finding.verdict.name())
                .with("reason", &finding.reason)
        };
        outcome.findings.iter().filter(is_told).map(step).collect()
    }

    fn note_refusal(&self, stage: Stage, reply: &Reply) {
        let stage = stage.name();
        tracing::info!(client = %self.client.peer, port = self.door.name(), %reply, "{stage} refused");
        metrics::counter!("postroad_mta_refused_total", "stage" => stage).increment(1);
    }
}

/// A command's step with its reply, and the check that gave it.
pub(super) fn refused(step: TraceEvent, outcome: &Outcome, reply: &Reply) -> TraceEvent {
    match outcome.findings.iter().find(|finding| refuses(finding, reply)) {
        Some(finding) => step.with("reply", reply).with("check", finding.check),
        None => step.with("reply", reply),
    }
}

/// Whether the finding is the refusal and nothing more.
fn refuses(finding: &Finding, reply: &Reply) -> bool {
    matches!(&finding.verdict, Verdict::Refuse(own) | Verdict::Defer(own) if own == reply)
        && finding.reason == reply.text
}
