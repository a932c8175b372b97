//! `postroad queue fsck` and `postroad queue export`: a spool directory without its mta. Nothing in it is changed.

use std::io::Write;
use std::path::{Path, PathBuf};

use postroad_config::Config;
use postroad_store_local::spool;
use postroad_types::QueueId;
use serde_json::json;

use crate::cli::table::octets;

/// The directory that is named, or else the one of the configuration.
fn directory(config: &Path, named: Option<&Path>) -> Result<PathBuf, String> {
    match named {
        Some(directory) => Ok(directory.to_owned()),
        None => Ok(Config::load(config).map_err(|error| error.to_string())?.spool_dir()),
    }
}

/// Fails if anything is damaged.
pub fn fsck(config: &Path, named: Option<&Path>, as_json: bool) -> Result<(), String> {
    let directory = directory(config, named)?;
    let report = spool::check(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let damaged = report.damaged.len();
    if as_json {
        println!(
            "{}",
            json!({
                "directory": directory, "messages": report.messages, "recipients": report.recipients,
                "octets": report.octets, "torn_tails": report.torn_tails, "damaged": report.damaged,
            })
        );
    } else {
        println!("directory   {}", directory.display());
        println!("messages    {}, for {} recipients", report.messages, report.recipients);
        println!("octets      {}", octets(report.octets));
        println!("torn tails  {} (what a crash cut off; nobody had heard 250 for it)", report.torn_tails);
        println!("damaged     {damaged}");
        report.damaged.iter().for_each(|place| println!("  {place}"));
    }
    match damaged {
        0 => Ok(()),
        _ => Err(format!(
            "{damaged} damaged; the mta sets them aside when it starts and goes on with the rest"
        )),
    }
}

/// A message's envelope as a comment in front, unless `raw`, and its octets.
pub fn export(
    config: &Path,
    named: Option<&Path>,
    queue_id: &str,
    raw: bool,
    as_json: bool,
) -> Result<(), String> {
    let directory = directory(config, named)?;
    let id: QueueId = queue_id.parse().map_err(|_| format!("{queue_id:?} is no queue id"))?;
    let found = spool::export(&directory, &id);
    let (message, body) = found.map_err(|error| format!("{}: {error}", directory.display()))?;
    let recipients: Vec<String> = message.recipients.iter().map(|to| to.address.to_string()).collect();
    let mut out = Vec::new();
    if as_json {
        let text = String::from_utf8_lossy(&body);
        let object = json!({
            "queue_id": queue_id, "trace_id": message.trace_id.to_string(),
            "sender": message.reverse_path.to_string(), "recipients": recipients,
            "accepted_us": message.accepted_at, "expires_us": message.expires_at,
            "message": text, "message_is_exact": matches!(text, std::borrow::Cow::Borrowed(_)),
        });
        out = object.to_string().into_bytes();
        out.push(b'\n');
    } else {
        if !raw {
            out.extend_from_slice(format!("X-Postroad-Trace: {}\r\n", message.trace_id).as_bytes());
            out.extend_from_slice(format!("X-Postroad-From: <{}>\r\n", message.reverse_path).as_bytes());
            for to in &recipients {
                out.extend_from_slice(format!("X-Postroad-To: <{to}>\r\n").as_bytes());
            }
        }
        out.extend_from_slice(&body);
    }
    std::io::stdout().write_all(&out).map_err(|error| format!("standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_without_damage_is_fine_and_a_wrong_name_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        let nowhere = Path::new("/nonexistent/postroad.toml");
        fsck(nowhere, Some(dir.path()), false).unwrap();
        let error = export(nowhere, Some(dir.path()), "x", false, false).unwrap_err();
        assert!(error.contains("no queue id"), "{error}");
        let error = fsck(nowhere, Some(Path::new("/nonexistent/spool")), false).unwrap_err();
        assert!(error.contains("/nonexistent/spool"), "{error}");
        let error = fsck(nowhere, None, false).unwrap_err();
        assert!(error.contains("postroad.toml"), "{error}");
    }
}
