//! `postroad queue`: the mta's queue.

use std::path::Path;

use clap::Subcommand;
use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;
use postroad_types::Role;
use serde_json::json;

use super::client::{Services, said};
use super::table::{now_us, octets, span, table};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Messages in the queue
    List {
        #[command(flatten)]
        selection: Selection,
        /// Machine readable: an object a line
        #[arg(long)]
        json: bool,
    },
    /// One message: recipients, last replies, next attempts, its header
    Show {
        queue_id: String,
        #[arg(long)]
        json: bool,
    },
    /// How much waits for which domain, and since when
    Destinations {
        #[arg(long)]
        json: bool,
    },
    /// Make no attempts until released
    Hold(Selection),
    /// Let held messages go on
    Release(Selection),
    /// Try now, whatever the time table says
    Retry(Selection),
    /// Take out of the queue, without a bounce
    Remove(Selection),
    /// Give up now, with a bounce to the sender
    Expire(Selection),
    /// Tell of every change until Ctrl-C
    Watch,
}

/// Which messages; all that is given must fit
#[derive(Debug, clap::Args)]
struct Selection {
    /// Queue ids
    queue_ids: Vec<String>,
    /// Reverse-path; "<>" for bounces
    #[arg(long)]
    sender: Option<String>,
    #[arg(long)]
    recipient: Option<String>,
    /// Domain of a recipient
    #[arg(long)]
    domain: Option<String>,
    /// waiting, active, held or failed
    #[arg(long)]
    state: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

impl Selection {
    fn selector(&self) -> Result<v1::Selector, String> {
        let state = match self.state.as_deref() {
            None => v1::RecipientState::StateAny,
            Some("waiting") => v1::RecipientState::StateWaiting,
            Some("active") => v1::RecipientState::StateActive,
            Some("held") => v1::RecipientState::StateHeld,
            Some("failed") => v1::RecipientState::StateFailed,
            Some(other) => {
                return Err(format!("{other:?} is no state; expected waiting, active, held or failed"));
            }
        };
        Ok(v1::Selector {
            queue_ids: self.queue_ids.clone(),
            sender: self.sender.clone().unwrap_or_default(),
            recipient: self.recipient.clone().unwrap_or_default(),
            domain: self.domain.clone().unwrap_or_default(),
            state: state.into(),
            all: self.all,
            ..Default::default()
        })
    }
}

pub async fn main(config: &Path, args: Args) -> Result<(), String> {
    let mut queue = QueueClient::new(Services::load(config)?.channel(Role::Mta).await?);
    match args.what {
        What::List { selection, json } => list(&mut queue, selection.selector()?, json).await,
        What::Show { queue_id, json } => show(&mut queue, queue_id, json).await,
        What::Destinations { json } => destinations(&mut queue, json).await,
        What::Watch => watch(&mut queue).await,
        What::Hold(which) => changed("held", queue.hold_messages(which.selector()?).await),
        What::Release(which) => changed("released", queue.release_messages(which.selector()?).await),
        What::Retry(which) => changed("due now", queue.retry_messages(which.selector()?).await),
        What::Remove(which) => changed("removed", queue.remove_messages(which.selector()?).await),
        What::Expire(which) => changed("given up", queue.expire_messages(which.selector()?).await),
    }
}

fn changed(word: &str, reply: Result<tonic::Response<v1::ChangeReply>, tonic::Status>) -> Result<(), String> {
    let ids = reply.map_err(said)?.into_inner().queue_ids;
    for id in &ids {
        println!("{id} {word}");
    }
    println!("{} {}", ids.len(), if ids.len() == 1 { "message" } else { "messages" });
    Ok(())
}

async fn list(queue: &mut QueueClient<Channel>, selector: v1::Selector, as_json: bool) -> Result<(), String> {
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
        if message.sender.is_empty() { "<>".to_owned() } else { message.sender.clone() },
        recipient.address.clone(),
        state(recipient).to_owned(),
        recipient.attempts.to_string(),
        next(recipient, now),
        last(recipient),
    ]
}

fn next(recipient: &v1::QueuedRecipient, now: i64) -> String {
    match recipient.state() {
        v1::RecipientState::StateWaiting if recipient.next_attempt_us <= now => "now".to_owned(),
        v1::RecipientState::StateWaiting => format!("in {}", span(recipient.next_attempt_us - now)),
        _ => "-".to_owned(),
    }
}

fn last(recipient: &v1::QueuedRecipient) -> String {
    let Some(reply) = &recipient.last_reply else { return String::new() };
    format!("{} ({})", reply_line(reply), recipient.last_host)
}

fn reply_line(reply: &v1::Reply) -> String {
    let text = reply.text.replace('\n', " ");
    [reply.code.to_string(), reply.enhanced.clone(), text]
        .into_iter()
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn state(recipient: &v1::QueuedRecipient) -> &'static str {
    match recipient.state() {
        v1::RecipientState::StateAny => "?",
        v1::RecipientState::StateWaiting => "waiting",
        v1::RecipientState::StateActive => "active",
        v1::RecipientState::StateHeld => "held",
        v1::RecipientState::StateDelivered => "delivered",
        v1::RecipientState::StateFailed => "failed",
    }
}

async fn show(queue: &mut QueueClient<Channel>, queue_id: String, as_json: bool) -> Result<(), String> {
    let request = v1::ShowMessageRequest { queue_id, head_octets: 16_384 };
    let reply = queue.show_message(request).await.map_err(said)?.into_inner();
    let message = reply.message.ok_or("the mta answered without a message")?;
    if as_json {
        println!("{}", message_json(&message));
        return Ok(());
    }
    let now = now_us();
    println!("queue id   {}", message.queue_id);
    println!("trace id   {}", message.trace_id);
    println!("from       {}", if message.sender.is_empty() { "<>" } else { &message.sender });
    println!("size       {}", octets(message.size));
    println!(
        "accepted   {} ago, given up in {}",
        span(now - message.accepted_us),
        span(message.expires_us - now)
    );
    for recipient in &message.recipients {
        println!("\nto         {}", recipient.address);
        println!(
            "state      {}, {} attempts, next {}",
            state(recipient),
            recipient.attempts,
            next(recipient, now)
        );
        if recipient.last_reply.is_some() {
            println!("last       {} ago: {}", span(now - recipient.last_attempt_us), last(recipient));
        }
    }
    println!();
    let head = String::from_utf8_lossy(&reply.head);
    for line in head.split("\r\n\r\n").next().unwrap_or_default().lines() {
        println!(
            "  {}",
            line.escape_debug().to_string().replace("\\t", "\t").replace("\\\"", "\"").replace("\\'", "'")
        );
    }
    println!("\nevery step: postroad trace {}", message.trace_id);
    Ok(())
}

async fn destinations(queue: &mut QueueClient<Channel>, as_json: bool) -> Result<(), String> {
    let reply =
        queue.count_by_destination(v1::CountByDestinationRequest {}).await.map_err(said)?.into_inner();
    let now = now_us();
    let mut rows = Vec::new();
    for destination in &reply.destinations {
        let last = destination.last_reply.as_ref().map(reply_line).unwrap_or_default();
        if as_json {
            let object = json!({
                "domain": destination.domain, "recipients": destination.recipients, "held": destination.held,
                "oldest_us": destination.oldest_us, "next_attempt_us": destination.next_attempt_us, "last_reply": last,
            });
            println!("{object}");
            continue;
        }
        rows.push(vec![
            destination.domain.clone(),
            destination.recipients.to_string(),
            destination.held.to_string(),
            span(now - destination.oldest_us),
            span(destination.next_attempt_us - now),
            last,
        ]);
    }
    if !as_json {
        print!("{}", table(&["DOMAIN", "RECIPIENTS", "HELD", "OLDEST", "NEXT IN", "LAST REPLY"], &rows));
    }
    Ok(())
}

async fn watch(queue: &mut QueueClient<Channel>) -> Result<(), String> {
    let mut events = queue.watch_queue(v1::WatchQueueRequest {}).await.map_err(said)?.into_inner();
    while let Some(event) = events.message().await.map_err(said)? {
        match (event.kind(), &event.message) {
            (v1::queue_event::Kind::Watching, _) => eprintln!("watching; Ctrl-C ends it"),
            (v1::queue_event::Kind::Lost, _) => eprintln!("too many changes at once; some are not shown"),
            (v1::queue_event::Kind::Done, _) => println!("{} done", event.queue_id),
            (kind, Some(message)) => {
                let word = if kind == v1::queue_event::Kind::Accepted { "accepted" } else { "changed" };
                for recipient in &message.recipients {
                    let (id, from, to) = (&message.queue_id, &message.sender, &recipient.address);
                    println!("{id} {word} <{from}> to <{to}> {} {}", state(recipient), last(recipient));
                }
            }
            (_, None) => {}
        }
    }
    Ok(())
}

fn message_json(message: &v1::QueuedMessage) -> serde_json::Value {
    let recipients: Vec<_> = message
        .recipients
        .iter()
        .map(|recipient| {
            json!({
                "address": recipient.address,
                "state": state(recipient),
                "attempts": recipient.attempts,
                "next_attempt_us": recipient.next_attempt_us,
                "last_reply": recipient.last_reply.as_ref().map(reply_line),
                "last_host": recipient.last_host,
                "last_attempt_us": recipient.last_attempt_us,
            })
        })
        .collect();
    json!({
        "queue_id": message.queue_id, "trace_id": message.trace_id, "sender": message.sender, "size": message.size,
        "accepted_us": message.accepted_us, "expires_us": message.expires_us, "recipients": recipients,
    })
}
