//! `postroad dns zone`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::zones_client::ZonesClient;

use crate::cli::client::said;
use crate::cli::table::table;

/// Octets of a zone text in one message.
const PIECE_OCTETS: usize = 256 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All of them
    List,
    /// All records of a zone
    Show { origin: String },
    /// Read the zone files again
    Reload {
        /// Without it, all of them
        origin: Option<String>,
    },
    /// What a reload would take out (-) and put in (+)
    Diff { origin: String },
    /// Replace a zone by another text, which must have a newer serial
    Load {
        origin: String,
        /// "-": standard input
        file: PathBuf,
        /// Only if the zone is at this serial
        #[arg(long)]
        serial: Option<u32>,
    },
    /// Take records out and put others in, all or none
    Commit {
        origin: String,
        /// Lines "- RECORD" and "+ RECORD", as `diff` prints them; "-": standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Only if the zone is at this serial
        #[arg(long)]
        serial: Option<u32>,
    },
    /// Tell of new versions as they are served
    Watch {
        /// Without it, of all zones
        origin: Option<String>,
    },
}

pub async fn main(zones: &mut ZonesClient<Channel>, args: Args) -> Result<(), String> {
    match args.what {
        What::List => {
            let reply = zones.list_zones(v1::ListZonesRequest {}).await.map_err(said)?.into_inner();
            print_zones(reply.zones);
        }
        What::Show { origin } => {
            for record in records(zones, &origin).await? {
                println!("{record}");
            }
        }
        What::Reload { origin } => {
            let request = v1::ReloadZonesRequest { origin: origin.unwrap_or_default() };
            print_zones(zones.reload_zones(request).await.map_err(said)?.into_inner().zones);
        }
        What::Diff { origin } => {
            let request = v1::DiffZoneRequest { origin };
            let mut replies = zones.diff_zone(request).await.map_err(said)?.into_inner();
            while let Some(reply) = replies.message().await.map_err(said)? {
                reply.removed.iter().for_each(|record| println!("- {record}"));
                reply.added.iter().for_each(|record| println!("+ {record}"));
            }
        }
        What::Load { origin, file, serial } => {
            let text = read(&file)?;
            let pieces = pieces(origin, serial, &text);
            let stream = tonic::IntoStreamingRequest::into_streaming_request(in_turn(pieces));
            told(zones.load_zone(stream).await.map_err(said)?.into_inner());
        }
        What::Commit { origin, file, serial } => {
            let (remove, add) = changes(&read(&file)?)?;
            let request = v1::CommitZoneRequest { origin, expected_serial: serial, remove, add };
            told(zones.commit_zone(request).await.map_err(said)?.into_inner());
        }
        What::Watch { origin } => {
            let request = v1::WatchZonesRequest { origin: origin.unwrap_or_default() };
            let mut replies = zones.watch_zones(request).await.map_err(said)?.into_inner();
            while let Some(reply) = replies.message().await.map_err(said)? {
                println!("{} {}", reply.origin, reply.serial);
            }
        }
    }
    Ok(())
}

/// All records of a zone in presentation format.
pub(super) async fn records(zones: &mut ZonesClient<Channel>, origin: &str) -> Result<Vec<String>, String> {
    let request = v1::ShowZoneRequest { origin: origin.to_owned() };
    let mut replies = zones.show_zone(request).await.map_err(said)?.into_inner();
    let mut records = Vec::new();
    while let Some(reply) = replies.message().await.map_err(said)? {
        records.extend(reply.records);
    }
    Ok(records)
}

/// Says what came of a change.
pub(super) fn told(reply: v1::CommitZoneReply) {
    let zone = reply.zone.unwrap_or_default();
    if reply.changed {
        println!("{} is at serial {} now", zone.origin, zone.serial);
    } else {
        println!("{} is so already, at serial {}", zone.origin, zone.serial);
    }
}

fn read(file: &Path) -> Result<String, String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
    Ok(text)
}

/// The messages that carry a text.
fn pieces(origin: String, serial: Option<u32>, mut text: &str) -> Vec<v1::LoadZoneRequest> {
    let mut pieces = vec![v1::LoadZoneRequest { origin, expected_serial: serial, text: String::new() }];
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE_OCTETS.min(text.len())));
        pieces.push(v1::LoadZoneRequest { text: piece.to_owned(), ..Default::default() });
        text = rest;
    }
    pieces
}

/// One after the other.
fn in_turn<T>(items: Vec<T>) -> impl tonic::codegen::tokio_stream::Stream<Item = T> {
    tonic::codegen::tokio_stream::iter(items)
}

/// What lines with a sign before each record take out and put in.
fn changes(text: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut remove, mut add) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        match line.split_at_checked(1) {
            Some(("-", record)) => remove.push(record.trim().to_owned()),
            Some(("+", record)) => add.push(record.trim().to_owned()),
            _ if line.trim().is_empty() || line.starts_with(['#', ';']) => {}
            _ => return Err(format!("line {}: expected \"+ RECORD\" or \"- RECORD\"", number + 1)),
        }
    }
    Ok((remove, add))
}

fn print_zones(zones: Vec<v1::Zone>) {
    let row = |zone: v1::Zone| {
        let (serial, names, records) =
            (zone.serial.to_string(), zone.names.to_string(), zone.records.to_string());
        vec![zone.origin, serial, names, records, zone.file]
    };
    let rows: Vec<Vec<String>> = zones.into_iter().map(row).collect();
    print!("{}", table(&["ZONE", "SERIAL", "NAMES", "RECORDS", "FILE"], &rows));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_read_as_they_are_printed() {
        let text = "# a remark\n- a.test. 60 IN A 192.0.2.1\n\n+ a.test. 60 IN A 192.0.2.2\n+\tb.test. 60 IN A ::1\n";
        let (remove, add) = changes(text).unwrap();
        assert_eq!(remove, ["a.test. 60 IN A 192.0.2.1"]);
        assert_eq!(add, ["a.test. 60 IN A 192.0.2.2", "b.test. 60 IN A ::1"]);
        assert!(changes("\na.test. 60 IN A ::1").unwrap_err().starts_with("line 2: "));
    }

    #[test]
    fn a_text_is_cut_between_characters_and_comes_together_again() {
        let text = "ä".repeat(PIECE_OCTETS);
        let pieces = pieces("a.test".to_owned(), Some(7), &text);
        assert_eq!((pieces[0].origin.as_str(), pieces[0].expected_serial), ("a.test", Some(7)));
        assert!(pieces.len() == 3 && pieces.iter().all(|piece| piece.text.len() <= PIECE_OCTETS));
        assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
    }
}
