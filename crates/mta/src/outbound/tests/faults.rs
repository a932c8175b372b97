//! Every fault at every stage of a dialogue: a peer that hangs up, falls silent, lies or babbles. Whatever it does, the
//! attempt ends, each recipient has a fate, and nothing counts as delivered that was not taken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

/// Where a dialogue can go wrong: before the reply to this.
const STAGES: [&str; 6] = ["(connect)", "EHLO", "MAIL", "RCPT", "DATA", "."];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    HangsUp,
    FallsSilent,
    /// A reply with the end of another protocol's line.
    Babbles,
    /// Octets without a line end, for ever.
    NeverEndsALine,
    /// Lines of one reply, for ever.
    NeverEndsAReply,
    /// Half a reply, then nothing.
    Stops,
    /// 354 where it makes no sense, 250 where 354 is due.
    Lies,
    SaysTwo,
    Defers,
    Refuses,
    ShutsDown,
}

const FAULTS: [Fault; 11] = [
    Fault::HangsUp,
    Fault::FallsSilent,
    Fault::Babbles,
    Fault::NeverEndsALine,
    Fault::NeverEndsAReply,
    Fault::Stops,
    Fault::Lies,
    Fault::SaysTwo,
    Fault::Defers,
    Fault::Refuses,
    Fault::ShutsDown,
];

/// A server that is right but for one fault, and whether it has said 250 to the message.
async fn peer(stage: &'static str, fault: Fault) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicBool::new(false));
    let says = taken.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let says = says.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(tcp);
                // A client that has enough hangs up in the middle of our faults.
                let _ = talk(&mut stream, stage, fault, &says).await;
            });
        }
    });
    (address, taken)
}

async fn talk(
    stream: &mut BufReader<tokio::net::TcpStream>,
    stage: &str,
    fault: Fault,
    taken: &AtomicBool,
) -> std::io::Result<()> {
    let mut verb = "(connect)".to_owned();
    loop {
        let right = match verb.as_str() {
            "(connect)" => "220 mx ESMTP",
            "DATA" => "354 go",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        if verb == stage {
            taken.fetch_or(verb == "." && fault == Fault::SaysTwo, Ordering::SeqCst);
            match fault {
                Fault::HangsUp => return Ok(()),
                Fault::FallsSilent => return std::future::pending().await,
                Fault::Babbles => stream.write_all(b"HTTP/1.1 400 \xff\xfe\0 Bad Request\n\n").await?,
                Fault::NeverEndsALine => loop {
                    stream.write_all(&[b'2'; 4096]).await?;
                },
                Fault::NeverEndsAReply => loop {
                    stream.write_all(b"250-and so on\r\n").await?;
                },
                Fault::Stops => {
                    stream.write_all(b"25").await?;
                    return std::future::pending().await;
                }
                Fault::Lies => {
                    let lie = if verb == "DATA" { "250 taken already\r\n" } else { "354 go\r\n" };
                    stream.write_all(lie.as_bytes()).await?;
                }
                Fault::SaysTwo => stream.write_all(format!("{right}\r\n{right}\r\n").as_bytes()).await?,
                Fault::Defers => stream.write_all(b"451 4.3.0 not now\r\n").await?,
                Fault::Refuses => stream.write_all(b"554 5.7.1 never\r\n").await?,
                Fault::ShutsDown => {
                    stream.write_all(b"421 4.3.2 going down\r\n").await?;
                    return Ok(());
                }
            }
        } else {
            taken.fetch_or(verb == ".", Ordering::SeqCst);
            stream.write_all(format!("{right}\r\n").as_bytes()).await?;
        }
        let in_body = verb == "DATA";
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 || verb == "QUIT" {
                return Ok(());
            }
            verb = line.split([' ', '\r']).next().unwrap_or_default().to_owned();
            if !in_body || verb == "." {
                break;
            }
        }
    }
}

#[tokio::test]
async fn whatever_a_peer_does_each_recipient_has_a_fate_and_none_is_lost() {
    let mut settings = settings();
    let short = Duration::from_millis(300);
    settings.timeouts = Timeouts {
        greeting: short,
        command: short,
        mail: short,
        recipient: short,
        data_start: short,
        data_block: short,
        data_end: short,
    };
    let relay = Arc::new(relay(settings));
    let mut running = Vec::new();
    for stage in STAGES {
        for fault in FAULTS {
            let (relay, (address, taken)) = (relay.clone(), peer(stage, fault).await);
            running.push(tokio::spawn(async move {
                let what = message(&["bob@b.test"], "Subject: x\r\n\r\nhello\r\n");
                let report = send(&relay, &what, &to(&[("mx1", address)])).await;
                (stage, fault, report, taken.load(Ordering::SeqCst))
            }));
        }
    }
    let mut fates: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in running {
        let (stage, fault, report, taken) = one.await.unwrap();
        let result = results(&report).remove(0);
        let fate = result.split(' ').next().unwrap().to_owned();
        assert_eq!(fate == "delivered", taken, "{stage} {fault:?}: {result}");
        match (stage, fault) {
            // HELO follows, or a second positive reply is taken for the next one's.
            ("EHLO", _) | (_, Fault::SaysTwo) => {}
            (_, Fault::Refuses) if stage != "(connect)" => assert_eq!(fate, "rejected", "{stage}: {result}"),
            _ if fate == "rejected" => assert_eq!(fault, Fault::Refuses, "{stage}: {result}"),
            _ => assert_eq!(fate, "deferred", "{stage} {fault:?}: {result}"),
        }
        fates.entry(fate).or_default().push(format!("{stage} {fault:?}"));
    }
    assert_eq!(fates.values().map(Vec::len).sum::<usize>(), STAGES.len() * FAULTS.len());
}
