//! `postroad queue watch`

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;
use postroad_rpc::v1::queue_event::Kind;
use serde_json::json;

use super::words::{last, message_json, sender, state};
use crate::cli::client::said;

pub async fn watch(queue: &mut QueueClient<Channel>, as_json: bool) -> Result<(), String> {
    let mut events = queue.watch_queue(v1::WatchQueueRequest {}).await.map_err(said)?.into_inner();
    while let Some(event) = events.message().await.map_err(said)? {
        let word = match event.kind() {
            Kind::Watching => "watching",
            Kind::Accepted => "accepted",
            Kind::Changed => "changed",
            Kind::Done => "done",
            Kind::Lost => "lost",
        };
        if as_json {
            let message = event.message.as_ref().map(message_json);
            println!("{}", json!({ "event": word, "queue_id": event.queue_id, "message": message }));
            continue;
        }
        match (event.kind(), &event.message) {
            (Kind::Watching, _) => eprintln!("watching; Ctrl-C ends it"),
            (Kind::Lost, _) => eprintln!("too many changes at once; some are not shown"),
            (Kind::Done, _) => println!("{} done", event.queue_id),
            (_, Some(message)) => {
                for recipient in &message.recipients {
                    let (id, from, to) = (&message.queue_id, sender(message), &recipient.address);
                    println!("{id} {word} {from} to {to} {} {}", state(recipient), last(recipient));
                }
            }
            (_, None) => {}
        }
    }
    Ok(())
}
