//! `postroad queue list`

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;

use super::words::{last, message_json, next, sender, state};
use crate::cli::client::said;
use crate::cli::table::{now_us, octets, span, table};

pub async fn list(
    queue: &mut QueueClient<Channel>,
    selector: v1::Selector,
    as_json: bool,
) -> Result<(), String> {
    let mut token = String::new();
    let mut rows = Vec::new();
    let mut total;
    loop {
        let request = v1::ListMessagesRequest {
            selector: Some(selector.clone()),
            page: Some(v1::Page { size: 1000, token }),
        };
        let reply = queue.list_messages(request).await.map_err(said)?.into_inner();
        total = reply.total;
        for message in &reply.messages {
            if as_json {
                println!("{}", message_json(message));
            } else {
                rows.extend(message.recipients.iter().map(|recipient| row(message, recipient)));
            }
        }
        token = reply.next_page;
        if token.is_empty() {
            break;
        }
    }
    if !as_json {
        let head = ["QUEUE ID", "AGE", "SIZE", "FROM", "TO", "STATE", "TRIES", "NEXT", "LAST REPLY"];
        print!("{}", table(&head, &rows));
        println!("{total} in the queue");
    }
    Ok(())
}

fn row(message: &v1::QueuedMessage, recipient: &v1::QueuedRecipient) -> Vec<String> {
    let now = now_us();
    vec![
        message.queue_id.clone(),
        span(now - message.accepted_us),
        octets(message.size),
        sender(message).to_owned(),
        recipient.address.clone(),
        state(recipient).to_owned(),
        recipient.attempts.to_string(),
        next(recipient, now),
        last(recipient),
    ]
}
