//! Both sides against each other, and against signatures that Python's hmac module has made.

use super::error::{BADKEY, BADSIG, BADTIME, BADTRUNC};
use super::*;
use crate::wire::{OPCODE_QUERY, Reader, Request, Rtype, question_only};

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(algorithm: Algorithm) -> Key {
    Key::from_base64(&name("K.test"), algorithm, SECRET).unwrap()
}

fn keys() -> Keys {
    Keys::new([key(Algorithm::HmacSha256)])
}

fn question() -> Vec<u8> {
    question_only(0x1234, OPCODE_QUERY, &name("alpha.test"), Rtype::SOA)
}

fn signed(key: Key, now: u64) -> (Vec<u8>, Verifier) {
    let mut message = question();
    let mut signer = Signer::request(Arc::new(key));
    let room = signer.octets();
    signer.sign(&mut message, now);
    assert!(message.len() <= question().len() + room);
    (message, Verifier::new(signer))
}

fn check(keys: &Keys, message: &[u8], now: u64) -> Checked {
    let at = Request::parse(message).unwrap().tsig.unwrap();
    keys.check(message, at, now)
}

fn refusal(keys: &Keys, message: &[u8], now: u64) -> Refusal {
    match check(keys, message, now) {
        Checked::Wrong(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn signatures_are_those_that_another_program_makes() {
    for (algorithm, start) in [
        (Algorithm::HmacSha256, [0x52, 0xd6, 0xb4, 0x36, 0xc7, 0x6c, 0xf0, 0x7d]),
        (Algorithm::HmacSha384, [0xd0, 0x00, 0xb3, 0x50, 0xcd, 0x23, 0xd1, 0xb0]),
        (Algorithm::HmacSha512, [0x6f, 0xb8, 0x4d, 0x02, 0x0e, 0xd8, 0xa6, 0x5e]),
    ] {
        let (message, _) = signed(key(algorithm), NOW);
        let tsig = record::Tsig::read(&message, question().len()).unwrap();
        assert_eq!(tsig.mac.get(..8), Some(&start[..]), "{algorithm:?}");
        assert_eq!(tsig.mac.len(), algorithm.octets());
    }
}

#[test]
fn a_response_of_many_messages_is_believed_as_it_was_sent_and_not_otherwise() {
    let (request, verifier) = signed(key(Algorithm::HmacSha256), NOW);
    let Checked::Right(mut signer) = check(&keys(), &request, NOW + 299) else { panic!("refused") };
    assert_eq!(signer.key_name(), &name("k.test"));
    let messages: Vec<Vec<u8>> = (0..4u8)
        .map(|index| {
            let mut message = question();
            message[2] = 0x80;
            message[3] = index;
            // An unsigned message in between is counted by the next signature.
            if index != 2 {
                signer.sign(&mut message, NOW);
            }
            message
        })
        .collect();
    // Our signer cannot leave a message out, so only the first two follow each other.
    let mut right = verifier.clone();
    assert!(!right.is_complete());
    for message in &messages[..2] {
        assert_eq!(right.check(message, NOW), Ok(()));
        assert!(right.is_complete());
    }
    assert_eq!(right.check(&messages[2], NOW), Ok(()));
    assert!(!right.is_complete());
    assert_eq!(right.check(&messages[3], NOW), Err(VerifyError::BadSignature));

    let mut swapped = verifier.clone();
    assert_eq!(swapped.check(&messages[1], NOW), Err(VerifyError::BadSignature));
    let mut unsigned = verifier.clone();
    assert_eq!(unsigned.check(&messages[2], NOW), Err(VerifyError::Unsigned));
    let mut late = verifier.clone();
    assert_eq!(late.check(&messages[0], NOW + 301), Err(VerifyError::BadTime));
    for at in 0..messages[0].len() {
        let mut changed = messages[0].clone();
        changed[at] ^= 0x01;
        // The id is not signed: the original one is. Who compares ids is the asker.
        if at > 1 {
            assert!(verifier.clone().check(&changed, NOW).is_err(), "octet {at}");
        }
    }
}

#[test]
fn every_changed_octet_of_a_request_is_noticed() {
    let (request, _) = signed(key(Algorithm::HmacSha256), NOW);
    for at in 2..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 0x01;
        let Some(start) = Request::parse(&changed).ok().and_then(|request| request.tsig) else { continue };
        assert!(!matches!(keys().check(&changed, start, NOW), Checked::Right(_)), "octet {at}");
    }
}

#[test]
fn what_is_wrong_is_said_by_its_code() {
    let (request, _) = signed(key(Algorithm::HmacSha256), NOW);
    assert_eq!(refusal(&Keys::default(), &request, NOW).code, BADKEY);
    assert_eq!(refusal(&Keys::new([key(Algorithm::HmacSha512)]), &request, NOW).code, BADKEY);
    let other = Key::from_base64(&name("k.test"), Algorithm::HmacSha256, b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .unwrap();
    assert_eq!(refusal(&Keys::new([other]), &request, NOW).code, BADSIG);
    assert_eq!(refusal(&keys(), &request, NOW + 301).code, BADTIME);
    assert_eq!(refusal(&keys(), &request, NOW - 301).code, BADTIME);
    // The signature cut to half its length, with the lengths put right.
    let mac_at = request.len() - 6 - 32;
    let mut cut = [&request[..mac_at], &request[mac_at..mac_at + 16], &request[mac_at + 32..]].concat();
    cut[mac_at - 1] = 16;
    let length_at = question().len() + name("k.test").as_wire().len() + 9;
    cut[length_at] -= 16;
    assert_eq!(refusal(&keys(), &cut, NOW).code, BADTRUNC);
    cut[mac_at] ^= 1;
    assert_eq!(refusal(&keys(), &cut, NOW).code, BADSIG);
}

#[test]
fn a_wrong_clock_is_told_with_a_signature_and_our_time() {
    let (request, mut verifier) = signed(key(Algorithm::HmacSha256), NOW);
    let mut response = question();
    response[2] = 0x80;
    let refusal = refusal(&keys(), &request, NOW + 1000);
    let room = refusal.octets();
    refusal.finish(&mut response, NOW + 1000);
    assert_eq!(response.len(), question().len() + room);
    assert_eq!(verifier.check(&response, NOW), Err(VerifyError::BadTime));
    let tsig = record::Tsig::read(&response, question().len()).unwrap();
    assert_eq!((tsig.time, tsig.error, tsig.mac.len()), (NOW, BADTIME, 32));
    assert_eq!(tsig.other, record::six(NOW + 1000));
}

#[test]
fn a_server_that_does_not_know_us_cannot_sign_and_is_understood() {
    let (request, verifier) = signed(key(Algorithm::HmacSha256), NOW);
    for (keys, error) in [(Keys::default(), VerifyError::KeyUnknown), {
        let other = Key::from_base64(&name("k.test"), Algorithm::HmacSha256, &[b'A'; 32]).unwrap();
        (Keys::new([other]), VerifyError::Refused)
    }] {
        let mut response = question();
        response[2] = 0x80;
        refusal(&keys, &request, NOW).finish(&mut response, NOW);
        let mut reader = Reader::new(&response).unwrap();
        assert_eq!(reader.header().counts, [1, 0, 0, 1]);
        reader.question().unwrap();
        assert_eq!(reader.record().unwrap().rtype, Rtype::TSIG);
        assert!(reader.is_at_end());
        assert_eq!(verifier.clone().check(&response, NOW), Err(error));
    }
}

#[test]
fn secrets_are_base64_long_enough_and_shown_nowhere() {
    let read = |text: &[u8]| Key::from_base64(&name("k"), Algorithm::HmacSha256, text).map(drop);
    assert_eq!(read(b"not base64"), Err(SecretError::Base64));
    assert_eq!(read(b"AAECAwQFBgc="), Err(SecretError::Short));
    let shown = format!("{:?} {:?}", key(Algorithm::HmacSha384), keys());
    assert!(shown.contains("k.test.") && !shown.contains("AAEC") && !shown.contains("[0, 1"), "{shown}");
}
