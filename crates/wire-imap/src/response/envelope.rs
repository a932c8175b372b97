//! ENVELOPE (RFC 3501 §7.4.2).

use postroad_mime::{Envelope, EnvelopeAddress};

use super::write::nstring;

pub(super) fn write(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    nstring(out, envelope.subject.as_deref());
    let lists =
        [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[EnvelopeAddress]) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for address in list {
        let parts = [&address.name, &address.route, &address.mailbox, &address.host];
        for (at, part) in parts.into_iter().enumerate() {
            out.push(if at == 0 { b'(' } else { b' ' });
            nstring(out, part.as_deref());
        }
        out.push(b')');
    }
    out.push(b')');
}
