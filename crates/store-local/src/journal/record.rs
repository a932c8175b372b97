//! What stands in the journal.

use std::path::PathBuf;

use postroad_store::StoreError;
use postroad_store::mailbox::Flags;
use postroad_store::spool::Micros;
use serde::{Deserialize, Serialize};

/// A delivery with all that its file and its index row need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The account's directory within the mailbox directory, and its number.
    pub home: PathBuf,
    pub account: u64,
    /// The folder, whatever it is called by now, and the UID in it.
    pub uid_validity: u32,
    pub uid: u32,
    pub base: String,
    pub in_new: bool,
    pub flags: StoredFlags,
    pub internal_date: Micros,
    /// When it was delivered, for the delivery key.
    pub at: Micros,
}

/// [`Flags`] in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFlags {
    system: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keywords: Vec<String>,
}

impl From<&Flags> for StoredFlags {
    fn from(flags: &Flags) -> Self {
        let bits = [flags.answered, flags.flagged, flags.deleted, flags.seen, flags.draft];
        let system = bits.iter().enumerate().map(|(i, set)| u8::from(*set) << i).sum();
        StoredFlags { system, keywords: flags.keywords.clone() }
    }
}

impl From<&StoredFlags> for Flags {
    fn from(stored: &StoredFlags) -> Self {
        let bit = |i: u8| stored.system & 1 << i != 0;
        Flags {
            answered: bit(0),
            flagged: bit(1),
            deleted: bit(2),
            seen: bit(3),
            draft: bit(4),
            keywords: stored.keywords.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Head {
    Mail(Mail),
    Cancel { account: u64, uid_validity: u32, uid: u32 },
    Purge { account: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// This mail, with its octets, was promised to be there.
    Mail(Mail, Vec<u8>),
    /// A mail from before was not stored after all.
    Cancel { account: u64, uid_validity: u32, uid: u32 },
    /// Everything from before of this account is gone.
    Purge { account: u64 },
}

impl Record {
    /// Head as JSON behind its length, then the octets as they are.
    pub fn encode_mail(mail: &Mail, prefix: &[u8], body: &[u8]) -> Result<Vec<u8>, StoreError> {
        encode(&Head::Mail(mail.clone()), prefix, body)
    }

    pub fn encode_cancel(account: u64, uid_validity: u32, uid: u32) -> Result<Vec<u8>, StoreError> {
        encode(&Head::Cancel { account, uid_validity, uid }, &[], &[])
    }

    pub fn encode_purge(account: u64) -> Result<Vec<u8>, StoreError> {
        encode(&Head::Purge { account }, &[], &[])
    }

    pub fn decode(payload: &[u8]) -> Option<Record> {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (head, octets) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(match serde_json::from_slice(head).ok()? {
            Head::Mail(mail) => Record::Mail(mail, octets.to_vec()),
            Head::Cancel { account, uid_validity, uid } => Record::Cancel { account, uid_validity, uid },
            Head::Purge { account } => Record::Purge { account },
        })
    }
}

fn encode(head: &Head, prefix: &[u8], body: &[u8]) -> Result<Vec<u8>, StoreError> {
    let head = serde_json::to_vec(head).map_err(|e| StoreError::Invalid(format!("a journal record: {e}")))?;
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let mut payload = Vec::with_capacity(4 + head.len() + prefix.len() + body.len());
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(&head);
    payload.extend_from_slice(prefix);
    payload.extend_from_slice(body);
    Ok(payload)
}

/// Records in their order, without those that a later one takes back.
pub fn in_force(records: Vec<Record>) -> Vec<(Mail, Vec<u8>)> {
    let mut kept: Vec<(Mail, Vec<u8>)> = Vec::new();
    for record in records {
        match record {
            Record::Mail(mail, octets) => kept.push((mail, octets)),
            Record::Cancel { account, uid_validity, uid } => {
                kept.retain(|(m, _)| (m.account, m.uid_validity, m.uid) != (account, uid_validity, uid));
            }
            Record::Purge { account } => kept.retain(|(mail, _)| mail.account != account),
        }
    }
    kept
}
