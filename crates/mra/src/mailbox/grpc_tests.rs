//! The client against a scripted mda.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use postroad_rpc::v1::{self, fetch_reply::Item};
use postroad_types::AccountId;
use tonic::Status;

use super::{
    AppendMessage, Appended, Change, FetchItem, FetchRequest, GrpcMailbox, MailboxClient, MailboxError, Part,
    UidRange,
};
use crate::testing::rpc::{Script, play};

const BOB: AccountId = AccountId(7);

fn fetch_request() -> FetchRequest {
    FetchRequest {
        folder: "INBOX".to_owned(),
        uid_validity: 9,
        uids: vec![UidRange { first: 2, last: UidRange::HIGHEST }],
        part: Part::Full,
        offset: 5,
        length: 10,
    }
}

fn item(item: Item) -> Result<v1::FetchReply, Status> {
    Ok(v1::FetchReply { item: Some(item) })
}

#[tokio::test]
async fn a_fetch_is_streamed_and_ends_with_its_first_error() {
    let info = v1::MessageInfo { uid: 2, size: 3, trace_id: "no trace id".to_owned(), ..Default::default() };
    let script = Script {
        fetch: vec![
            item(Item::Info(info)),
            item(Item::Chunk(Bytes::from_static(b"abc"))),
            item(Item::End(true)),
            Err(Status::unavailable("disk")),
        ],
        ..Script::default()
    };
    let (channel, script, _mda) = play(script);
    let items = GrpcMailbox::new(channel).fetch(BOB, fetch_request()).await.unwrap();
    let items: Vec<_> = items.collect().await;
    let [Ok(FetchItem::Message(info)), rest @ ..] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!((info.uid, info.size, info.trace), (2, 3, None));
    assert_eq!(
        rest,
        [
            Ok(FetchItem::Chunk(Bytes::from_static(b"abc"))),
            Ok(FetchItem::End),
            Err(MailboxError::Unavailable("disk".to_owned()))
        ]
    );
    let asked = script.fetched.lock().unwrap();
    assert_eq!(asked[0].uids, [v1::UidRange { first: 2, last: u32::MAX }]);
    assert_eq!((asked[0].account_id, asked[0].uid_validity, asked[0].offset, asked[0].length), (7, 9, 5, 10));
    assert_eq!(asked[0].part(), v1::fetch_request::Part::Full);
}

#[tokio::test]
async fn a_folder_comes_in_pieces_or_not_at_all() {
    let messages =
        |uids: &[u32]| uids.iter().map(|&uid| v1::MessageInfo { uid, ..Default::default() }).collect();
    let numbers = v1::FolderNumbers { uid_validity: 9, ..Default::default() };
    let first = v1::OpenFolderReply { numbers: Some(numbers), messages: messages(&[1, 2]) };
    let more = v1::OpenFolderReply { numbers: None, messages: messages(&[5]) };
    let (channel, _script, _mda) =
        play(Script { folder: vec![Ok(first.clone()), Ok(more.clone())], ..Script::default() });
    let folder = GrpcMailbox::new(channel).open_folder(BOB, "INBOX", false).await.unwrap();
    assert_eq!(folder.messages.iter().map(|m| m.uid).collect::<Vec<_>>(), [1, 2, 5]);
    assert_eq!(folder.numbers.uid_validity, 9);

    for folder in [vec![Ok(first), Err(Status::unavailable("disk"))], vec![Ok(more)], vec![]] {
        let (channel, _script, _mda) = play(Script { folder, ..Script::default() });
        assert!(GrpcMailbox::new(channel).open_folder(BOB, "INBOX", false).await.is_err());
    }
}

#[tokio::test]
async fn an_append_sends_its_start_and_then_its_octets() {
    let (channel, script, _mda) = play(Script::default());
    let message = AppendMessage {
        folder: "Sent".to_owned(),
        flags: vec!["\\Seen".to_owned()],
        internal_date_us: None,
        size: 5,
    };
    let body = stream::iter([Bytes::from_static(b"abc"), Bytes::from_static(b"de")]).boxed();
    let appended = GrpcMailbox::new(channel).append(BOB, message, body).await;
    assert_eq!(appended, Ok(Appended { uid_validity: 9, uid: 4 }));
    let parts: Vec<_> = script.appended.lock().unwrap().drain(..).map(|request| request.part).collect();
    let start = v1::AppendStart {
        account_id: 7,
        folder: "Sent".to_owned(),
        flags: vec!["\\Seen".to_owned()],
        internal_date_us: 0,
        size: 5,
    };
    use v1::append_request::Part::{Chunk, Start};
    let chunk = |octets| Some(Chunk(Bytes::from_static(octets)));
    assert_eq!(parts, [Some(Start(start)), chunk(b"abc"), chunk(b"de")]);
}

#[tokio::test]
async fn expunging_no_uids_expunges_nothing() {
    let (channel, script, _mda) = play(Script::default());
    let mailbox = GrpcMailbox::new(channel);
    assert!(mailbox.expunge(BOB, "INBOX", 9, Some(Vec::new())).await.unwrap().uids.is_empty());
    assert!(script.expunges.lock().unwrap().is_empty());
    assert_eq!(mailbox.expunge(BOB, "INBOX", 9, None).await.unwrap().uids, [1]);
}

#[tokio::test]
async fn a_watch_tells_until_it_breaks() {
    let folder = v1::WatchReply { folder: "INBOX".to_owned(), mod_seq: 3, folders_changed: false };
    let watch = vec![Ok(v1::WatchReply::default()), Ok(folder), Err(Status::unavailable("going down"))];
    let (channel, _script, _mda) = play(Script { watch, ..Script::default() });
    let news: Vec<_> = GrpcMailbox::new(channel).watch(BOB).await.unwrap().collect().await;
    assert_eq!(
        news,
        [
            Ok(Change::Unknown),
            Ok(Change::Folder { name: "INBOX".to_owned(), mod_seq: 3 }),
            Err(MailboxError::Unavailable("going down".to_owned()))
        ]
    );
}

#[tokio::test]
async fn without_an_mda_a_call_says_that_it_may_work_later() {
    let (channel, _script, mda) = play(Script::default());
    drop(mda);
    let opened = GrpcMailbox::new(channel).open_folder(BOB, "INBOX", false).await;
    assert!(matches!(opened, Err(MailboxError::Unavailable(_))), "{opened:?}");
}
