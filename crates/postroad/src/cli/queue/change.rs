//! What an operator's order led to.

use postroad_rpc::v1;
use serde_json::json;
use tonic::{Response, Status};

use crate::cli::client;

/// The messages that were changed, and how.
pub fn said(
    word: &str,
    reply: Result<Response<v1::ChangeReply>, Status>,
    as_json: bool,
) -> Result<(), String> {
    let ids = reply.map_err(client::said)?.into_inner().queue_ids;
    for id in &ids {
        match as_json {
            true => println!("{}", json!({ "queue_id": id, "change": word })),
            false => println!("{id} {word}"),
        }
    }
    if !as_json {
        println!("{} {}", ids.len(), if ids.len() == 1 { "message" } else { "messages" });
    }
    Ok(())
}

/// Whether a destination was changed, and how.
pub fn destination(
    domain: &str,
    word: &str,
    reply: Result<Response<v1::DestinationReply>, Status>,
    as_json: bool,
) -> Result<(), String> {
    let changed = reply.map_err(client::said)?.into_inner().changed;
    match (as_json, changed) {
        (true, _) => println!("{}", json!({ "domain": domain, "change": word, "changed": changed })),
        (false, true) => println!("{domain} {word}"),
        (false, false) => println!("{domain} was {word} already"),
    }
    Ok(())
}
