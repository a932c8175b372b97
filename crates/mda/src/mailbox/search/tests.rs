//! Keys against a mailbox of three messages.

use bytes::Bytes;
use postroad_store::mailbox::{BodySource, Flags, NewMail};
use postroad_store::memory::MemoryMailboxes;

use super::*;

struct Text(&'static str);

#[async_trait::async_trait]
impl BodySource for Text {
    fn size_octets(&self) -> u64 {
        self.0.len() as u64
    }
    async fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let octets = self.0.as_bytes();
        let from = (offset as usize).min(octets.len());
        Ok(Bytes::from_static(&octets[from..(from + length).min(octets.len())]))
    }
}

async fn found(key: WireKey) -> Vec<u32> {
    let mailboxes = MemoryMailboxes::new();
    let account = AccountId(1);
    let seen = Flags { seen: true, keywords: vec!["$Work".into()], ..Flags::default() };
    // 2026-11-20 and the two days after.
    let texts = [
        ("Subject: apples\r\n\r\nred\r\n", seen),
        ("Subject: pears\r\n\r\ngreen like apples are not\r\n", Flags::default()),
        ("Subject: plums\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\nblue\r\n", Flags::default()),
    ];
    for (day, (text, flags)) in texts.into_iter().enumerate() {
        let mail = NewMail {
            folder: FolderName::inbox(),
            flags,
            internal_date: (1_795_132_800 + day as i64 * 86_400) * 1_000_000,
            trace_id: None,
            key: None,
            quota_octets: 0,
            prefix: Bytes::new(),
        };
        mailboxes.store(account, mail, &Text(text)).await.unwrap();
    }
    let uid_validity = mailboxes.numbers(account, &FolderName::inbox()).await.unwrap().uid_validity;
    let key = Some(v1::SearchKey { key: Some(key) });
    let request = v1::SearchRequest { account_id: 1, folder: "INBOX".into(), uid_validity, key };
    run(&mailboxes, request).await.unwrap().uids
}

fn key(key: WireKey) -> v1::SearchKey {
    v1::SearchKey { key: Some(key) }
}

#[tokio::test]
async fn what_the_index_knows() {
    assert_eq!(found(WireKey::All(true)).await, [1, 2, 3]);
    assert_eq!(found(WireKey::Flag("\\Seen".into())).await, [1]);
    assert_eq!(found(WireKey::Flag("$WORK".into())).await, [1]);
    assert_eq!(found(WireKey::NoFlag("\\Seen".into())).await, [2, 3]);
    assert_eq!(found(WireKey::Since("2026-11-21".into())).await, [2, 3]);
    assert_eq!(found(WireKey::Before("2026-11-21".into())).await, [1]);
    assert_eq!(found(WireKey::On("2026-11-22".into())).await, [3]);
    assert_eq!(found(WireKey::Smaller(30)).await, [1]);
    let star = v1::search_key::Uids { ranges: vec![v1::UidRange { first: u32::MAX, last: u32::MAX }] };
    assert_eq!(found(WireKey::Uids(star)).await, [3]);
}

#[tokio::test]
async fn what_needs_the_message() {
    let subject = v1::search_key::Header { name: "Subject".into(), text: "APPLES".into() };
    assert_eq!(found(WireKey::Header(subject)).await, [1]);
    assert_eq!(found(WireKey::Text("apples".into())).await, [1, 2]);
    assert_eq!(found(WireKey::Body("apples".into())).await, [2]);
    assert_eq!(found(WireKey::SentOn("2026-11-02".into())).await, [3]);
}

#[tokio::test]
async fn combinations_mix_index_and_text() {
    let unseen = key(WireKey::NoFlag("\\Seen".into()));
    let apples = key(WireKey::Text("apples".into()));
    let both = v1::search_key::List { keys: vec![unseen.clone(), apples.clone()] };
    assert_eq!(found(WireKey::And(both.clone())).await, [2]);
    assert_eq!(found(WireKey::Or(both.clone())).await, [1, 2, 3]);
    assert_eq!(found(WireKey::Not(Box::new(key(WireKey::And(both))))).await, [1, 3]);
    let nothing = v1::search_key::List { keys: Vec::new() };
    assert_eq!(found(WireKey::Or(nothing)).await, Vec::<u32>::new());
}
