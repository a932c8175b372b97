//! What a client asked for with MAIL and RCPT, as the queue keeps it.

use std::time::Duration;

use postroad_store::spool::{Micros, NewEnvelope, NewRecipient};
use postroad_types::{Address, BodyKind, ByMode, DeliverBy, EnvelopeOptions, TraceId};
use postroad_wire_smtp::server::{Hold, Mail};

use crate::clock::after;

/// What came of the octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Octets {
    pub(super) is_ascii: bool,
    pub(super) header_is_ascii: bool,
}

/// The envelope of a message that is whole. It is given up `lifetime` after it may first go.
pub(super) fn envelope(
    mail: &Mail,
    recipients: Vec<NewRecipient>,
    octets: Octets,
    trace_id: TraceId,
    accepted_at: Micros,
    lifetime: Duration,
) -> NewEnvelope {
    let names_need_utf8 = mail.reverse_path.address().is_some_and(Address::is_internationalised)
        || recipients.iter().any(|recipient| recipient.address.is_internationalised());
    let first_attempt_at = match mail.hold {
        None => accepted_at,
        Some(Hold::For(seconds)) => after(accepted_at, Duration::from_secs(seconds.into())),
        Some(Hold::Until(seconds)) => seconds.saturating_mul(1_000_000).max(accepted_at),
    };
    let deliver_by = mail.deliver_by.map(|by| DeliverBy {
        at: accepted_at.saturating_add(i64::from(by.seconds).saturating_mul(1_000_000)),
        mode: by.mode,
        trace: by.trace,
    });
    let expires_at = after(first_attempt_at, lifetime);
    let returned_at = deliver_by.filter(|by| by.mode == ByMode::Return).map_or(expires_at, |by| by.at);
    NewEnvelope {
        trace_id,
        reverse_path: mail.reverse_path.clone(),
        recipients,
        // As it is, not as it was announced: hosts without an extension take what does not need it.
        // But binary is binary: its lines are no lines.
        body: match mail.body {
            BodyKind::BinaryMime => BodyKind::BinaryMime,
            _ if octets.is_ascii => BodyKind::SevenBit,
            _ => BodyKind::EightBitMime,
        },
        smtputf8: mail.smtputf8 && (names_need_utf8 || !octets.header_is_ascii),
        envelope_id: mail.envelope_id.clone(),
        options: EnvelopeOptions {
            ret: mail.ret,
            require_tls: mail.require_tls,
            priority: mail.priority,
            deliver_by,
        },
        accepted_at,
        expires_at: expires_at.min(returned_at),
        first_attempt_at,
    }
}

#[cfg(test)]
mod tests {
    use postroad_wire_smtp::server::By;

    use super::*;

    fn mail() -> Mail {
        Mail {
            reverse_path: "alice@alpha.test".parse().unwrap(),
            declared_octets: None,
            body: BodyKind::EightBitMime,
            smtputf8: true,
            submitter: None,
            envelope_id: None,
            ret: None,
            require_tls: false,
            priority: 0,
            deliver_by: None,
            hold: None,
        }
    }

    fn made(mail: &Mail) -> NewEnvelope {
        let to = vec![NewRecipient::from("bob@beta.test".parse::<Address>().unwrap())];
        let octets = Octets { is_ascii: true, header_is_ascii: true };
        envelope(mail, to, octets, TraceId::new([1; 16]), 1_000_000, Duration::from_secs(100))
    }

    #[test]
    fn what_is_announced_and_not_needed_is_not_asked_of_others() {
        let envelope = made(&mail());
        assert_eq!((envelope.body, envelope.smtputf8), (BodyKind::SevenBit, false));
        let binary = made(&Mail { body: BodyKind::BinaryMime, ..mail() });
        assert_eq!(binary.body, BodyKind::BinaryMime);
    }

    #[test]
    fn a_held_message_has_its_whole_time_behind_its_release() {
        let envelope = made(&Mail { hold: Some(Hold::For(50)), ..mail() });
        assert_eq!((envelope.first_attempt_at, envelope.expires_at), (51_000_000, 151_000_000));
        let past = made(&Mail { hold: Some(Hold::Until(0)), ..mail() });
        assert_eq!(past.first_attempt_at, 1_000_000);
        let until = made(&Mail { hold: Some(Hold::Until(9)), ..mail() });
        assert_eq!(until.first_attempt_at, 9_000_000);
    }

    #[test]
    fn a_time_to_deliver_by_ends_the_message_only_if_it_is_to_be_returned() {
        let by = |mode| Some(By { seconds: 60, mode, trace: false });
        assert_eq!(made(&Mail { deliver_by: by(ByMode::Return), ..mail() }).expires_at, 61_000_000);
        let told = made(&Mail { deliver_by: by(ByMode::Notify), ..mail() });
        assert_eq!(told.expires_at, 101_000_000);
        assert_eq!(told.options.deliver_by.unwrap().at, 61_000_000);
    }
}
