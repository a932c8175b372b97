//! Zones: keys, and how zones are.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use postroad_rpc::v1::{Key as KeyMessage, ListKeysReply, Secondary, ZoneStatus};
use postroad_rpc::{Fault, FaultKind};
use tonic::Status;

use super::{invalid, without_dot};
use crate::dnssec::{Algorithm, Ds, PrivateKey, ds_rdata};
use crate::keys::roll::Event;
use crate::keys::state::asked_of_parent;
use crate::keys::{KeyState, Role, words};
use crate::signing::{Shown, Signer, SignerError, Status as SigningStatus};
use crate::transfer::told::ToldServers;
use crate::wire::{Name, Rtype, display_rdata};
use crate::zone::{Hosted, Zone};

/// What signs a zone.
pub(super) fn signer<'h>(hosted: &'h Hosted, origin: &Name) -> Result<&'h Arc<Signer>, Status> {
    hosted.signer(origin).ok_or_else(|| {
        let message = format!("zone {origin} is not signed here; [[dns.zones]] sign = \"default\" signs it");
        Fault::new(FaultKind::NotFound, message).into()
    })
}

/// The role that is named; `None`: all.
pub(super) fn role(text: &str) -> Result<Option<Role>, Status> {
    let role = Role::ALL.into_iter().find(|role| role.as_str() == text);
    if role.is_none() && !text.is_empty() {
        return Err(invalid(format!("\"{text}\" is no role of keys; expected ksk, zsk or csk")));
    }
    Ok(role)
}

/// The algorithm that is named; `None`: as it is.
pub(super) fn algorithm(text: &str) -> Result<Option<Algorithm>, Status> {
    let known = |algorithm: &Algorithm| algorithm.to_string().eq_ignore_ascii_case(text);
    let algorithm = PrivateKey::ALGORITHMS.into_iter().find(known);
    if algorithm.is_none() && !text.is_empty() {
        let all: Vec<String> = PrivateKey::ALGORITHMS.iter().map(ToString::to_string).collect();
        return Err(invalid(format!(
            "\"{text}\" is no algorithm that signs here; expected one of {}",
            all.join(", ")
        )));
    }
    Ok(algorithm)
}

/// Begins to replace keys, and signs the zone as it is then. Blocks.
pub(super) fn roll(
    hosted: &Hosted,
    signer: &Signer,
    role: Option<Role>,
    algorithm: Option<Algorithm>,
) -> Result<ListKeysReply, Status> {
    signer.roll(role, algorithm).map_err(|error| {
        let kind = match error {
            SignerError::Roll(_) => FaultKind::Precondition,
            SignerError::Algorithm(_) => FaultKind::Invalid,
            SignerError::Store(_) | SignerError::Sign(_) => FaultKind::Internal,
        };
        Fault::new(kind, error)
    })?;
    signed_anew(hosted, signer)
}

/// Takes an operator's word for what the parent has. Blocks.
pub(super) fn confirm_ds(hosted: &Hosted, signer: &Signer) -> Result<ListKeysReply, Status> {
    if !signer.status().keys.iter().any(|key| key.state.ds_asked.is_some()) {
        let message = "the parent was not asked for a DS yet; `postroad dns keys` tells when it will be";
        return Err(Fault::new(FaultKind::Precondition, message).into());
    }
    signer.confirm_ds();
    signed_anew(hosted, signer)
}

fn signed_anew(hosted: &Hosted, signer: &Signer) -> Result<ListKeysReply, Status> {
    hosted.sign_anew(signer.zone()).map_err(|error| Fault::new(FaultKind::Internal, error))?;
    Ok(ListKeysReply { keys: key_messages(signer) })
}

pub(super) fn key_messages(signer: &Signer) -> Vec<KeyMessage> {
    let (status, zone) = (signer.status(), signer.zone());
    let states: Vec<KeyState> = status.keys.iter().map(|key| key.state.clone()).collect();
    let asked: Vec<u16> = asked_of_parent(&states).map(|key| key.tag).collect();
    let message = |key: &Shown| {
        let state = &key.state;
        let event = words::first(&status.events, state.tag);
        let ds = ds_rdata(zone, &key.dnskey, Ds::SHA256);
        let ds = ds.filter(|_| asked.contains(&state.tag));
        KeyMessage {
            origin: without_dot(zone),
            tag: state.tag.into(),
            algorithm: state.algorithm.to_string(),
            role: state.role.as_str().to_owned(),
            state: words::state(state).to_owned(),
            created_us: micros(state.created),
            next: event.map(|event| words::awaited(state, event).to_owned()).unwrap_or_default(),
            next_us: event.and_then(|event| event.at).map_or(0, micros),
            ds: ds
                .map(|rdata| format!("{zone} IN DS {}", display_rdata(Rtype::DS, &rdata)))
                .unwrap_or_default(),
        }
    };
    status.keys.iter().map(message).collect()
}

/// Seconds since 1970 in microseconds.
fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

/// What comes next for a zone, and when; what is waited for without a time is told, too.
fn next(status: &SigningStatus) -> (String, Option<u64>) {
    let words = |event: &Event| {
        let key = status.keys.iter().find(|key| key.state.tag == event.tag);
        key.map(|key| format!("key {}: {}", event.tag, words::awaited(&key.state, event))).unwrap_or_default()
    };
    let timed = status.events.iter().filter(|event| event.at.is_some()).min_by_key(|event| event.at);
    let (first, at) = match (timed, status.due) {
        (Some(event), due) if due.is_none_or(|due| event.at <= Some(due)) => (words(event), event.at),
        (_, due) => (due.map(|_| "signatures are made anew".to_owned()).unwrap_or_default(), due),
    };
    let open = status.events.iter().filter(|event| event.at.is_none()).map(words);
    (std::iter::once(first).chain(open).collect::<Vec<_>>().join("; "), at)
}

pub(super) fn zone_status(hosted: &Hosted, zone: &Zone, told: &ToldServers) -> ZoneStatus {
    let origin = zone.apex();
    let status = hosted.signer(origin).map(|signer| signer.status());
    let below = hosted.below(origin);
    let (next, at) = status.as_ref().map_or((String::new(), None), |status| next(status));
    let due = status.as_ref().and_then(|status| status.due);
    ZoneStatus {
        origin: without_dot(origin),
        serial: zone.serial(),
        unsigned_serial: below.map_or(zone.serial(), |below| below.serial()),
        available: zone.is_available(),
        signed: due.is_some() && zone.is_signed(),
        signed_until_us: status.as_ref().and_then(|status| status.ends).map_or(0, micros),
        next,
        next_us: at.map_or(0, micros),
        fault: status.and_then(|status| status.fault.clone()).unwrap_or_default(),
        secondaries: told.of(origin).into_iter().map(secondary).collect(),
    }
}

fn secondary((server, knows): (std::net::SocketAddr, Option<crate::transfer::told::Knows>)) -> Secondary {
    let at = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    };
    Secondary {
        address: server.to_string(),
        serial: knows.map_or(0, |knows| knows.serial),
        outcome: knows.map(|knows| knows.outcome.as_str().to_owned()).unwrap_or_default(),
        told_us: knows.map_or(0, |knows| at(knows.at)),
    }
}
