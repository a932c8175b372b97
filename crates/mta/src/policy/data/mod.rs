//! Stage data: what is said about a message while it comes in, and before it is answered with 250.
//!
//! The stage has three moments. The header section is looked at when it is whole, and is still in memory then. The
//! octets run through the MIME parser, which keeps names and sizes of parts and none of their contents. At the end
//! comes the verdict on the whole.
//!
//! Only a content filter needs the whole message before any of it may go into the spool, because its verdict adds
//! header fields in front: for it the octets go into a [`Hold`] (memory up to 256 KiB, then a nameless file), and
//! from there into the spool after the verdict. Without one they go into the spool as they come. Either way what
//! is answered with 250 does not change any more.

mod author;
mod fields;
mod hold;
mod loops;
mod mime;
mod rspamd;
pub mod submission;

use std::ops::ControlFlow;
use std::sync::Arc;

use postroad_mime::StructureParser;

use super::Policy;
use super::client::Client;
use super::verdict::{Finding, Outcome, Stage};

pub use hold::Hold;
pub use rspamd::{Rspamd, Subject};

/// What a content filter wants changed in a message's header section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Whole fields with their CRLF, to come in front.
    pub add: String,
    /// Names of fields, and which of them: 0 all, 1 the first, -1 the last.
    pub remove: Vec<(String, i32)>,
    pub subject: Option<String>,
}

/// Stage data for one message.
#[derive(Debug)]
pub struct DataStage {
    policy: Arc<Policy>,
    client: Client,
    /// Marks on session and message so far.
    score: u32,
    structure: Option<StructureParser>,
}

impl Policy {
    /// Begins the stage when the body is about to come. `score`: the marks so far.
    pub fn data(self: &Arc<Self>, client: &Client, score: u32) -> DataStage {
        let looks = client.is_stranger() && mime::is_wanted(&self.shared.settings);
        let structure = looks.then(StructureParser::new);
        DataStage { policy: self.clone(), client: client.clone(), score, structure }
    }
}

impl DataStage {
    /// Whether the message is to be held until its end.
    pub fn wants_whole(&self) -> bool {
        self.policy.rspamd.as_ref().is_some_and(|rspamd| rspamd.looks_at(&self.client))
    }

    /// Where it is held.
    pub fn hold(&self) -> Hold {
        Hold::new(self.policy.shared.scratch_dir.clone())
    }

    /// The header section is here, as the client sent it, without the empty line.
    pub async fn header(&mut self, head: &[u8]) -> Outcome {
        let mut outcome = Outcome::new(Stage::Data);
        // A break is in the outcome.
        let _ = self.header_checks(head, &mut outcome).await;
        self.score = outcome.findings.iter().map(Finding::score).fold(self.score, u32::saturating_add);
        outcome
    }

    async fn header_checks(&self, head: &[u8], outcome: &mut Outcome) -> ControlFlow<()> {
        let shared = &self.policy.shared;
        outcome.take(loops::check(head))?;
        if let Some(account) = &self.client.account {
            let action = shared.settings.submission_from;
            outcome.take(author::check(action, account, head, &shared.directory).await)?;
        }
        if self.client.is_stranger() {
            outcome.take(fields::count(shared.settings.header_fields_max, head))?;
            outcome.take(fields::missing(shared.settings.header_missing, head))?;
            outcome.take(fields::duplicated(shared.settings.header_duplicated, head))?;
        }
        ControlFlow::Continue(())
    }

    /// The next octets of the message, header section included.
    pub fn octets(&mut self, chunk: &[u8]) {
        if let Some(structure) = &mut self.structure {
            structure.push(chunk);
        }
    }

    /// The message is whole. `held` is given where it was wanted.
    pub async fn end(&mut self, subject: Subject<'_>, held: Option<&mut Hold>) -> (Outcome, Changes) {
        let mut outcome = Outcome::new(Stage::Data);
        let mut changes = Changes::default();
        // A break is in the outcome.
        let _ = self.end_checks(subject, held, &mut outcome, &mut changes).await;
        (outcome, changes)
    }

    async fn end_checks(
        &mut self,
        subject: Subject<'_>,
        held: Option<&mut Hold>,
        outcome: &mut Outcome,
        changes: &mut Changes,
    ) -> ControlFlow<()> {
        if let Some(structure) = self.structure.take() {
            let (settings, structure) = (&self.policy.shared.settings, structure.finish());
            outcome.take(mime::limits(settings, &structure))?;
            outcome.take(mime::attachments(settings, &structure))?;
        }
        if let (Some(rspamd), Some(held)) = (&self.policy.rspamd, held) {
            let (finding, wanted) = rspamd.check(&self.client, subject, held).await;
            *changes = wanted;
            self.score = self.score.saturating_add(finding.score());
            outcome.take(finding)?;
        }
        if self.client.is_stranger() {
            outcome.take(self.policy.score(self.score))?;
        }
        ControlFlow::Continue(())
    }
}
