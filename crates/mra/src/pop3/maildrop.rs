//! The inbox as a maildrop: its snapshot, its messages, and what QUIT deletes.

use futures_util::StreamExt;
use metrics::counter;
use postroad_types::{AccountId, TraceId};
use postroad_wire_pop3::{BodyError, DeleteError, MaildropError, Message, Scope, Snapshot};

use crate::mailbox::{
    FetchItem, FetchRequest, FetchStream, FlagChange, FlagMode, MailboxClient, MailboxError, Part, UidRange,
};

use super::driver::{Driver, now};

const INBOX: &str = "INBOX";
const DELETED: &str = "\\Deleted";

/// A message on its way to the client.
pub(super) struct Body {
    uid: u32,
    trace: Option<TraceId>,
    octets: FetchStream,
    sent: u64,
    /// Not its header alone: a fetch that comes to its end has brought the whole message, also for a TOP
    /// of more lines than there are, which is how some programs retrieve.
    whole: bool,
}

impl Driver {
    pub(super) async fn open_maildrop(&mut self) {
        let answer = match self.account() {
            Some(account) => self.context.mailbox.open_folder(account, INBOX, false).await,
            None => Err(MailboxError::NotFound),
        };
        let answer = answer.map_err(|error| {
            tracing::warn!(%error, "the inbox can't be opened");
            MaildropError
        });
        let snapshot = answer.map(|folder| Snapshot {
            uid_validity: folder.numbers.uid_validity,
            messages: folder.messages.iter().map(|info| Message { uid: info.uid, size: info.size }).collect(),
        });
        self.session.answer_maildrop(snapshot, now());
    }

    /// Asks for a message and waits for its first octets: up to here there is a reply for what goes wrong.
    pub(super) async fn open_body(&mut self, uid_validity: u32, uid: u32, scope: Scope) {
        let Some(account) = self.account() else {
            return self.session.answer_body(Err(BodyError::Gone), now());
        };
        match first_octets(&*self.context.mailbox, account, uid_validity, uid, scope).await {
            Ok((body, first)) => {
                self.body = Some(body);
                self.session.answer_body(Ok(()), now());
                self.send(first);
            }
            Err(error) => self.session.answer_body(Err(error), now()),
        }
    }

    /// Brings the session what comes next of the message.
    pub(super) async fn send_more(&mut self) {
        let Some(body) = &mut self.body else { return };
        let failure = match body.octets.next().await {
            Some(Ok(item)) => return self.send(item),
            Some(Err(error)) => error.to_string(),
            None => "the answer ended early".to_owned(),
        };
        self.break_off(&failure);
    }

    fn send(&mut self, item: FetchItem) {
        match item {
            FetchItem::Chunk(octets) => {
                if let Some(body) = &mut self.body {
                    body.sent += octets.len() as u64;
                }
                self.session.body_chunk(&octets, now());
            }
            FetchItem::End => {
                self.session.body_end(now());
                if let Some(body) = self.body.take()
                    && body.whole
                {
                    self.retrieved += 1;
                    counter!("postroad_mra_fetched_total", "protocol" => self.conn.protocol().name())
                        .increment(1);
                    self.trace_fetch(&body);
                }
            }
            FetchItem::Damaged(why) => self.break_off(&why),
            FetchItem::Message(_) => self.break_off("the answer has a message that was not asked for"),
        }
    }

    fn trace_fetch(&self, body: &Body) {
        let (Some(trace), Some(login)) = (body.trace, &self.login) else {
            return;
        };
        self.context.trace_fetched(trace, self.conn.protocol(), login, INBOX, body.uid, body.sent);
    }

    fn break_off(&mut self, why: &str) {
        if let Some(body) = self.body.take() {
            tracing::error!(
                uid = body.uid,
                sent = body.sent,
                why,
                "a message broke off, closing the connection"
            );
        }
        self.session.body_broken();
    }

    pub(super) async fn delete(&mut self, uid_validity: u32, uids: Vec<u32>) {
        let count = uids.len() as u64;
        let uids = UidRange::from_rising(uids);
        let outcome = match self.account() {
            Some(account) => delete(&*self.context.mailbox, account, uid_validity, uids).await,
            None => Err(MailboxError::NotFound),
        };
        let answer = match outcome {
            Ok(()) => {
                self.deleted += count;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "messages were not deleted");
                Err(DeleteError)
            }
        };
        self.session.answer_delete(answer);
    }

    fn account(&self) -> Option<AccountId> {
        self.login.as_ref().map(|login| login.account)
    }
}

/// A message's fetch, up to and with its first octets.
async fn first_octets(
    mailbox: &dyn MailboxClient,
    account: AccountId,
    uid_validity: u32,
    uid: u32,
    scope: Scope,
) -> Result<(Body, FetchItem), BodyError> {
    let whole = scope != (Scope::Top { lines: 0 });
    let request = FetchRequest {
        folder: INBOX.to_owned(),
        uid_validity,
        uids: vec![UidRange::one(uid)],
        part: if whole { Part::Full } else { Part::Header },
        offset: 0,
        length: 0,
    };
    let mut octets = mailbox.fetch(account, request).await.map_err(|error| body_error(uid, &error))?;
    let trace = match octets.next().await {
        Some(Ok(FetchItem::Message(info))) => info.trace,
        Some(Ok(_)) => return Err(body_error(uid, &out_of_order())),
        Some(Err(error)) => return Err(body_error(uid, &error)),
        None => return Err(BodyError::Gone),
    };
    match octets.next().await {
        Some(Ok(FetchItem::Damaged(why))) => {
            tracing::error!(uid, why, "a message can't be read");
            Err(BodyError::Damaged)
        }
        Some(Ok(FetchItem::Message(_))) | None => Err(body_error(uid, &out_of_order())),
        Some(Ok(first)) => Ok((Body { uid, trace, octets, sent: 0, whole }, first)),
        Some(Err(error)) => Err(body_error(uid, &error)),
    }
}

/// Messages that another session deleted before are no failure.
async fn delete(
    mailbox: &dyn MailboxClient,
    account: AccountId,
    uid_validity: u32,
    uids: Vec<UidRange>,
) -> Result<(), MailboxError> {
    let mark = FlagChange {
        folder: INBOX.to_owned(),
        uid_validity,
        uids: uids.clone(),
        mode: FlagMode::Add,
        flags: vec![DELETED.to_owned()],
        unchanged_since: None,
    };
    mailbox.store_flags(account, mark).await?;
    mailbox.expunge(account, INBOX, uid_validity, Some(uids)).await?;
    Ok(())
}

/// What the client is told of a message that can't be had.
fn body_error(uid: u32, error: &MailboxError) -> BodyError {
    match error {
        MailboxError::NotFound | MailboxError::UidValidityChanged => BodyError::Gone,
        error => {
            tracing::warn!(uid, %error, "a message can't be fetched");
            BodyError::Temporary
        }
    }
}

fn out_of_order() -> MailboxError {
    MailboxError::Internal("the answer is not a message and then its octets".to_owned())
}
