//! `postroad trace`: the steps of a message over all services, as one timeline.

use std::collections::BTreeMap;
use std::path::Path;

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::trace_client::TraceClient;
use postroad_types::Role;
use serde_json::json;

use super::client::{Services, said};
use super::table::{now_us, printable};
use crate::lab::say;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A trace id, or a queue id as in replies, Received headers and `postroad queue list`
    #[arg(required_unless_present_any = ["from", "to"])]
    id: Option<String>,
    /// Messages from this address
    #[arg(long)]
    from: Option<String>,
    /// Messages to this address
    #[arg(long)]
    to: Option<String>,
    /// Not older than this: 2h, 3d
    #[arg(long)]
    since: Option<String>,
    /// At most so many messages
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Machine readable: a step a line
    #[arg(long)]
    json: bool,
}

/// Steps that were found, and the services that could not be asked.
#[derive(Debug, Default)]
pub struct Finding {
    /// In the order of time.
    pub steps: Vec<v1::Step>,
    /// Role and reason: the timeline may have holes.
    pub silent: Vec<(String, String)>,
}

pub async fn main(config: &Path, args: Args) -> Result<(), String> {
    let services = Services::load(config)?;
    let since_us = match args.since.as_deref() {
        None => 0,
        Some(text) => {
            let span = postroad_config::units::duration::parse(text)
                .ok_or(format!("{text:?} is no time span; expected something like 2h or 3d"))?;
            now_us() - i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
        }
    };
    let request = v1::FindStepsRequest {
        id: args.id.unwrap_or_default(),
        from: args.from.unwrap_or_default(),
        to: args.to.unwrap_or_default(),
        since_us,
        until_us: 0,
        limit: args.limit,
    };
    let mut ends = Vec::new();
    let mut silent = Vec::new();
    for role in Role::SERVICES {
        match services.channel(role).await {
            Ok(channel) => ends.push((role.name().to_owned(), channel)),
            Err(why) => silent.push((role.name().to_owned(), why)),
        }
    }
    let mut finding = find(&ends, &request).await;
    finding.silent.extend(silent);
    if args.json {
        for step in &finding.steps {
            println!("{}", step_json(step));
        }
    } else {
        print!("{}", render(&finding.steps));
    }
    for (role, why) in &finding.silent {
        eprintln!("postroad: {role} could not be asked, its steps are missing: {why}");
    }
    if finding.steps.is_empty() && finding.silent.is_empty() {
        return Err("no step of such a message is in the logs (any more)".into());
    }
    Ok(())
}

/// Asks every service, then asks again for the traces that only some of them know by this name: the mda knows a
/// message by its trace id, not by who sent it.
pub async fn find(ends: &[(String, Channel)], request: &v1::FindStepsRequest) -> Finding {
    let mut finding = Finding::default();
    let mut by_trace: BTreeMap<String, ()> = BTreeMap::new();
    for (name, channel) in ends {
        match ask(channel, request.clone()).await {
            Ok(steps) => by_trace.extend(steps.into_iter().map(|step| (step.trace_id, ()))),
            Err(status) => finding.silent.push((name.clone(), said(status))),
        }
    }
    for trace_id in by_trace.into_keys().filter(|id| !id.is_empty()) {
        for (name, channel) in ends {
            if finding.silent.iter().any(|(silent, _)| silent == name) {
                continue;
            }
            let whole = v1::FindStepsRequest { id: trace_id.clone(), ..Default::default() };
            match ask(channel, whole).await {
                Ok(steps) => finding.steps.extend(steps),
                Err(status) => finding.silent.push((name.clone(), said(status))),
            }
        }
    }
    finding.steps.sort_by_key(|step| step.at_us);
    finding
}

async fn ask(channel: &Channel, request: v1::FindStepsRequest) -> Result<Vec<v1::Step>, tonic::Status> {
    let mut replies = TraceClient::new(channel.clone()).find_steps(request).await?.into_inner();
    let mut steps = Vec::new();
    while let Some(reply) = replies.message().await? {
        steps.extend(reply.steps);
    }
    Ok(steps)
}

/// One block for each message, its steps with the time since its first one.
pub fn render(steps: &[v1::Step]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut messages: BTreeMap<&str, Vec<&v1::Step>> = BTreeMap::new();
    for step in steps {
        if !messages.contains_key(step.trace_id.as_str()) {
            order.push(&step.trace_id);
        }
        messages.entry(&step.trace_id).or_default().push(step);
    }
    let mut out = String::new();
    for trace_id in order {
        let steps = messages.remove(trace_id).unwrap_or_default();
        out.push_str(&format!("{} {trace_id}\n", say::dim("trace")));
        let begin = steps.first().map_or(0, |step| step.at_us);
        let width =
            |of: fn(&v1::Step) -> &str| steps.iter().map(|step| of(step).chars().count()).max().unwrap_or(0);
        let (nodes, names) = (width(|step| &step.node), width(|step| &step.name));
        for step in &steps {
            let at = (step.at_us - begin) as f64 / 1000.0;
            let took = match step.duration_us {
                0 => String::new(),
                us => format!("{:.1} ms", us as f64 / 1000.0),
            };
            let (long, short): (Vec<_>, Vec<_>) =
                step.fields.iter().partition(|field| field.value.contains('\n'));
            let fields: Vec<String> = short.into_iter().map(shown).collect();
            out.push_str(&format!(
                "  {at:>9.1} ms  {:<nodes$}  {:<3}  {}  {took:>9}  {}\n",
                step.node,
                step.role,
                say::styled(colour_of(&step.name), &format!("{:<names$}", step.name)),
                fields.join(&say::dim("  ")),
            ));
            for line in long.iter().flat_map(|field| field.value.lines()) {
                out.push_str(&format!("                {} {}\n", say::dim("│"), printable(line)));
            }
        }
    }
    out
}

/// What ends well is green, what waits is yellow, what fails is red.
fn colour_of(name: &str) -> &'static str {
    match name {
        "accepted" | "delivered" | "stored" | "durable" => "32",
        "deferred" | "delayed" => "33",
        "rejected" | "failed" | "bounced" | "refused" => "31",
        _ => "0",
    }
}

fn shown(field: &v1::StepField) -> String {
    format!("{} {}", say::dim(&field.key), printable(&field.value))
}

/// A step for programs.
pub fn step_json(step: &v1::Step) -> serde_json::Value {
    let fields: serde_json::Map<String, serde_json::Value> =
        step.fields.iter().map(|field| (field.key.clone(), field.value.clone().into())).collect();
    json!({
        "at_us": step.at_us, "trace_id": step.trace_id, "queue_id": step.queue_id, "role": step.role,
        "node": step.node, "name": step.name, "fields": fields, "duration_us": step.duration_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialogue_stands_on_lines_of_its_own_and_cannot_steer_the_terminal() {
        let field = |key: &str, value: &str| v1::StepField { key: key.into(), value: value.into() };
        let step = v1::Step {
            trace_id: "t1".into(),
            name: "smtp".into(),
            node: "mx.alpha.test".into(),
            role: "mta".into(),
            fields: vec![field("dialogue", "C: DATA\nS: 554 no\u{1b}[2J"), field("host", "mx.beta.test")],
            ..Default::default()
        };
        let text = render(&[step]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("mx.beta.test") && !lines[1].contains("DATA"), "{text}");
        assert!(lines[2].ends_with("C: DATA") && lines[3].ends_with("S: 554 no [2J"), "{text}");
    }
}
