//! Transfers from another server (AXFR, IXFR), message after message: they bring a zone that can be sent on, or nothing.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use postroad_dns::transfer::incoming::{Brought, Incoming};
use postroad_dns::transfer::{Filled, Outgoing};
use postroad_dns::wire::{Name, OPCODE_QUERY, Reader, Request, Rtype, Writer, question_only};
use postroad_dns::zone::{Zone, zone_from_records, zone_from_text, zone_with_changes};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\na TXT \"x\"\n";

static ORIGIN: LazyLock<Name> = LazyLock::new(|| "test".parse().unwrap());
static PRESENT: LazyLock<Zone> = LazyLock::new(|| zone_from_text(&ORIGIN, ZONE).unwrap());

/// Sends a zone in messages that can be read.
fn send_on(zone: Zone) {
    let question = question_only(7, OPCODE_QUERY, &ORIGIN, Rtype::AXFR);
    let request = Request::parse(&question).unwrap();
    let (total, mut sent) = (zone.records() + 1, 0);
    let mut records = Outgoing::whole(Arc::new(zone));
    let mut buffer = Vec::new();
    loop {
        let mut writer = Writer::new(&mut buffer, &request, usize::from(u16::MAX));
        let filled = records.fill(&mut writer);
        writer.finish(&request, 1232);
        let answers = Reader::new(&buffer).unwrap().header().counts[1];
        sent += u64::from(answers);
        if filled == Filled::Done || answers == 0 {
            break;
        }
    }
    assert_eq!(sent, total);
}

fuzz_target!(|input: &[u8]| {
    let Some((settings, mut rest)) = input.split_first() else { return };
    let mut incoming = Incoming::new(7, ORIGIN.clone(), (settings & 1 != 0).then_some(1));
    while let Some((length, octets)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(octets.len());
        let (message, more) = octets.split_at(length);
        rest = more;
        match incoming.message(message) {
            Ok(None) => continue,
            Ok(Some(Brought::Whole(records))) => {
                if let Ok(zone) = zone_from_records(&ORIGIN, Path::new(""), records, "fuzz") {
                    send_on(zone);
                }
            }
            Ok(Some(Brought::Changes(changes))) => {
                if let Ok(zone) = zone_with_changes(&PRESENT, changes, "fuzz") {
                    send_on(zone);
                }
            }
            Ok(Some(Brought::UpToDate(_))) | Err(_) => {}
        }
        return;
    }
});
