//! The selected mailbox: opening it, keeping its view true, telling its news.

use postroad_wire_imap::command::Select;
use postroad_wire_imap::sequence::SequenceSet;
use postroad_wire_imap::view::{Message, Numbered};
use postroad_wire_imap::{Code, Flags, Status, Untagged, View};

use super::driver::{Driver, Failure, Outcome};
use super::fetch::Structures;
use crate::idle::Watch;
use crate::mailbox::{Change, Changes, MailboxError, MessageInfo, UidRange};

pub(super) struct Selected {
    pub(super) folder: String,
    pub(super) uid_validity: u32,
    pub(super) read_only: bool,
    pub(super) view: View,
    /// All changes up to this are in the view.
    mod_seq: u64,
    /// There are, or may be, changes that are not.
    is_stale: bool,
    pub(super) structures: Structures,
}

impl Selected {
    /// What a call of this session has changed itself.
    pub(super) fn learn(&mut self, changed: Vec<MessageInfo>, silently: bool) {
        let messages: Vec<Message> =
            changed.iter().map(|info| message(info, self.recent(info.uid))).collect();
        if silently { self.view.learn_silently(messages) } else { self.view.learn(messages, &[]) }
    }

    /// `\Recent` is settled when the session first hears of a message.
    fn recent(&self, uid: u32) -> bool {
        self.view.get(uid).is_some_and(|(_, known)| known.recent)
    }

    fn learn_changes(&mut self, changes: Changes) {
        let first_recent = if self.read_only { u32::MAX } else { changes.numbers.first_recent_uid };
        let expunged: Vec<(u32, u32)> = changes.expunged.iter().map(|r| (r.first, r.last)).collect();
        let messages: Vec<Message> = changes
            .changed
            .iter()
            .map(|info| message(info, self.recent(info.uid) || info.uid >= first_recent))
            .collect();
        self.view.learn(messages, &expunged);
        self.mod_seq = self.mod_seq.max(changes.numbers.highest_mod_seq);
    }

    /// The messages of a set that the client named.
    pub(super) fn resolve(&self, set: &SequenceSet, by_uid: bool) -> Result<Vec<Numbered>, Failure> {
        self.view.resolve(set, by_uid).map_err(|error| Failure::Status(Status::bad(error.to_string())))
    }

    /// This session changed the mailbox in a way that it hears of through the log only.
    pub(super) fn expect_changes(&mut self) {
        self.is_stale = true;
    }
}

fn message(info: &MessageInfo, recent: bool) -> Message {
    Message {
        uid: info.uid,
        flags: Flags::from_names(info.flags.iter().map(String::as_str)),
        mod_seq: info.mod_seq,
        recent,
        size: info.size,
        internal_date_us: info.internal_date_us,
    }
}

/// Ranges for the mailbox of messages in uid order.
pub(super) fn ranges(messages: &[Numbered]) -> Vec<UidRange> {
    UidRange::from_rising(messages.iter().map(|message| message.uid))
}

impl Driver {
    pub(super) async fn select(&mut self, command: Select) -> Outcome {
        let account = self.account()?;
        if self.selected.take().is_some() {
            self.server
                .untagged(&Untagged::Condition(Status::ok("the other mailbox is closed").with(Code::Closed)));
        }
        if self.watch.is_none() {
            // Before the folder is opened, so that nothing between the two is missed.
            self.watch = Some(Watch::start(self.context.mailbox.clone(), account).await);
        }
        let opened = self.context.mailbox.open_folder(account, &command.mailbox, !command.read_only).await?;
        let numbers = opened.numbers;
        let recent = |info: &MessageInfo| info.uid >= numbers.first_recent_uid;
        let view = View::new(opened.messages.iter().map(|info| message(info, recent(info))));
        self.announce(
            &view,
            command.read_only,
            numbers.uid_validity,
            numbers.uid_next,
            numbers.highest_mod_seq,
        );
        self.selected = Some(Selected {
            folder: command.mailbox,
            uid_validity: numbers.uid_validity,
            read_only: command.read_only,
            view,
            mod_seq: numbers.highest_mod_seq,
            is_stale: false,
            structures: Structures::default(),
        });
        self.server.selected();
        Ok(match command.read_only {
            true => Status::ok("mailbox selected for reading").with(Code::ReadOnly),
            false => Status::ok("mailbox selected").with(Code::ReadWrite),
        })
    }

    /// What RFC 3501 §6.3.1 wants to be said about a mailbox that is selected.
    fn announce(&mut self, view: &View, read_only: bool, uid_validity: u32, uid_next: u32, mod_seq: u64) {
        let in_use = view.flags_in_use();
        self.server.untagged(&Untagged::Flags(in_use.clone()));
        self.server.untagged(&Untagged::Exists(view.exists()));
        self.server.untagged(&Untagged::Recent(view.recent()));
        let permanent = match read_only {
            true => Code::PermanentFlags { flags: Flags::default(), keywords: false },
            false => Code::PermanentFlags { flags: in_use, keywords: true },
        };
        let unseen = view.first_unseen().map(|number| (Code::Unseen(number), "the first unseen message"));
        let conditions = [
            unseen,
            Some((Code::UidValidity(uid_validity), "uids are valid")),
            Some((Code::UidNext(uid_next), "the next uid")),
            Some((permanent, "flags that are kept")),
            Some((Code::HighestModSeq(mod_seq), "the highest mod-sequence")),
        ];
        for (code, text) in conditions.into_iter().flatten() {
            self.server.untagged(&Untagged::Condition(Status::ok(text).with(code)));
        }
    }

    pub(super) fn selected_mut(&mut self) -> Result<&mut Selected, Failure> {
        self.selected.as_mut().ok_or_else(|| Failure::Status(Status::bad("select a mailbox first")))
    }

    /// As [`Driver::selected_mut`], for commands that change messages.
    pub(super) fn writable(&mut self) -> Result<&mut Selected, Failure> {
        let selected = self.selected_mut()?;
        match selected.read_only {
            true => {
                Err(Failure::Status(Status::no("the mailbox is open for reading only").with(Code::ReadOnly)))
            }
            false => Ok(selected),
        }
    }

    /// Takes note of news; whether they are of the selected mailbox.
    pub(super) fn note(&mut self, change: &Change) {
        let Some(selected) = &mut self.selected else { return };
        match change {
            Change::Folder { name, mod_seq } => {
                selected.is_stale |= *name == selected.folder && *mod_seq > selected.mod_seq;
            }
            Change::Unknown | Change::Folders => selected.is_stale = true,
        }
    }

    /// Brings the view up to date if there are news, or in any case if `surely`: news may still be on their way.
    pub(super) async fn refresh(&mut self, surely: bool) -> Result<(), MailboxError> {
        let watched = self.watch.as_ref().is_some_and(Watch::stands);
        let (Some(selected), Some(login)) = (&mut self.selected, &self.login) else { return Ok(()) };
        if !surely && watched && !selected.is_stale {
            return Ok(());
        }
        // What happens from here on is news again.
        selected.is_stale = false;
        let (folder, uid_validity) = (selected.folder.clone(), selected.uid_validity);
        let changes =
            self.context.mailbox.changes(login.account, &folder, uid_validity, selected.mod_seq).await;
        match changes {
            Ok(changes) => selected.learn_changes(changes),
            Err(MailboxError::UidValidityChanged | MailboxError::NotFound) => {
                self.selected = None;
                self.server.mailbox_lost();
            }
            Err(error) => {
                selected.is_stale = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tells what the view has learned and the client has not.
    pub(super) fn tell(&mut self, may_expunge: bool) {
        let mod_seqs = self.server.condstore();
        let Some(selected) = &mut self.selected else { return };
        for response in selected.view.tell(may_expunge, mod_seqs) {
            self.server.untagged(&response);
        }
    }

    /// Before a command that uses the view: what is known to have changed is told, so that it counts.
    pub(super) async fn catch_up(&mut self, may_expunge: bool) -> Result<(), Failure> {
        self.refresh(false).await?;
        self.tell(may_expunge);
        Ok(())
    }

    /// After a command that may have changed the selected mailbox through another name.
    pub(super) async fn tell_news(&mut self, surely: bool) -> Result<(), MailboxError> {
        self.refresh(surely).await?;
        self.tell(true);
        Ok(())
    }

    pub(super) async fn noop(&mut self) -> Outcome {
        self.tell_news(true).await?;
        Ok(Status::ok("nothing more is new"))
    }

    /// What is new, for a client that idles or after a command that is done: a mailbox that does not answer has no
    /// news then, they come when it does.
    pub(super) async fn tell_what_is_known(&mut self) {
        if let Err(error) = self.tell_news(false).await {
            tracing::debug!(%error, "news can't be read now");
        }
    }

    pub(super) async fn close_folder(&mut self) -> Outcome {
        let account = self.account()?;
        if let Some(selected) = self.selected.take().filter(|selected| !selected.read_only) {
            let Selected { folder, uid_validity, .. } = selected;
            self.context.mailbox.expunge(account, &folder, uid_validity, None).await?;
        }
        Ok(Status::ok("mailbox closed"))
    }
}
