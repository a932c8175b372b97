//! `postroad queue destinations` and `postroad queue shape`: what waits for whom, and since when.

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;
use serde_json::json;

use super::words::reply_line;
use crate::cli::client::said;
use crate::cli::table::{now_us, span, table};

/// Heights of a bar, from nothing to all.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub async fn destinations(queue: &mut QueueClient<Channel>, as_json: bool) -> Result<(), String> {
    let reply = counts(queue).await?;
    if as_json {
        reply
            .destinations
            .iter()
            .for_each(|destination| println!("{}", destination_json(destination, &reply)));
        return Ok(());
    }
    let now = now_us();
    let row = |destination: &v1::Destination| {
        let waits = destination.recipients > 0;
        let span = |micros: i64| if waits { span(micros) } else { "-".to_owned() };
        vec![
            destination.domain.clone(),
            destination.recipients.to_string(),
            destination.held.to_string(),
            span(now - destination.oldest_us),
            if destination.suspended {
                "suspended".to_owned()
            } else {
                span(destination.next_attempt_us - now)
            },
            destination.last_reply.as_ref().map(reply_line).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = reply.destinations.iter().map(row).collect();
    print!("{}", table(&["DOMAIN", "RECIPIENTS", "HELD", "OLDEST", "NEXT IN", "LAST REPLY"], &rows));
    Ok(())
}

pub async fn shape(queue: &mut QueueClient<Channel>, limit: usize, as_json: bool) -> Result<(), String> {
    let reply = counts(queue).await?;
    if as_json {
        for destination in reply.destinations.iter().take(limit) {
            println!("{}", destination_json(destination, &reply));
        }
        return Ok(());
    }
    print!("{}", drawn(&reply, limit));
    Ok(())
}

/// The most recipients first.
async fn counts(queue: &mut QueueClient<Channel>) -> Result<v1::CountByDestinationReply, String> {
    let asked = queue.count_by_destination(v1::CountByDestinationRequest {}).await;
    let mut reply = asked.map_err(said)?.into_inner();
    reply.destinations.sort_by(|a, b| (b.recipients, &a.domain).cmp(&(a.recipients, &b.domain)));
    Ok(reply)
}

/// A table of counts by age with a row of bars for each destination; all bars have one scale.
fn drawn(reply: &v1::CountByDestinationReply, limit: usize) -> String {
    let columns = reply.age_minutes.len() + 1;
    let mut total = vec![0; columns];
    for destination in &reply.destinations {
        for (sum, count) in total.iter_mut().zip(&destination.ages) {
            *sum += count;
        }
    }
    let mut head = vec!["DESTINATION".to_owned(), "TOTAL".to_owned()];
    head.extend(reply.age_minutes.iter().map(|minutes| span(i64::from(*minutes) * 60_000_000)));
    let last = reply.age_minutes.last().copied().unwrap_or_default();
    head.push(format!("> {}", span(i64::from(last) * 60_000_000)));
    head.push("BARS".to_owned());
    // "5m 0s" says no more than "5m".
    let head: Vec<String> = head.iter().map(|cell| cell.replace(" 0s", "").replace(" 0m", "")).collect();

    let row = |name: &str, recipients: u64, ages: &[u64], most: u64| {
        let mut row = vec![name.to_owned(), recipients.to_string()];
        row.extend(ages.iter().map(|count| if *count == 0 { "·".to_owned() } else { count.to_string() }));
        row.push(ages.iter().map(|count| bar(*count, most)).collect());
        row
    };
    let all: u64 = reply.destinations.iter().map(|destination| destination.recipients).sum();
    let mut rows = vec![row("all", all, &total, total.iter().copied().max().unwrap_or(0))];
    let most =
        reply.destinations.iter().flat_map(|destination| &destination.ages).copied().max().unwrap_or(0);
    for destination in reply.destinations.iter().take(limit) {
        let mark = if destination.suspended { " (suspended)" } else { "" };
        let name = format!("{}{mark}", destination.domain);
        rows.push(row(&name, destination.recipients, &destination.ages, most));
    }
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut out = table(&head, &rows);
    let left = reply.destinations.len().saturating_sub(limit);
    if left > 0 {
        out.push_str(&format!("and {left} more destinations\n"));
    }
    out
}

/// Anything is seen, if only as the lowest bar.
fn bar(count: u64, most: u64) -> char {
    let highest = (BARS.len() - 1) as u64;
    let height = if most == 0 { 0 } else { (count * highest).div_ceil(most) };
    BARS.get(height as usize).copied().unwrap_or(' ')
}

fn destination_json(destination: &v1::Destination, reply: &v1::CountByDestinationReply) -> serde_json::Value {
    json!({
        "domain": destination.domain, "recipients": destination.recipients, "held": destination.held,
        "suspended": destination.suspended, "oldest_us": destination.oldest_us,
        "next_attempt_us": destination.next_attempt_us,
        "last_reply": destination.last_reply.as_ref().map(reply_line),
        "age_minutes": reply.age_minutes, "ages": destination.ages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(domain: &str, ages: &[u64], suspended: bool) -> v1::Destination {
        let recipients = ages.iter().sum();
        v1::Destination {
            domain: domain.into(),
            recipients,
            ages: ages.to_vec(),
            suspended,
            ..Default::default()
        }
    }

    #[test]
    fn ages_are_drawn_to_one_scale() {
        let reply = v1::CountByDestinationReply {
            destinations: vec![
                destination("beta.test", &[8, 1, 0], false),
                destination("gamma.test", &[0, 0, 4], true),
                destination("delta.test", &[1, 0, 0], false),
            ],
            age_minutes: vec![5, 160],
        };
        let text = drawn(&reply, 2);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "DESTINATION             TOTAL  5m  2h 40m  > 2h 40m  BARS");
        assert_eq!(lines[1], "all                     14     9   1       4         █▁▄");
        assert_eq!(lines[2], "beta.test               9      8   1       ·         █▁");
        assert_eq!(lines[3], "gamma.test (suspended)  4      ·   ·       4           ▄");
        assert_eq!(lines[4], "and 1 more destinations");
    }
}
