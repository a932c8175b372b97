//! A fetch's answers, message by message.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::mailbox::{FetchItem, FetchStream, MailboxError, MessageInfo};

pub(super) struct Messages(FetchStream);

/// What comes next of a message.
#[derive(Debug)]
pub(super) enum Octets {
    Chunk(Bytes),
    End,
    /// The octets can't be read; says why.
    Damaged(String),
}

impl Messages {
    pub(super) fn new(stream: FetchStream) -> Self {
        Messages(stream)
    }

    /// The next message, once all octets of the one before are taken; `None` at the end.
    pub(super) async fn next_message(&mut self) -> Result<Option<MessageInfo>, MailboxError> {
        match self.0.next().await.transpose()? {
            None => Ok(None),
            Some(FetchItem::Message(info)) => Ok(Some(info)),
            Some(_) => Err(out_of_order()),
        }
    }

    pub(super) async fn next_octets(&mut self) -> Result<Octets, MailboxError> {
        match self.0.next().await.transpose()? {
            Some(FetchItem::Chunk(chunk)) => Ok(Octets::Chunk(chunk)),
            Some(FetchItem::End) => Ok(Octets::End),
            Some(FetchItem::Damaged(why)) => Ok(Octets::Damaged(why)),
            Some(FetchItem::Message(_)) => Err(out_of_order()),
            None => Err(MailboxError::Unavailable("the answer ended early".to_owned())),
        }
    }

    /// Passes over the rest of a message of which `octets` came last.
    pub(super) async fn skip(&mut self, mut octets: Octets) -> Result<(), MailboxError> {
        while let Octets::Chunk(_) = octets {
            octets = self.next_octets().await?;
        }
        Ok(())
    }
}

fn out_of_order() -> MailboxError {
    MailboxError::Internal("a fetch's answer is out of order".to_owned())
}
