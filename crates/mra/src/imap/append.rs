//! APPEND: the message goes on to the mailbox as it comes in.

use bytes::Bytes;
use futures_util::StreamExt;
use postroad_wire_imap::command::Append;
use postroad_wire_imap::{Code, Status};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::driver::{Driver, Failure};
use super::failure;
use crate::mailbox::{AppendMessage, Appended, MailboxError};

/// Chunks that wait for the mailbox, before the client has to.
const CHUNKS_WAITING_MAX: usize = 8;

/// A message on its way to the mailbox. Dropped before its end, it is not stored.
pub(super) struct Appending {
    folder: String,
    chunks: mpsc::Sender<Bytes>,
    call: JoinHandle<Result<Appended, MailboxError>>,
}

impl Driver {
    /// Says whether the message is wanted, before it is sent if the client waits for that.
    pub(super) async fn append_begin(&mut self, command: Append) -> Result<(), Failure> {
        let account = self.account()?;
        // Only this tells in time that the folder is missing.
        self.context.mailbox.folder_status(account, &command.mailbox).await.map_err(no_folder)?;
        let message = AppendMessage {
            folder: command.mailbox.clone(),
            flags: command.flags.iter().map(|flag| flag.as_str().to_owned()).collect(),
            internal_date_us: command
                .date
                .map(|at| i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)),
            size: command.size,
        };
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let mailbox = self.context.mailbox.clone();
        let body = ReceiverStream::new(receiver).boxed();
        let call = tokio::spawn(async move { mailbox.append(account, message, body).await });
        self.appending = Some(Appending { folder: command.mailbox, chunks, call });
        self.server.append_accept();
        Ok(())
    }

    pub(super) async fn append_chunk(&mut self, octets: Vec<u8>) {
        let Some(appending) = &mut self.appending else { return };
        if appending.chunks.send(Bytes::from(octets)).await.is_err() {
            // The mailbox has answered before the end: it does not want the rest.
            self.append_result().await;
        }
    }

    pub(super) async fn append_end(&mut self) {
        self.append_result().await;
    }

    /// The mailbox's answer, once its stream of chunks has ended.
    async fn append_result(&mut self) {
        let Some(Appending { folder, chunks, call }) = self.appending.take() else { return };
        drop(chunks);
        let result = call.await.unwrap_or_else(|error| Err(MailboxError::Internal(error.to_string())));
        let status = match result {
            Ok(Appended { uid_validity, uid }) => {
                if let Some(selected) = self.selected.as_mut().filter(|selected| selected.folder == folder) {
                    selected.expect_changes();
                    self.tell_what_is_known().await;
                }
                Status::ok("message stored").with(Code::AppendUid { uid_validity, uid })
            }
            Err(error) => match no_folder(error) {
                Failure::Status(status) => status,
                Failure::Connection(error) => failure::status(MailboxError::Internal(error.to_string())),
            },
        };
        self.server.finish(status);
    }
}

/// A folder that a message is to go to and that is missing: the client may make it (RFC 3501 §6.3.11).
pub(super) fn no_folder(error: MailboxError) -> Failure {
    match error {
        MailboxError::NotFound => Status::no("there is no such mailbox").with(Code::TryCreate).into(),
        error => error.into(),
    }
}
