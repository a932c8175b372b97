//! Messages as anybody may write them: what is said of their parts stays within them, and how the octets are cut into
//! chunks makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_mime::{Envelope, Structure, StructureParser, encoded_word, header, transfer};

// The first octet is the size of chunks.
fuzz_target!(|octets: &[u8]| {
    let Some((chunk, message)) = octets.split_first() else { return };
    let whole = Structure::parse(message);
    let mut parser = StructureParser::new();
    for piece in message.chunks(usize::from(*chunk) + 1) {
        parser.push(piece);
    }
    let pieces = parser.finish();
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    let body = header::body_offset(message);
    assert!(body <= message.len());
    let _ = Envelope::parse(&message[..body]);
    let _ = encoded_word::decode(message);
    for encoding in ["base64", "quoted-printable", "7bit"] {
        let _ = transfer::decode(encoding.as_bytes(), &message[body..]);
    }
});
