//! On submission, who stands in From or Sender is the account or someone it may write for (RFC 6409 §6.1, §8.1).
//!
//! From may name others when Sender is the account's own: a secretary writes for the boss (RFC 5322 §3.6.2).

use postroad_config::CheckAction;
use postroad_mime::address::parse_list;
use postroad_types::{Address, limits::SUBMISSION_AUTHORS_MAX};

use crate::consignment::reply;
use crate::directory::{Account, CachedDirectory};
use crate::message::header;
use crate::policy::try_later;
use crate::policy::verdict::Finding;

const CHECK: &str = "author";

pub(super) async fn check(
    action: CheckAction,
    account: &Account,
    head: &[u8],
    directory: &CachedDirectory,
) -> Finding {
    if action == CheckAction::Off {
        return Finding::clean(CHECK);
    }
    let fields: Vec<_> =
        header::fields(head).filter(|field| field.is("From") || field.is("Sender")).collect();
    if fields.is_empty() {
        // It gets one with the envelope's sender, which belongs to the account.
        return Finding::clean(CHECK);
    }
    if fields.iter().filter(|field| field.is("From")).count() > 1 {
        let text = "the message has more than one From, see RFC 5322 section 3.6";
        return Finding::refuse(CHECK, reply(550, (5, 6, 0), text));
    }
    let authors: Vec<Address> =
        fields.iter().flat_map(|field| parse_list(field.value)).filter_map(|entry| address(&entry)).collect();
    for author in authors.iter().take(SUBMISSION_AUTHORS_MAX) {
        match directory.may_send(account.id, author).await {
            Ok(true) => return Finding::clean(CHECK),
            Ok(false) => {}
            Err(error) => return Finding::refuse(CHECK, try_later(&error)),
        }
    }
    let shown = match authors.first() {
        Some(author) => author.to_string(),
        None => "nobody".to_owned(),
    };
    Finding::by(action, CHECK, (5, 7, 1), format!("{} may not write as {shown} (From)", account.address))
}

fn address(entry: &postroad_mime::EnvelopeAddress) -> Option<Address> {
    let (local, host) = (entry.mailbox.as_deref()?, entry.host.as_deref()?);
    let (local, host) = (std::str::from_utf8(local).ok()?, std::str::from_utf8(host).ok()?);
    let plain = format!("{local}@{host}").parse();
    plain.or_else(|_| format!("\"{}\"@{host}", local.replace('\\', "\\\\").replace('"', "\\\"")).parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::fake::FakeDirectory;
    use postroad_types::AccountId;

    #[tokio::test]
    async fn from_or_sender_belongs_to_the_account() {
        let fake = FakeDirectory::new().account("alice@a.test", "x").account("bob@a.test", "x");
        let directory = CachedDirectory::new(fake.clone());
        let alice = Account { id: AccountId(1), address: "alice@a.test".into() };
        for (head, verdict) in [
            ("From: alice@a.test\r\n", "pass"),
            ("From: \"A, B\" <alice@a.test>\r\n", "pass"),
            ("From: bob@a.test, alice@a.test\r\n", "pass"),
            ("Subject: x\r\n", "pass"),
            ("From: bob@a.test\r\nSender: alice@a.test\r\n", "pass"),
            ("From: bob@a.test\r\n", "refuse"),
            ("From: alice@a.test <bob@a.test>\r\n", "refuse"),
            ("From: \"alice@a.test\" <x@b.test>\r\nSender: x@b.test\r\n", "refuse"),
            ("From: alice@a.test\r\nFrom: bob@a.test\r\n", "refuse"),
            ("From: nonsense\r\n", "refuse"),
        ] {
            let finding = check(CheckAction::Refuse, &alice, head.as_bytes(), &directory).await;
            assert_eq!(finding.verdict.name(), verdict, "{head:?}: {finding:?}");
        }
        let off = check(CheckAction::Off, &alice, b"From: bob@a.test\r\n", &directory).await;
        assert_eq!(off.verdict.name(), "pass");
        fake.set_down(true);
        let down = check(CheckAction::Refuse, &alice, b"From: bob@a.test\r\n", &directory).await;
        assert_eq!(down.verdict.name(), "defer");
    }
}
