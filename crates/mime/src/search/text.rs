//! A message's text, decoded and case-folded.

use crate::header::Fields;
use crate::structure::{Body, Structure};
use crate::{charset, encoded_word, transfer};

/// Lower case, character by character: no locale, no normalisation.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Every field as `name: value`, one to a line.
pub(super) fn folded_header(header: &[u8]) -> String {
    let mut out = String::with_capacity(header.len());
    for field in Fields::new(header) {
        out.push_str(&fold(&charset::decode(None, field.name)));
        out.push_str(": ");
        out.push_str(&fold(&encoded_word::decode(&field.unfolded())));
        out.push('\n');
    }
    out
}

/// The text parts and the headers of all parts but the message's own. Parts are set apart by a NUL, so that
/// nothing is found across two of them.
pub(super) fn folded_body(message: &[u8]) -> String {
    let structure = Structure::parse(message);
    let mut out = String::new();
    for (index, part) in structure.parts().iter().enumerate() {
        if index > 0 {
            out.push_str(&folded_header(message.get(part.header.clone()).unwrap_or_default()));
            out.push('\0');
        }
        if part.inside == Body::Leaf && part.content.is_kind("text") {
            let octets =
                transfer::decode(&part.content.encoding, message.get(part.body.clone()).unwrap_or_default());
            out.push_str(&fold(&charset::decode(part.content.parameter("charset").as_deref(), &octets)));
            out.push('\0');
        }
    }
    out
}
