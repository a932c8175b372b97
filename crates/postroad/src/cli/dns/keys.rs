//! `postroad dns keys` and `postroad dns status`: the keys that zones are signed with, and how zones are.

use clap::Subcommand;
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_rpc::{Channel, v1};
use serde_json::json;

use crate::cli::client::said;
use crate::cli::table::{now_us, span, table};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// This zone's alone
    zone: Option<String>,
    /// One JSON object per key
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Replace the keys of a zone, step by step; all of them where none is named
    Roll {
        zone: String,
        /// Only the key that the parent knows
        #[arg(long, conflicts_with = "zsk")]
        ksk: bool,
        /// Only the key that signs the zone
        #[arg(long)]
        zsk: bool,
        /// By keys of this algorithm: ECDSAP256SHA256, ED25519 or RSASHA256. It stays until the configuration names another
        #[arg(long, conflicts_with_all = ["ksk", "zsk"])]
        algorithm: Option<String>,
    },
    /// Say that all servers of the parent have the DS that `postroad dns keys` shows, and no other
    DsSeen { zone: String },
}

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// This zone alone
    zone: Option<String>,
    /// One JSON object per zone
    #[arg(long)]
    json: bool,
}

pub async fn main(zones: &mut ZonesClient<Channel>, args: Args) -> Result<(), String> {
    let json = args.json;
    let reply = match args.what {
        None => {
            let origin = args.zone.unwrap_or_default();
            zones.list_keys(v1::ListKeysRequest { origin }).await
        }
        Some(What::Roll { zone: origin, ksk, zsk, algorithm }) => {
            let role = match (ksk, zsk) {
                (true, _) => "ksk",
                (_, true) => "zsk",
                _ => "",
            };
            let (role, algorithm) = (role.to_owned(), algorithm.unwrap_or_default());
            zones.roll_keys(v1::RollKeysRequest { origin, role, algorithm }).await
        }
        Some(What::DsSeen { zone: origin }) => zones.confirm_ds(v1::ConfirmDsRequest { origin }).await,
    };
    let keys = reply.map_err(said)?.into_inner().keys;
    if json {
        keys.iter().for_each(|key| println!("{}", key_json(key)));
    } else {
        print!("{}", shown_keys(&keys, now_us()));
    }
    Ok(())
}

pub async fn status(zones: &mut ZonesClient<Channel>, args: StatusArgs) -> Result<(), String> {
    let request = v1::ShowStatusRequest { origin: args.zone.unwrap_or_default() };
    let all = zones.show_status(request).await.map_err(said)?.into_inner().zones;
    if args.json {
        all.iter().for_each(|zone| println!("{}", status_json(zone)));
    } else {
        print!("{}", shown_status(&all, now_us()));
    }
    Ok(())
}

fn key_json(key: &v1::Key) -> serde_json::Value {
    json!({
        "zone": key.origin, "tag": key.tag, "algorithm": key.algorithm, "role": key.role, "state": key.state,
        "created_us": key.created_us, "next": key.next, "next_us": key.next_us, "ds": key.ds,
    })
}

fn status_json(zone: &v1::ZoneStatus) -> serde_json::Value {
    let secondary = |known: &v1::Secondary| {
        json!({
            "address": known.address, "serial": known.serial, "outcome": known.outcome, "told_us": known.told_us,
        })
    };
    json!({
        "zone": zone.origin, "serial": zone.serial, "unsigned_serial": zone.unsigned_serial,
        "available": zone.available, "signed": zone.signed, "signed_until_us": zone.signed_until_us,
        "next": zone.next, "next_us": zone.next_us, "fault": zone.fault,
        "secondaries": zone.secondaries.iter().map(secondary).collect::<Vec<_>>(),
    })
}

/// `in 3h 5m`, `now`, or nothing where no time is known.
fn until(at_us: i64, now: i64) -> String {
    match at_us {
        0 => String::new(),
        at if at <= now => "now".to_owned(),
        at => format!("in {}", span(at - now)),
    }
}

/// The keys, and below them the DS records that parents should have.
fn shown_keys(keys: &[v1::Key], now: i64) -> String {
    let row = |key: &v1::Key| {
        vec![
            key.origin.clone(),
            key.tag.to_string(),
            key.algorithm.clone(),
            key.role.clone(),
            key.state.clone(),
            until(key.next_us, now),
            key.next.clone(),
        ]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    let mut out = table(&["ZONE", "TAG", "ALGORITHM", "ROLE", "STATE", "NEXT", ""], &rows);
    let ds: Vec<&str> = keys.iter().map(|key| key.ds.as_str()).filter(|ds| !ds.is_empty()).collect();
    if !ds.is_empty() {
        out.push_str("\nFor the parent:\n");
        ds.iter().for_each(|ds| out.push_str(&format!("{ds}\n")));
    }
    out
}

fn shown_status(zones: &[v1::ZoneStatus], now: i64) -> String {
    let row = |zone: &v1::ZoneStatus| {
        let signed = match (zone.signed, zone.signed_until_us) {
            _ if !zone.available => "not available".to_owned(),
            (true, at) => until(at, now).replace("in ", "for "),
            (false, _) => "no".to_owned(),
        };
        let behind =
            zone.secondaries.iter().filter(|known| known.outcome != "heard" || known.serial != zone.serial);
        let secondaries = match zone.secondaries.len() {
            0 => String::new(),
            all => format!("{} of {all} know", all - behind.count()),
        };
        let next = if zone.fault.is_empty() { zone.next.clone() } else { format!("FAULT: {}", zone.fault) };
        vec![
            zone.origin.clone(),
            zone.serial.to_string(),
            signed,
            secondaries,
            until(zone.next_us, now),
            next,
        ]
    };
    let rows: Vec<_> = zones.iter().map(row).collect();
    let mut out = table(&["ZONE", "SERIAL", "SIGNED", "SECONDARIES", "NEXT", ""], &rows);
    for zone in zones {
        for known in
            zone.secondaries.iter().filter(|known| known.outcome != "heard" || known.serial != zone.serial)
        {
            let outcome = if known.outcome.is_empty() { "is being told" } else { &known.outcome };
            out.push_str(&format!("{}: {} {outcome}, serial {}\n", zone.origin, known.address, known.serial));
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn keys_are_shown_with_what_comes_next_and_what_the_parent_needs() {
        let mut key = v1::Key {
            origin: "a.test".into(),
            tag: 7,
            algorithm: "ED25519".into(),
            role: "csk".into(),
            state: "ready".into(),
            next: "the parent must publish its DS".into(),
            ds: "a.test. IN DS 7 15 2 00".into(),
            ..v1::Key::default()
        };
        let text = shown_keys(std::slice::from_ref(&key), 1);
        assert_eq!(
            text,
            "ZONE    TAG  ALGORITHM  ROLE  STATE  NEXT\n\
             a.test  7    ED25519    csk   ready        the parent must publish its DS\n\n\
             For the parent:\na.test. IN DS 7 15 2 00\n"
        );
        (key.ds, key.next_us) = (String::new(), 2 * HOUR);
        assert!(shown_keys(&[key], HOUR).ends_with("ready  in 1h 0m  the parent must publish its DS\n"));
    }

    #[test]
    fn zones_are_shown_with_those_who_do_not_know_yet() {
        let known = |serial, outcome: &str| v1::Secondary {
            address: "192.0.2.1:53".into(),
            serial,
            outcome: outcome.into(),
            told_us: 1,
        };
        let zone = v1::ZoneStatus {
            origin: "a.test".into(),
            serial: 9,
            available: true,
            signed: true,
            signed_until_us: 3 * HOUR,
            secondaries: vec![known(9, "heard"), known(8, "silent")],
            ..v1::ZoneStatus::default()
        };
        let text = shown_status(std::slice::from_ref(&zone), HOUR);
        assert!(text.contains("a.test  9       for 2h 0m  1 of 2 know"), "{text}");
        assert!(text.ends_with("a.test: 192.0.2.1:53 silent, serial 8\n"), "{text}");
        let text = shown_status(&[v1::ZoneStatus { fault: "disk".into(), signed: false, ..zone }], 1);
        assert!(text.contains("no") && text.contains("FAULT: disk"), "{text}");
    }
}
