//! `postroad dns top`

use std::io::{IsTerminal, Write};

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::traffic_client::TrafficClient;
use serde_json::{Value, json};

use crate::cli::client::said;
use crate::cli::table::table;

/// Clears the terminal and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// So many of the most frequent names, and clients
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    most: u32,
    /// One look, as JSON
    #[arg(long)]
    json: bool,
    /// One look
    #[arg(long)]
    once: bool,
}

pub async fn main(mut traffic: TrafficClient<Channel>, args: Args) -> Result<(), String> {
    let request = v1::WatchTrafficRequest { most: args.most };
    let mut looks = traffic.watch_traffic(request).await.map_err(said)?.into_inner();
    // The first look ends a second that nobody had begun to watch.
    let ended = || "the service ends".to_owned();
    looks.message().await.map_err(said)?.ok_or_else(ended)?;
    let once = args.once || args.json;
    let clear = if std::io::stdout().is_terminal() && !once { CLEAR } else { "" };
    while let Some(look) = looks.message().await.map_err(said)? {
        let text = if args.json { format!("{}\n", in_json(&look)) } else { shown(&look) };
        let written = write!(std::io::stdout(), "{clear}{text}").and_then(|()| std::io::stdout().flush());
        // Whoever read it has gone.
        if written.is_err() || once {
            return Ok(());
        }
    }
    Err(ended())
}

fn rate(count: Option<&v1::TrafficCount>) -> f64 {
    count.map_or(0.0, |count| count.per_second)
}

fn total(count: Option<&v1::TrafficCount>) -> u64 {
    count.map_or(0, |count| count.total)
}

/// The share of answers that nobody else was asked for; `None` when there were none.
fn hit_ratio(look: &v1::WatchTrafficReply) -> Option<f64> {
    let answered: f64 = look.answers.iter().map(|answers| rate(answers.count.as_ref())).sum();
    (answered > 0.0).then(|| (1.0 - rate(look.asked.as_ref()) / answered).max(0.0))
}

fn millis(micros: u64) -> String {
    format!("{:.3}", micros as f64 / 1000.0)
}

fn shown(look: &v1::WatchTrafficReply) -> String {
    let row = |what: &str, count: Option<&v1::TrafficCount>| {
        vec![what.to_owned(), format!("{:.1}", rate(count)), total(count).to_string()]
    };
    let mut rows: Vec<Vec<String>> = look
        .answers
        .iter()
        .map(|answers| row(&format!("{} {}", answers.transport, answers.rcode), answers.count.as_ref()))
        .collect();
    for (what, count) in [
        ("kept (udp)", &look.kept),
        ("in the cache", &look.cache_hits),
        ("asked elsewhere", &look.asked),
        ("held back", &look.limited),
        ("no requests", &look.dropped),
    ] {
        rows.push(row(what, count.as_ref()));
    }
    let mut out = table(&["ANSWERS", "PER S", "TOTAL"], &rows);
    if let Some(ratio) = hit_ratio(look) {
        out.push_str(&format!("\nanswered here {:.1} %", ratio * 100.0));
    }
    if let [half, most, nearly_all, longest] = look.took_us[..] {
        out.push_str(&format!(
            "\ntook ms: 50 % {}, 90 % {}, 99 % {}, longest {}; one in {} seen\n",
            millis(half),
            millis(most),
            millis(nearly_all),
            millis(longest),
            look.one_in
        ));
    }
    let names: Vec<Vec<String>> = look
        .names
        .iter()
        .map(|name| vec![format!("{:.1}", name.per_second), name.r#type.clone(), name.name.clone()])
        .collect();
    let clients: Vec<Vec<String>> = look
        .clients
        .iter()
        .map(|client| vec![format!("{:.1}", client.per_second), client.address.clone()])
        .collect();
    out.push('\n');
    out.push_str(&table(&["PER S", "TYPE", "NAME"], &names));
    out.push('\n');
    out.push_str(&table(&["PER S", "CLIENT"], &clients));
    out
}

fn in_json(look: &v1::WatchTrafficReply) -> Value {
    let count = |count: &Option<v1::TrafficCount>| json!({ "total": total(count.as_ref()), "per_second": rate(count.as_ref()) });
    let answers = look.answers.iter().map(|answers| {
        json!({ "transport": answers.transport, "rcode": answers.rcode, "count": count(&answers.count) })
    });
    let names = look
        .names
        .iter()
        .map(|name| json!({ "name": name.name, "type": name.r#type, "per_second": name.per_second }));
    let clients = look
        .clients
        .iter()
        .map(|client| json!({ "address": client.address, "per_second": client.per_second }));
    json!({
        "at_us": look.at_us,
        "answers": answers.collect::<Vec<_>>(),
        "kept": count(&look.kept),
        "cache_hits": count(&look.cache_hits),
        "asked": count(&look.asked),
        "limited": count(&look.limited),
        "dropped": count(&look.dropped),
        "answered_here": hit_ratio(look),
        "one_in": look.one_in,
        "took_us": look.took_us,
        "names": names.collect::<Vec<_>>(),
        "clients": clients.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_shown_to_people_and_to_programs() {
        let count = |total: u64, per_second: f64| Some(v1::TrafficCount { total, per_second });
        let look = v1::WatchTrafficReply {
            answers: vec![v1::TrafficAnswers {
                transport: "udp".into(),
                rcode: "NOERROR".into(),
                count: count(800, 40.0),
            }],
            asked: count(9, 10.0),
            took_us: vec![11, 24, 310, 20_100],
            names: vec![v1::TrafficName { name: "b.test".into(), r#type: "MX".into(), per_second: 12.1 }],
            clients: vec![v1::TrafficClient { address: "192.0.2.7".into(), per_second: 40.0 }],
            one_in: 3,
            ..Default::default()
        };
        let text = shown(&look);
        for part in [
            "udp NOERROR",
            "40.0",
            "800",
            "answered here 75.0 %",
            "99 % 0.310",
            "12.1   MX    b.test",
            "192.0.2.7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = in_json(&look);
        assert_eq!(json["answers"][0]["count"]["total"], 800);
        assert_eq!((json["answered_here"].as_f64(), json["took_us"][3].as_u64()), (Some(0.75), Some(20_100)));
        assert_eq!(in_json(&v1::WatchTrafficReply::default())["answered_here"], Value::Null);
    }
}
