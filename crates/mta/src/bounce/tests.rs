//! What a notice says, field by field.

use postroad_store::spool::{QueuedRecipient, RecipientState};
use postroad_types::{BodyKind, EnhancedCode, Reply, TraceId};

use super::*;

const DAY: Micros = 86_400_000_000;

fn recipient(address: &str) -> QueuedRecipient {
    QueuedRecipient {
        address: address.parse().unwrap(),
        original: None,
        notify: Default::default(),
        route: None,
        state: RecipientState::Failed,
        attempts: 1,
        next_attempt_at: 0,
        last: None,
    }
}

fn attempt(host: &str, reply: Reply) -> Attempt {
    Attempt { at: DAY, host: host.into(), reply }
}

fn message(smtputf8: bool) -> QueuedMessage {
    QueuedMessage {
        id: QueueId::new(1, 1),
        trace_id: TraceId::new([1; 16]),
        reverse_path: "alice@alpha.test".parse().unwrap(),
        body: BodyKind::SevenBit,
        smtputf8,
        envelope_id: Some("envelope-1".into()),
        options: Default::default(),
        size_octets: 10,
        accepted_at: 0,
        expires_at: 5 * DAY,
        warned: false,
        recipients: Vec::new(),
    }
}

fn built(notice: Notice, smtputf8: bool, recipients: &[(QueuedRecipient, Attempt)], head: &[u8]) -> String {
    let action = match notice {
        Notice::Failed => Action::Failed,
        Notice::Delayed => Action::Delayed,
        Notice::Done => Action::Relayed,
    };
    let concerned: Vec<_> =
        recipients.iter().map(|(recipient, attempt)| Concerned { recipient, attempt, action }).collect();
    let message = message(smtputf8);
    let octets = build(&Original {
        notice,
        message: &message,
        recipients: &concerned,
        head,
        whole: false,
        sender: &"alice@alpha.test".parse().unwrap(),
        hostname: &"mx.alpha.test".parse().unwrap(),
        postmaster: &"postmaster@alpha.test".parse().unwrap(),
        id: &QueueId::new(2, 2),
        now: DAY,
    })
    .unwrap();
    let text = String::from_utf8(octets).unwrap();
    assert!(text.is_ascii() && text.split("\r\n").all(|line| !line.contains('\n')), "{text}");
    text
}

const HEAD: &[u8] = b"Received: x\r\nMessage-ID: <1@alpha.test>\r\nSubject: hello\r\n\r\nsecret body";

#[test]
fn a_bounce_says_who_failed_and_what_was_heard() {
    let refused = attempt(
        "mx.beta.test [192.0.2.1]:25",
        Reply::new(550, EnhancedCode::new(5, 1, 1), "no such user\nreally"),
    );
    let ours = attempt(SELF_HOST, Reply::plain(556, "no mail"));
    let mut through_alias = recipient("x@gamma.test");
    through_alias.original = Some("list@alpha.test".into());
    let text = built(
        Notice::Failed,
        false,
        &[(recipient("nobody@beta.test"), refused), (through_alias, ours)],
        HEAD,
    );
    for expected in [
        "From: \"Mail Delivery System\" <MAILER-DAEMON@mx.alpha.test>\r\n",
        "To: <alice@alpha.test>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "References: <1@alpha.test>\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Content-Type: message/delivery-status\r\n",
        "Content-Type: text/rfc822-headers\r\n",
        "Reporting-MTA: dns; mx.alpha.test\r\n",
        "Original-Envelope-Id: envelope-1\r\n",
        "Final-Recipient: rfc822; nobody@beta.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; mx.beta.test\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user really\r\n",
        "Original-Recipient: rfc822; list@alpha.test\r\nFinal-Recipient: rfc822; x@gamma.test\r\n",
        "Status: 5.0.0\r\nDiagnostic-Code: X-Postroad; 556 no mail\r\n",
        "mx.beta.test [192.0.2.1]:25 said: 550 5.1.1 no such user really\r\n",
        "\r\nSubject: hello\r\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    assert!(!text.contains("secret body"));
}

const SELF_HOST: &str = crate::queue::SELF;

#[test]
fn a_message_whose_time_is_over_says_so() {
    let last = attempt("mx.beta.test [192.0.2.1]:25", Reply::new(421, EnhancedCode::new(4, 3, 2), "later"));
    let text = built(Notice::Failed, false, &[(recipient("bob@beta.test"), last)], HEAD);
    assert!(
        text.contains("Status: 4.4.7\r\n") && text.contains("could not be delivered in 24 hours"),
        "{text}"
    );
}

#[test]
fn a_warning_says_that_it_is_still_tried_and_until_when() {
    let last = attempt("mx.beta.test [192.0.2.1]:25", Reply::new(421, EnhancedCode::new(4, 3, 2), "later"));
    let text = built(Notice::Delayed, false, &[(recipient("bob@beta.test"), last)], HEAD);
    for expected in [
        "Action: delayed\r\nStatus: 4.3.2\r\n",
        "Will-Retry-Until: Tue, 6 Jan 1970",
        "need not send it again",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
}

#[test]
fn utf8_addresses_use_the_global_forms_and_the_notice_stays_ascii_on_the_wire() {
    let refused = attempt("mx [192.0.2.1]:25", Reply::new(550, EnhancedCode::new(5, 1, 1), "όχι"));
    let text = built(Notice::Failed, true, &[(recipient("δοκιμή@beta.test"), refused)], HEAD);
    assert!(
        text.contains("message/global-delivery-status") && text.contains("message/global-headers"),
        "{text}"
    );
    assert!(
        text.contains("Content-Transfer-Encoding: base64") || text.contains("quoted-printable"),
        "{text}"
    );
}

#[test]
fn a_hostile_reply_adds_no_fields_and_odd_headers_survive_encoded() {
    let evil = attempt(
        "mx [192.0.2.1]:25",
        Reply::plain(550, format!("x\rAction: delivered\n{}", "y".repeat(5000))),
    );
    let head = b"Subject: \xff\xfe\r\nX-Long: cut off in the mid";
    let text = built(Notice::Failed, false, &[(recipient("bob@beta.test"), evil)], head);
    assert_eq!(text.matches("\r\nAction:").count(), 1, "{text}");
    assert!(!text.contains("X-Long"));
}
