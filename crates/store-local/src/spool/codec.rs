//! What stands in records. Little-endian numbers; texts and lists with their length as u32 before them.
//!
//! ```text
//! chunk     id (16) · octets of the body
//! message   length of what follows up to the body u32 · message · extents · body, if it lies here
//! changes   id (16) · version u32 · changes
//! order     id (16) · version u32 · order u8 · now i64
//! seal      nothing
//! ```
//! `version` counts the changes of a message. A change whose version is not one above that of the message is
//! left out when the log is read: one before it was lost, and it may speak of recipients that are not there.

use postroad_store::spool::{
    Attempt, Change, Micros, NewRecipient, Order, QueuedMessage, QueuedRecipient, RecipientState,
};
use postroad_types::{
    BodyKind, ByMode, DeliverBy, EnhancedCode, EnvelopeOptions, Notify, QueueId, Reply, Ret, TraceId,
};

/// Where octets of a body lie: in the payload of one record, behind `skip` others, up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) segment: u32,
    /// Offset of the record's header in the segment.
    pub(crate) record_at: u32,
    pub(crate) skip: u32,
    pub(crate) length: u32,
}

/// Where a message's body lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyPlace {
    /// At the end of the message's own record.
    Inline,
    Extents(Vec<Extent>),
}

/// A record's payload does not say what its kind promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Decoded<T> = Result<T, Malformed>;

/// A recipient has no fewer octets.
const RECIPIENT_OCTETS_MIN: usize = 20;
/// Octets of a queue id.
pub(crate) const ID_OCTETS: usize = 16;

/// All of a message's record but an inline body.
pub(crate) fn encode_message(message: &QueuedMessage, version: u32, body: &BodyPlace) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    put_u32(&mut to, 0);
    put_id(&mut to, &message.id);
    put_u32(&mut to, version);
    put_text(&mut to, &message.trace_id.to_string());
    put_text(&mut to, &message.reverse_path.to_string());
    to.push(match message.body {
        BodyKind::SevenBit => 0,
        BodyKind::EightBitMime => 1,
        BodyKind::BinaryMime => 2,
    });
    to.push(u8::from(message.smtputf8) | u8::from(message.warned) << 1);
    put_optional_text(&mut to, message.envelope_id.as_deref());
    put_options(&mut to, &message.options);
    put_u64(&mut to, message.size_octets);
    put_i64(&mut to, message.accepted_at);
    put_i64(&mut to, message.expires_at);
    put_u32(&mut to, message.recipients.len() as u32);
    for recipient in &message.recipients {
        put_text(&mut to, &recipient.address.to_string());
        put_optional_text(&mut to, recipient.original.as_deref());
        put_notify(&mut to, recipient.notify);
        put_optional_text(&mut to, recipient.route.as_deref());
        to.push(match recipient.state {
            RecipientState::Waiting => 0,
            RecipientState::Held => 1,
            RecipientState::Done => 2,
            RecipientState::Failed => 3,
            RecipientState::Bounced => 4,
        });
        put_u32(&mut to, recipient.attempts);
        put_i64(&mut to, recipient.next_attempt_at);
        to.push(u8::from(recipient.last.is_some()));
        if let Some(last) = &recipient.last {
            put_attempt(&mut to, last);
        }
    }
    match body {
        BodyPlace::Inline => to.push(0),
        BodyPlace::Extents(extents) => {
            to.push(1);
            put_u32(&mut to, extents.len() as u32);
            for extent in extents {
                for field in [extent.segment, extent.record_at, extent.skip, extent.length] {
                    put_u32(&mut to, field);
                }
            }
        }
    }
    let length = (to.len() - 4) as u32;
    if let Some(field) = to.get_mut(..4) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    to
}

/// Message, version, where its body lies, and the octets in front of an inline body.
pub(crate) fn decode_message(payload: &[u8], format: u32) -> Decoded<(QueuedMessage, u32, BodyPlace, u32)> {
    let mut from = Reader(payload);
    let length = from.u32()?;
    let mut from = Reader(from.take(length as usize)?);
    let id = from.id()?;
    let version = from.u32()?;
    let trace_id: TraceId = from.parsed()?;
    let reverse_path = from.parsed()?;
    let body = match from.u8()? {
        0 => BodyKind::SevenBit,
        1 => BodyKind::EightBitMime,
        2 => BodyKind::BinaryMime,
        _ => return Err(Malformed),
    };
    let flags = from.u8()?;
    let envelope_id = from.optional_text()?;
    let options = if format < 2 { EnvelopeOptions::default() } else { from.options()? };
    let (size_octets, accepted_at, expires_at) = (from.u64()?, from.i64()?, from.i64()?);
    let count = from.u32()? as usize;
    // A count that cannot be true is not believed beforehand.
    let mut recipients = Vec::with_capacity(count.min(from.0.len() / RECIPIENT_OCTETS_MIN));
    for _ in 0..count {
        recipients.push(QueuedRecipient {
            address: from.parsed()?,
            original: from.optional_text()?,
            notify: if format < 2 { Notify::Unsaid } else { from.notify()? },
            route: if format < 2 { None } else { from.optional_text()?.map(String::into_boxed_str) },
            state: match from.u8()? {
                0 => RecipientState::Waiting,
                1 => RecipientState::Held,
                2 => RecipientState::Done,
                3 => RecipientState::Failed,
                4 => RecipientState::Bounced,
                _ => return Err(Malformed),
            },
            attempts: from.u32()?,
            next_attempt_at: from.i64()?,
            last: if from.u8()? == 0 { None } else { Some(from.attempt()?) },
        });
    }
    let place = match from.u8()? {
        0 => BodyPlace::Inline,
        1 => {
            let mut extents = Vec::new();
            for _ in 0..from.u32()? {
                extents.push(Extent {
                    segment: from.u32()?,
                    record_at: from.u32()?,
                    skip: from.u32()?,
                    length: from.u32()?,
                });
            }
            BodyPlace::Extents(extents)
        }
        _ => return Err(Malformed),
    };
    let message = QueuedMessage {
        id,
        trace_id,
        reverse_path,
        body,
        smtputf8: flags & 1 != 0,
        envelope_id,
        options,
        size_octets,
        accepted_at,
        expires_at,
        warned: flags & 2 != 0,
        recipients,
    };
    Ok((message, version, place, length + 4))
}

pub(crate) fn encode_changes(id: &QueueId, version: u32, changes: &[Change]) -> Vec<u8> {
    let mut to = Vec::with_capacity(160);
    put_id(&mut to, id);
    put_u32(&mut to, version);
    put_u32(&mut to, changes.len() as u32);
    for change in changes {
        match change {
            Change::Done { index, attempt } => {
                put_at(&mut to, 0, *index);
                put_attempt(&mut to, attempt);
            }
            Change::Defer { index, attempt, next_attempt_at } => {
                put_at(&mut to, 1, *index);
                put_attempt(&mut to, attempt);
                put_i64(&mut to, *next_attempt_at);
            }
            Change::Fail { index, attempt } => {
                put_at(&mut to, 2, *index);
                put_attempt(&mut to, attempt);
            }
            Change::Bounced { index } => put_at(&mut to, 3, *index),
            Change::Expand { index, attempt, into, next_attempt_at } => {
                put_at(&mut to, 4, *index);
                put_attempt(&mut to, attempt);
                put_i64(&mut to, *next_attempt_at);
                put_u32(&mut to, into.len() as u32);
                for new in into {
                    put_text(&mut to, &new.address.to_string());
                    put_optional_text(&mut to, new.original.as_deref());
                    put_notify(&mut to, new.notify);
                }
            }
            Change::Warned => put_at(&mut to, 5, 0),
            Change::Wait { index, next_attempt_at } => {
                put_at(&mut to, 6, *index);
                put_i64(&mut to, *next_attempt_at);
            }
        }
    }
    to
}

pub(crate) fn decode_changes(payload: &[u8], format: u32) -> Decoded<(QueueId, u32, Vec<Change>)> {
    let mut from = Reader(payload);
    let (id, version, count) = (from.id()?, from.u32()?, from.u32()?);
    let mut changes = Vec::new();
    for _ in 0..count {
        let kind = from.u8()?;
        let index = from.u32()? as usize;
        changes.push(match kind {
            0 => Change::Done { index, attempt: from.attempt()? },
            1 => Change::Defer { index, attempt: from.attempt()?, next_attempt_at: from.i64()? },
            2 => Change::Fail { index, attempt: from.attempt()? },
            3 => Change::Bounced { index },
            4 => {
                let (attempt, next_attempt_at) = (from.attempt()?, from.i64()?);
                let mut into = Vec::new();
                for _ in 0..from.u32()? {
                    let (address, original) = (from.parsed()?, from.optional_text()?);
                    let notify = if format < 2 { Notify::Unsaid } else { from.notify()? };
                    into.push(NewRecipient { address, original, notify });
                }
                Change::Expand { index, attempt, into, next_attempt_at }
            }
            5 => Change::Warned,
            6 if format >= 2 => Change::Wait { index, next_attempt_at: from.i64()? },
            _ => return Err(Malformed),
        });
    }
    Ok((id, version, changes))
}

pub(crate) fn encode_order(id: &QueueId, version: u32, order: &Order, now: Micros) -> Vec<u8> {
    let mut to = Vec::with_capacity(32);
    put_id(&mut to, id);
    put_u32(&mut to, version);
    to.push(match order {
        Order::Hold => 0,
        Order::Release => 1,
        Order::Retry => 2,
        Order::Remove => 3,
        Order::Expire => 4,
        Order::Reroute(_) => 5,
    });
    put_i64(&mut to, now);
    if let Order::Reroute(route) = order {
        put_optional_text(&mut to, route.as_deref());
    }
    to
}

pub(crate) fn decode_order(payload: &[u8], format: u32) -> Decoded<(QueueId, u32, Order, Micros)> {
    let mut from = Reader(payload);
    let (id, version, kind, now) = (from.id()?, from.u32()?, from.u8()?, from.i64()?);
    let order = match kind {
        0 => Order::Hold,
        1 => Order::Release,
        2 => Order::Retry,
        3 => Order::Remove,
        4 => Order::Expire,
        5 if format >= 2 => Order::Reroute(from.optional_text()?.map(String::into_boxed_str)),
        _ => return Err(Malformed),
    };
    Ok((id, version, order, now))
}

fn put_options(to: &mut Vec<u8>, options: &EnvelopeOptions) {
    let ret = match options.ret {
        None => 0,
        Some(Ret::Full) => 1,
        Some(Ret::Headers) => 2,
    };
    to.push(ret | u8::from(options.require_tls) << 2);
    to.extend_from_slice(&options.priority.to_le_bytes());
    to.push(
        options
            .deliver_by
            .map_or(0, |by| 1 | u8::from(by.mode == ByMode::Notify) << 1 | u8::from(by.trace) << 2),
    );
    if let Some(by) = options.deliver_by {
        put_i64(to, by.at);
    }
}

fn put_notify(to: &mut Vec<u8>, notify: Notify) {
    to.push(match notify {
        Notify::Unsaid => 0,
        Notify::Never => 1,
        Notify::On { success, failure, delay } => {
            0x80 | u8::from(success) | u8::from(failure) << 1 | u8::from(delay) << 2
        }
    });
}

fn put_u32(to: &mut Vec<u8>, value: u32) {
    to.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(to: &mut Vec<u8>, value: u64) {
    to.extend_from_slice(&value.to_le_bytes());
}

fn put_i64(to: &mut Vec<u8>, value: i64) {
    to.extend_from_slice(&value.to_le_bytes());
}

fn put_id(to: &mut Vec<u8>, id: &QueueId) {
    to.extend_from_slice(id.as_str().as_bytes());
}

fn put_at(to: &mut Vec<u8>, kind: u8, index: usize) {
    to.push(kind);
    put_u32(to, index as u32);
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_u32(to, text.len() as u32);
    to.extend_from_slice(text.as_bytes());
}

fn put_optional_text(to: &mut Vec<u8>, text: Option<&str>) {
    to.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(to, text);
    }
}

fn put_attempt(to: &mut Vec<u8>, attempt: &Attempt) {
    put_i64(to, attempt.at);
    put_text(to, &attempt.host);
    to.extend_from_slice(&attempt.reply.code.to_le_bytes());
    to.push(u8::from(attempt.reply.enhanced.is_some()));
    if let Some(EnhancedCode { class, subject, detail }) = attempt.reply.enhanced {
        to.push(class);
        to.extend_from_slice(&subject.to_le_bytes());
        to.extend_from_slice(&detail.to_le_bytes());
    }
    put_text(to, &attempt.reply.text);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Decoded<u8> {
        self.array().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Decoded<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn options(&mut self) -> Decoded<EnvelopeOptions> {
        let (flags, [priority], by) = (self.u8()?, self.array()?, self.u8()?);
        let ret = match flags & 3 {
            0 => None,
            1 => Some(Ret::Full),
            2 => Some(Ret::Headers),
            _ => return Err(Malformed),
        };
        let deliver_by = match by {
            0 => None,
            1..8 => {
                let mode = if by & 2 == 0 { ByMode::Return } else { ByMode::Notify };
                Some(DeliverBy { at: self.i64()?, mode, trace: by & 4 != 0 })
            }
            _ => return Err(Malformed),
        };
        let priority = i8::from_le_bytes([priority]);
        Ok(EnvelopeOptions { ret, require_tls: flags & 4 != 0, priority, deliver_by })
    }

    fn notify(&mut self) -> Decoded<Notify> {
        match self.u8()? {
            0 => Ok(Notify::Unsaid),
            1 => Ok(Notify::Never),
            on @ 0x80..0x88 => {
                Ok(Notify::On { success: on & 1 != 0, failure: on & 2 != 0, delay: on & 4 != 0 })
            }
            _ => Err(Malformed),
        }
    }

    fn id(&mut self) -> Decoded<QueueId> {
        let octets = self.take(ID_OCTETS)?;
        std::str::from_utf8(octets).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
    }

    fn text(&mut self) -> Decoded<&'a str> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Decoded<T> {
        self.text()?.parse().map_err(|_| Malformed)
    }

    fn optional_text(&mut self) -> Decoded<Option<String>> {
        Ok(if self.u8()? == 0 { None } else { Some(self.text()?.to_owned()) })
    }

    fn attempt(&mut self) -> Decoded<Attempt> {
        let (at, host, code) = (self.i64()?, self.text()?.to_owned(), self.u16()?);
        let enhanced = match self.u8()? {
            0 => None,
            _ => Some(EnhancedCode { class: self.u8()?, subject: self.u16()?, detail: self.u16()? }),
        };
        Ok(Attempt { at, host, reply: Reply { code, enhanced, text: self.text()?.to_owned() } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::frame::VERSION;
    use postroad_types::ReversePath;
    use proptest::prelude::*;

    fn attempt() -> Attempt {
        let reply = Reply::new(451, EnhancedCode::new(4, 7, 123), "later\nplease");
        Attempt { at: -5, host: "mx.beta.test [192.0.2.1]:25".into(), reply }
    }

    fn message(recipients: usize, body: BodyKind) -> QueuedMessage {
        let states = [
            RecipientState::Waiting,
            RecipientState::Held,
            RecipientState::Done,
            RecipientState::Failed,
            RecipientState::Bounced,
        ];
        let recipient = |n: usize| QueuedRecipient {
            address: ["b@Beta.test", "\"a b\"@[192.0.2.1]", "δοκιμή@παράδειγμα.gr"][n % 3].parse().unwrap(),
            original: n.is_multiple_of(2).then(|| "rfc822;x".into()),
            state: states[n % 5],
            attempts: n as u32,
            next_attempt_at: i64::MIN + n as i64,
            last: (n % 4 == 1).then(attempt),
            notify: [
                Notify::Unsaid,
                Notify::Never,
                Notify::On { success: true, failure: false, delay: true },
                Notify::On { success: false, failure: true, delay: false },
            ][n % 4],
            route: (n % 6 == 1).then(|| "smtp://relay.test:25".into()),
        };
        QueuedMessage {
            id: QueueId::new(77, 5),
            trace_id: TraceId::new([9; 16]),
            reverse_path: if recipients == 1 { ReversePath::Null } else { "a@alpha.test".parse().unwrap() },
            body,
            smtputf8: recipients.is_multiple_of(2),
            envelope_id: recipients.is_multiple_of(3).then(|| "id".into()),
            options: EnvelopeOptions {
                ret: [None, Some(Ret::Full), Some(Ret::Headers)][recipients % 3],
                require_tls: recipients.is_multiple_of(2),
                priority: recipients as i8 - 9,
                deliver_by: (recipients > 5).then_some(DeliverBy {
                    at: -7,
                    mode: if recipients > 10 { ByMode::Return } else { ByMode::Notify },
                    trace: recipients > 20,
                }),
            },
            size_octets: u64::MAX,
            accepted_at: 3,
            expires_at: i64::MAX,
            warned: recipients.is_multiple_of(5),
            recipients: (0..recipients).map(recipient).collect(),
        }
    }

    #[test]
    fn messages_come_back_as_they_were() {
        let extent = Extent { segment: 1, record_at: 2, skip: 3, length: 4 };
        for (count, body) in [
            (1, BodyKind::SevenBit),
            (7, BodyKind::EightBitMime),
            (30, BodyKind::BinaryMime),
            (15, BodyKind::SevenBit),
        ] {
            for place in
                [BodyPlace::Inline, BodyPlace::Extents(vec![extent; count]), BodyPlace::Extents(vec![])]
            {
                let message = message(count, body);
                let mut payload = encode_message(&message, 12, &place);
                let skip = payload.len() as u32;
                payload.extend_from_slice(b"the body");
                assert_eq!(decode_message(&payload, VERSION), Ok((message, 12, place, skip)));
            }
        }
    }

    #[test]
    fn changes_and_orders_come_back_as_they_were() {
        let id = QueueId::new(1, 2);
        let new = |text: &str| NewRecipient {
            address: text.parse().unwrap(),
            original: None,
            notify: Notify::Never,
        };
        let changes = vec![
            Change::Done { index: 0, attempt: attempt() },
            Change::Defer { index: 1, attempt: attempt(), next_attempt_at: 8 },
            Change::Fail { index: 70_000, attempt: Attempt { reply: Reply::plain(554, ""), ..attempt() } },
            Change::Bounced { index: 2 },
            Change::Expand {
                index: 3,
                attempt: attempt(),
                into: vec![new("x@y.test"), new("z@y.test")],
                next_attempt_at: 1,
            },
            Change::Warned,
        ];
        let payload = encode_changes(&id, 4, &changes);
        assert_eq!(decode_changes(&payload, VERSION), Ok((id.clone(), 4, changes)));
        let reroute = |route: Option<&str>| Order::Reroute(route.map(Into::into));
        for order in [
            Order::Hold,
            Order::Release,
            Order::Retry,
            Order::Remove,
            Order::Expire,
            reroute(None),
            reroute(Some("lmtp://[::1]:24")),
        ] {
            let octets = encode_order(&id, 9, &order, 55);
            assert_eq!(decode_order(&octets, VERSION), Ok((id.clone(), 9, order, 55)));
        }
    }

    proptest! {
        #[test]
        fn no_octets_upset_the_readers(octets in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..600) {
            for format in 1..=VERSION {
                let _ = (decode_message(&octets, format), decode_changes(&octets, format));
                let _ = decode_order(&octets, format);
            }
            let whole = encode_message(&message(3, BodyKind::SevenBit), 1, &BodyPlace::Inline);
            if cut < whole.len() {
                prop_assert!(decode_message(&whole[..cut], VERSION).is_err());
            }
        }
    }
}
