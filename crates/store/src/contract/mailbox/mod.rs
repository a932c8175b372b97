//! What every mailbox store must do. `mailbox_contract!(make)` makes a test of each case; `make` is an
//! expression of a future that gives a [`Stage`].

mod flags;
mod folders;
mod messages;
mod watching;

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postroad_types::AccountId;

use crate::error::StoreError;
use crate::mailbox::{BodySource, Flags, FolderName, MailboxStore, NewMail, Stored, UidRange};

pub use flags::*;
pub use folders::*;
pub use messages::*;
pub use watching::*;

/// An empty store and two accounts that it may be asked for.
pub struct Stage {
    pub store: Arc<dyn MailboxStore>,
    pub alice: AccountId,
    pub bob: AccountId,
    /// What must live as long as the store: a temporary directory.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage(accounts {}, {})", self.alice, self.bob)
    }
}

#[macro_export]
macro_rules! mailbox_contract {
    ($make:expr) => {
        $crate::mailbox_contract!(@each $make;
            a_message_is_read_back_byte_for_byte, numbers_rise_and_hold, a_delivery_is_kept_once_by_its_key,
            one_key_in_many_calls_at_once_is_one_message, the_key_outlives_the_message,
            a_quota_is_a_bound_for_all_folders, a_body_that_ends_before_its_size_leaves_nothing,
            a_large_message_is_read_in_pieces, many_deliveries_at_once_get_numbers_of_their_own,
            accounts_do_not_see_each_other, a_purge_leaves_nothing,
            flags_are_set_added_and_removed, unchanged_since_leaves_what_is_newer,
            expunge_takes_only_the_deleted, changes_tell_what_is_new_changed_and_gone, ranges_mean_what_imap_means,
            recent_is_taken_once, a_wrong_uid_validity_is_refused,
            inbox_is_always_there, folders_are_made_with_the_levels_above, a_folder_with_others_below_stays_as_a_name,
            a_folder_made_anew_has_a_greater_uid_validity, a_renamed_folder_keeps_its_messages,
            renaming_inbox_moves_its_messages_only, names_of_all_kinds_are_kept,
            subscriptions_outlive_the_folder, a_folder_that_is_not_there_is_said_so,
            copies_are_new_messages, moved_messages_are_gone_here_and_there_there,
            watchers_hear_of_changes,
        );
    };
    (@each $make:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let stage = $make.await;
                $crate::contract::mailbox::$case(&stage).await;
            }
        )*
    };
}

/// A body in memory.
#[derive(Debug)]
pub struct Octets(pub Bytes);

#[async_trait]
impl BodySource for Octets {
    fn size_octets(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let start = (offset as usize).min(self.0.len());
        Ok(self.0.slice(start..start.saturating_add(length).min(self.0.len())))
    }
}

pub fn name(text: &str) -> FolderName {
    text.parse().unwrap()
}

pub const ALL: [UidRange; 1] = [UidRange { first: 1, last: u32::MAX }];

pub fn one(uid: u32) -> [UidRange; 1] {
    [UidRange { first: uid, last: uid }]
}

pub fn mail(folder: &str) -> NewMail {
    NewMail {
        folder: name(folder),
        flags: Flags::default(),
        internal_date: 1_700_000_000_123_456,
        trace_id: None,
        key: None,
        quota_octets: 0,
        prefix: Bytes::new(),
    }
}

impl Stage {
    /// Appends a text to a folder of alice's.
    pub async fn put(&self, folder: &str, text: &str) -> Stored {
        let body = Octets(Bytes::copy_from_slice(text.as_bytes()));
        self.store.store(self.alice, mail(folder), &body).await.unwrap()
    }

    pub async fn text(&self, folder: &str, uid: u32) -> String {
        let octets = self.store.read(self.alice, &name(folder), uid, 0, usize::MAX).await.unwrap();
        String::from_utf8(octets.to_vec()).unwrap()
    }

    pub async fn uids(&self, folder: &str) -> Vec<u32> {
        let infos = self.store.infos(self.alice, &name(folder), 0, &ALL).await.unwrap();
        infos.iter().map(|info| info.uid).collect()
    }

    pub async fn mod_seq(&self, folder: &str) -> u64 {
        self.store.numbers(self.alice, &name(folder)).await.unwrap().highest_mod_seq
    }

    pub async fn folder_names(&self) -> Vec<String> {
        let folders = self.store.folders(self.alice).await.unwrap();
        folders.iter().map(|folder| folder.name.to_string()).collect()
    }
}
