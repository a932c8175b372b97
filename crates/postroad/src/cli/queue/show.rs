//! `postroad queue show`: how a message stands, and what each attempt led to.
//!
//! The queue keeps the last word about each recipient; all earlier ones stand in the mta's log of steps.

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;
use serde_json::Value;

use super::words::{last, message_json, next, sender, state};
use crate::cli::client::said;
use crate::cli::table::{now_us, octets, printable, span};
use crate::cli::trace::step_json;

/// So much of the message's beginning is asked for.
const HEAD_OCTETS: u32 = 16_384;
pub async fn show(queue: &mut QueueClient<Channel>, queue_id: String, as_json: bool) -> Result<(), String> {
    let request = v1::ShowMessageRequest { queue_id, head_octets: HEAD_OCTETS };
    let reply = queue.show_message(request).await.map_err(said)?.into_inner();
    let message = reply.message.ok_or("the mta answered without a message")?;
    let attempts = reply.attempts;
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
