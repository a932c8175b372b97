//! Which reports a sender gets, and which it does not (RFC 3461, RFC 2852).

use std::time::Duration;

use postroad_store::spool::NewEnvelope;
use postroad_types::{ByMode, DeliverBy, Notify, Ret};

use super::{LATER, NO_SUCH, notices};
use crate::consignment::Handover;
use crate::testing::{Does, World, world};

const MAIL: &[u8] = b"Subject: hello\r\nMessage-ID: <1@alpha.test>\r\n\r\nsecret body\r\n";
const SUCCESS: Notify = Notify::On { success: true, failure: false, delay: false };

async fn send(world: &World, to: &str, notify: Notify, change: impl FnOnce(&mut NewEnvelope)) {
    let with = |envelope: &mut NewEnvelope| {
        for recipient in &mut envelope.recipients {
            recipient.notify = notify;
        }
        change(envelope);
    };
    world.send_with("alice@alpha.test", &[to], MAIL, with).await;
}

#[tokio::test(start_paused = true)]
async fn success_is_told_to_whom_asks() {
    let world = world().await;
    send(&world, "bob@alpha.test", SUCCESS, |envelope| {
        envelope.envelope_id = Some("my id".into());
        envelope.options.ret = Some(Ret::Full);
        envelope.recipients[0].original = Some("rfc822;Bob@alpha.test".into());
    })
    .await;
    send(&world, "bob@alpha.test", Notify::Unsaid, |_| {}).await;
    world.until_empty().await;
    let notices = notices(&world);
    assert_eq!(notices.len(), 1, "{notices:?}");
    for expected in [
        "Original-Envelope-Id: my id\r\n",
        "Original-Recipient: rfc822;Bob@alpha.test\r\nFinal-Recipient: rfc822; bob@alpha.test\r\n",
        "Action: delivered\r\nStatus: 2.0.0\r\n",
        "It lies in the mailbox",
    ] {
        assert!(notices[0].contains(expected), "{expected:?} is missing in {}", notices[0]);
    }
    assert!(!notices[0].contains("secret body"), "RET speaks of failures only: {}", notices[0]);
}

#[tokio::test(start_paused = true)]
async fn who_reports_depends_on_what_the_next_host_knows() {
    for (handover, reports) in [(Handover::Host, 1), (Handover::DsnHost, 0)] {
        let world = world().await;
        *world.hosts.handover.lock().unwrap() = handover;
        send(&world, "carol@beta.test", SUCCESS, |_| {}).await;
        world.until_empty().await;
        let notices = notices(&world);
        assert_eq!(notices.len(), reports, "{handover:?}");
        assert!(notices.iter().all(|notice| notice.contains("Action: relayed\r\n")), "{notices:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_unless_the_sender_does_not_want_to_hear() {
    for (notify, told) in [(Notify::Unsaid, 1), (Notify::Never, 0), (SUCCESS, 0)] {
        let world = world().await;
        world.hosts.script("gone@beta.test", &[NO_SUCH]);
        send(&world, "gone@beta.test", notify, |_| {}).await;
        world.until_empty().await;
        assert_eq!(notices(&world).len(), told, "{notify:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_are_told_unless_the_sender_does_not_want_to_hear() {
    let failures = Notify::On { success: false, failure: true, delay: false };
    for (notify, told) in [(Notify::Unsaid, 2), (failures, 1)] {
        let world = world().await;
        world.hosts.script("slow@beta.test", &[LATER]);
        send(&world, "slow@beta.test", notify, |_| {}).await;
        world.until_empty().await;
        assert_eq!(notices(&world).len(), told, "{notify:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ret_decides_what_comes_back() {
    for (ret, secret, whole) in
        [(None, false, false), (Some(Ret::Full), false, true), (Some(Ret::Full), true, false)]
    {
        let world = world().await;
        world.hosts.script("gone@beta.test", &[NO_SUCH]);
        send(&world, "gone@beta.test", Notify::Unsaid, |envelope| {
            envelope.options.ret = ret;
            envelope.options.require_tls = secret;
        })
        .await;
        world.until_empty().await;
        let notice = notices(&world).remove(0);
        assert_eq!(notice.contains("secret body"), whole, "{ret:?} {secret}: {notice}");
        assert_eq!(notice.contains("Content-Type: message/rfc822\r\n"), whole, "{notice}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_is_reported_once_and_its_members_are_silent() {
    let world = world().await;
    world.mda.script("list@alpha.test", &[Does::StandsFor(vec!["bob@alpha.test", "carol@beta.test"])]);
    send(&world, "list@alpha.test", SUCCESS, |_| {}).await;
    world.until_empty().await;
    let notices = notices(&world);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("Action: expanded\r\n") && notices[0].contains("list@alpha.test"),
        "{}",
        notices[0]
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_that_stands_for_one_other_keeps_its_wishes() {
    let world = world().await;
    world.mda.script("info@alpha.test", &[Does::StandsFor(vec!["bob@alpha.test"])]);
    send(&world, "info@alpha.test", SUCCESS, |_| {}).await;
    world.until_empty().await;
    let notices = notices(&world);
    assert_eq!(notices.len(), 1, "{notices:?}");
    let expected = "Original-Recipient: rfc822; info@alpha.test\r\nFinal-Recipient: rfc822; bob@alpha.test\r\nAction: delivered";
    assert!(notices[0].contains(expected), "{}", notices[0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_late_is_returned_or_told_about_as_its_sender_wants() {
    for (mode, action) in [(ByMode::Return, "Action: failed\r\nStatus: 5.4.7"), (ByMode::Notify, "delayed")] {
        let world = world().await;
        world.hosts.script("slow@beta.test", &[LATER]);
        send(&world, "slow@beta.test", Notify::Unsaid, |envelope| {
            let at = envelope.accepted_at + 100_000_000;
            envelope.options.deliver_by = Some(DeliverBy { at, mode, trace: false });
            if mode == ByMode::Return {
                envelope.expires_at = at;
            }
        })
        .await;
        tokio::time::sleep(Duration::from_secs(110)).await;
        let notices = notices(&world);
        assert_eq!(notices.len(), 1, "{mode:?}");
        assert!(notices[0].contains(action), "{mode:?}: {}", notices[0]);
        assert_eq!(world.messages().await.is_empty(), mode == ByMode::Return);
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_trace_hears_of_each_host() {
    let world = world().await;
    *world.hosts.handover.lock().unwrap() = Handover::DsnHost;
    send(&world, "carol@beta.test", Notify::Unsaid, |envelope| {
        let at = envelope.accepted_at + 100_000_000;
        envelope.options.deliver_by = Some(DeliverBy { at, mode: ByMode::Notify, trace: true });
    })
    .await;
    world.until_empty().await;
    assert!(notices(&world)[0].contains("Action: relayed\r\n"));
}
