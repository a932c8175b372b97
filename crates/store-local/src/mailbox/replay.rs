//! After a crash: the journal's mails are compared with the Maildirs and put right.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use postroad_store::StoreError;
use postroad_store::mailbox::{Flags, MessageInfo};
use postroad_types::AccountId;

use super::account::Writer;
use crate::index::messages::MessageRow;
use crate::index::{self, FolderRow, messages};
use crate::journal::Record;
use crate::journal::record::{self, Mail};
use crate::maildir::file_name::Tags;
use crate::maildir::place::{Draft, path_of};
use crate::maildir::{home, listing};

/// Mails with their octets.
type Mails = Vec<(Mail, Vec<u8>)>;

/// Applies records to the mailboxes under `root`, before anybody uses them.
pub fn apply(root: &Path, records: Vec<Record>) -> Result<(), StoreError> {
    let mut by_home: HashMap<(PathBuf, u64), Mails> = HashMap::new();
    for (mail, octets) in record::in_force(records) {
        by_home.entry((mail.home.clone(), mail.account)).or_default().push((mail, octets));
    }
    let mut restored = 0;
    for ((name, account), mails) in by_home {
        let account = AccountId(account);
        // Set aside or removed since: then so is its mail.
        if home::owner(&root.join(&name))? != Some(account) {
            continue;
        }
        let mut writer = Writer::open(root, &name, account)?;
        for (mail, octets) in mails {
            restored += usize::from(put_right(&mut writer, &mail, &octets)?);
        }
    }
    if restored > 0 {
        tracing::info!(restored, "mail that was delivered before a crash is in its mailboxes again");
    }
    Ok(())
}

/// Returns whether there was anything to do.
fn put_right(w: &mut Writer, mail: &Mail, octets: &[u8]) -> Result<bool, StoreError> {
    let folders = index::folders(w.db()?)?;
    let Some(row) = folders.into_iter().find(|row| row.uid_validity == mail.uid_validity) else {
        return Ok(false);
    };
    let folder = w.folder_path(&row);
    let known = messages::message(w.db()?, row.id, mail.uid)?;
    if known.is_none() && messages::is_expunged(w.db()?, row.id, mail.uid)? {
        return Ok(false);
    }
    let found = listing::find(&folder, &mail.base)?;
    let sound = match &found {
        Some(path) => holds(path, octets)?,
        None => false,
    };
    let flags = known.as_ref().map_or_else(|| Flags::from(&mail.flags), |message| message.info.flags.clone());
    let in_new = match (&found, &known) {
        (Some(path), _) => path.parent().is_some_and(|sub| sub.ends_with("new")),
        (None, Some(message)) => message.in_new,
        (None, None) => mail.in_new,
    };
    if !sound {
        let letters = w.keywords(&row)?.letters(&flags);
        let target = found.unwrap_or_else(|| path_of(&folder, &mail.base, in_new, &letters));
        let mut draft = Draft::begin(&w.home)?;
        draft.write(octets)?;
        draft.place(&target, mail.internal_date)?;
    }
    if known.is_none() {
        add(
            w,
            row,
            mail,
            MessageInfo {
                uid: mail.uid,
                flags,
                size_octets: octets.len() as u64,
                internal_date: mail.internal_date,
                mod_seq: 0,
                trace_id: Tags::parse(&mail.base).trace_id,
            },
            in_new,
        )?;
        return Ok(true);
    }
    Ok(!sound)
}

fn holds(path: &Path, octets: &[u8]) -> Result<bool, StoreError> {
    let found = fs::read(path).map_err(|e| StoreError::io(format_args!("reading {}", path.display()), &e))?;
    Ok(found == octets)
}

fn add(
    w: &mut Writer,
    mut row: FolderRow,
    mail: &Mail,
    mut info: MessageInfo,
    in_new: bool,
) -> Result<(), StoreError> {
    row.uid_next = row.uid_next.max(mail.uid.saturating_add(1));
    row.mod_seq += 1;
    info.mod_seq = row.mod_seq;
    w.reserve(&row, row.uid_next, row.mod_seq)?;
    let message = MessageRow { info, base: mail.base.clone(), in_new };
    w.index()?.commit(|db| {
        messages::add(db, &mut row, &message)?;
        if let Some(key) = Tags::parse(&mail.base).key {
            messages::set_delivered(db, &key, row.uid_validity, mail.uid, mail.at)?;
        }
        index::put_folder(db, &row).map(|_| ())
    })
}
