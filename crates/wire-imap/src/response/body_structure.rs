//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2).

use postroad_mime::content::{Disposition, Parameter};
use postroad_mime::{Body, Envelope, Part, PartId, Structure};

use super::write::{nstring, string, text};

/// `extended`: BODYSTRUCTURE, with the extension data that BODY leaves out.
pub(super) fn write(out: &mut Vec<u8>, structure: &Structure, extended: bool) {
    part(out, structure, Structure::ROOT, extended);
}

/// Nesting is bounded where structures are made.
fn part(out: &mut Vec<u8>, structure: &Structure, id: PartId, extended: bool) {
    let part_here = structure.part(id);
    out.push(b'(');
    match &part_here.inside {
        Body::Multipart(children) => {
            for child in children {
                part(out, structure, *child, extended);
            }
            if children.is_empty() {
                // The grammar has no multipart without parts.
                out.extend_from_slice(
                    b"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)",
                );
            }
            out.push(b' ');
            string(out, &part_here.content.subkind);
            if extended {
                out.push(b' ');
                parameters(out, &part_here.content.parameters);
                extensions(out, part_here);
            }
        }
        inside => {
            single(out, part_here);
            if let Body::Message(inner) = inside {
                let inner_part = structure.part(*inner);
                let nothing = Envelope::default();
                out.push(b' ');
                super::envelope::write(out, inner_part.envelope.as_deref().unwrap_or(&nothing));
                out.push(b' ');
                part(out, structure, *inner, extended);
                text(out, format_args!(" {}", part_here.lines));
            } else if part_here.content.is_kind("text") {
                text(out, format_args!(" {}", part_here.lines));
            }
            if extended {
                out.push(b' ');
                nstring(out, part_here.content.md5.as_deref());
                extensions(out, part_here);
            }
        }
    }
    out.push(b')');
}

/// Type, parameters, id, description, encoding, size.
fn single(out: &mut Vec<u8>, part: &Part) {
    let content = &part.content;
    string(out, &content.kind);
    out.push(b' ');
    string(out, &content.subkind);
    out.push(b' ');
    parameters(out, &content.parameters);
    out.push(b' ');
    nstring(out, content.id.as_deref());
    out.push(b' ');
    nstring(out, content.description.as_deref());
    out.push(b' ');
    string(out, &content.encoding);
    text(out, format_args!(" {}", part.size()));
}

/// Disposition, language, location.
fn extensions(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    match &part.content.disposition {
        Some(Disposition { kind, parameters: list }) => {
            out.push(b'(');
            string(out, kind);
            out.push(b' ');
            parameters(out, list);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    match part.content.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => string(out, one),
        several => {
            for (at, language) in several.iter().enumerate() {
                out.push(if at == 0 { b'(' } else { b' ' });
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.content.location.as_deref());
}

fn parameters(out: &mut Vec<u8>, list: &[Parameter]) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    for (at, parameter) in list.iter().enumerate() {
        out.push(if at == 0 { b'(' } else { b' ' });
        string(out, &parameter.name);
        out.push(b' ');
        string(out, &parameter.value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str, extended: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, &Structure::parse(message.as_bytes()), extended);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_and_multipart() {
        assert_eq!(
            shown("Subject: x\r\n\r\none\r\n", true),
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 1 NIL NIL NIL NIL)"
        );
        let message = "Content-Type: multipart/mixed; boundary=b\r\nContent-Language: de, en\r\n\r\n--b\r\n\r\none\r\n\
            --b\r\nContent-Type: image/png; name=\"a \\\"b\\\".png\"\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=a.png\r\n\r\nAAAA\r\n--b--\r\n";
        assert_eq!(
            shown(message, false),
            "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1)\
             (\"image\" \"png\" (\"name\" \"a \\\"b\\\".png\") NIL NIL \"base64\" 4) \"mixed\")"
        );
        assert_eq!(
            shown(message, true),
            "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1 NIL NIL NIL NIL)\
             (\"image\" \"png\" (\"name\" \"a \\\"b\\\".png\") NIL NIL \"base64\" 4 NIL \
             (\"attachment\" (\"filename\" \"a.png\")) NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL (\"de\" \"en\") NIL)"
        );
    }

    #[test]
    fn a_message_inside() {
        let message = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\nx\r\n";
        assert_eq!(
            shown(message, false),
            "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 29 \
             (NIL \"in\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) \
             (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1) 4)"
        );
    }
}
