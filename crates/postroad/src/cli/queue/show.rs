//! `postroad queue show`: how a message stands, and what each attempt led to.
//!
//! The queue keeps the last word about each recipient; all earlier ones stand in the timelines.

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;
use postroad_types::Role;
use serde_json::Value;

use super::words::{last, message_json, next, sender, state};
use crate::cli::client::{Services, said};
use crate::cli::table::{now_us, octets, printable, span};
use crate::cli::trace::{find, step_json};

/// So much of the message's beginning is asked for.
const HEAD_OCTETS: u32 = 16_384;
/// Steps that say what an attempt led to; `smtp` stands before them, with the dialogue.
const FATES: [&str; 6] = ["delivered", "deferred", "rejected", "expanded", "expired", "kept back"];

pub async fn show(
    services: &Services,
    queue: &mut QueueClient<Channel>,
    queue_id: String,
    as_json: bool,
) -> Result<(), String> {
    let request = v1::ShowMessageRequest { queue_id, head_octets: HEAD_OCTETS };
    let reply = queue.show_message(request).await.map_err(said)?.into_inner();
    let message = reply.message.ok_or("the mta answered without a message")?;
    let attempts = attempts(services, &message.trace_id).await?;
    if as_json {
        let mut object = message_json(&message);
        if let Value::Object(fields) = &mut object {
            fields.insert("history".to_owned(), attempts.iter().map(step_json).collect());
        }
        println!("{object}");
        return Ok(());
    }
    let now = now_us();
    println!("queue id   {}", message.queue_id);
    println!("trace id   {}", message.trace_id);
    println!("from       {}", sender(&message));
    println!("size       {}", octets(message.size));
    let (age, left) = (span(now - message.accepted_us), span(message.expires_us - now));
    println!("accepted   {age} ago, given up in {left}");
    for recipient in &message.recipients {
        println!("\nto         {}", recipient.address);
        if !recipient.original.is_empty() {
            println!("meant for  {}", printable(&recipient.original));
        }
        if !recipient.route.is_empty() {
            println!("goes by    {}, as an operator says", recipient.route);
        }
        let (state, next) = (state(recipient), next(recipient, now));
        println!("state      {state}, {} attempts, next {next}", recipient.attempts);
        if recipient.last_reply.is_some() {
            println!("last       {} ago: {}", span(now - recipient.last_attempt_us), last(recipient));
        }
    }
    if !attempts.is_empty() {
        println!("\nattempts");
        attempts.iter().for_each(|step| print!("{}", attempt(step, now)));
    }
    println!();
    let head = String::from_utf8_lossy(&reply.head);
    for line in head.split("\r\n\r\n").next().unwrap_or_default().lines() {
        println!("  {}", printable(line));
    }
    println!("\nevery step: postroad trace {}", message.trace_id);
    Ok(())
}

/// The mta's steps of this message's attempts, in the order of time.
async fn attempts(services: &Services, trace_id: &str) -> Result<Vec<v1::Step>, String> {
    let ends = [(Role::Mta.name().to_owned(), services.channel(Role::Mta).await?)];
    let request = v1::FindStepsRequest { id: trace_id.to_owned(), ..Default::default() };
    let found = find(&ends, &request).await;
    for (role, why) in &found.silent {
        eprintln!("postroad: {role} does not tell its steps: {why}");
    }
    let is_attempt = |step: &v1::Step| step.name == "smtp" || FATES.contains(&step.name.as_str());
    Ok(found.steps.into_iter().filter(is_attempt).collect())
}

/// A step on a line, a dialogue on lines of its own.
fn attempt(step: &v1::Step, now: i64) -> String {
    let ago = span(now - step.at_us);
    let (long, short): (Vec<_>, Vec<_>) = step.fields.iter().partition(|field| field.value.contains('\n'));
    let short: Vec<String> =
        short.iter().map(|field| format!("{} {}", field.key, printable(&field.value))).collect();
    let mut out = format!("  {ago:>8} ago  {:<9}  {}\n", step.name, short.join("  "));
    for line in long.iter().flat_map(|field| field.value.lines()) {
        out.push_str(&format!("                | {}\n", printable(line)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_tells_its_dialogue_line_by_line() {
        let field = |key: &str, value: &str| v1::StepField { key: key.into(), value: value.into() };
        let step = v1::Step {
            name: "smtp".into(),
            at_us: 1_000_000,
            fields: vec![field("host", "mx.beta.test"), field("dialogue", "C: DATA\nS: 554 no\u{1b}[2J")],
            ..Default::default()
        };
        let text = attempt(&step, 61_000_000);
        assert!(text.starts_with("     1m 0s ago  smtp       host mx.beta.test\n"), "{text}");
        assert!(text.ends_with("| C: DATA\n                | S: 554 no [2J\n"), "{text}");
    }
}
