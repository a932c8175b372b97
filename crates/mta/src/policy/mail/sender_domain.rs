//! The sender's domain exists and takes mail: a bounce or an answer could reach it (RFC 5321 §4.1.4, RFC 7505 §4.2).

use postroad_config::{CheckAction, OnFailure};
use postroad_types::Address;

use crate::consignment::reply;
use crate::policy::lookup::Questions;
use crate::policy::verdict::Finding;
use crate::route::{DnsAnswer, Failure, Family};

const CHECK: &str = "sender-domain";

pub(super) async fn check(
    action: CheckAction,
    failure: OnFailure,
    sender: &Address,
    dns: &Questions<'_>,
) -> Finding {
    // An address literal needs no DNS.
    let (Some(domain), true) = (sender.domain(), action != CheckAction::Off) else {
        return Finding::clean(CHECK);
    };
    let name = domain.ascii();
    let failed = |why: Failure| {
        let reason = format!("whether {name} exists could not be found out: {why}");
        match failure {
            OnFailure::Accept => Finding::pass(CHECK, reason),
            OnFailure::Defer => {
                let text = format!("the sender's domain {name} can not be looked up now, try again later");
                Finding { reason, ..Finding::refuse(CHECK, reply(451, (4, 4, 3), text)) }
            }
        }
    };
    let unknown = || {
        let reason = format!("the sender's domain {name} does not exist");
        Finding::by(action, CHECK, (5, 1, 8), reason)
    };
    match dns.mx(name).await {
        DnsAnswer::Records { records, .. } if records.iter().all(|mx| mx.exchange.is_empty()) => {
            let reason = format!("the sender's domain {name} takes no mail (null MX)");
            Finding::by(action, CHECK, (5, 7, 27), reason)
        }
        DnsAnswer::Records { .. } => Finding::clean(CHECK),
        DnsAnswer::NoSuchDomain => unknown(),
        DnsAnswer::Failed(why) => failed(why),
        // The implicit MX (RFC 5321 §5.1).
        DnsAnswer::NoRecords => {
            let asked = (dns.addresses(name, Family::A), dns.addresses(name, Family::Aaaa));
            match tokio::join!(asked.0, asked.1) {
                (DnsAnswer::Records { .. }, _) | (_, DnsAnswer::Records { .. }) => Finding::clean(CHECK),
                (DnsAnswer::Failed(why), _) | (_, DnsAnswer::Failed(why)) => failed(why),
                _ => {
                    let reason = format!("the sender's domain {name} has neither MX nor address");
                    Finding::by(action, CHECK, (5, 1, 8), reason)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::fake::FakeDns;
    use crate::policy::lookup::Lookup;
    use crate::policy::verdict::Verdict;

    #[tokio::test(start_paused = true)]
    async fn a_domain_that_no_answer_reaches_is_refused() {
        let dns = || {
            FakeDns::new()
                .mx("mx.test", "mail.mx.test")
                .mx("null.test", "")
                .a("a.test", "192.0.2.1")
                .a("aaaa.test", "2001:db8::1")
                .fails("broken.test")
                .hangs("slow.test")
                .txt("txt.test", "x")
        };
        for (sender, code) in [
            ("x@mx.test", "pass"),
            ("x@a.test", "pass"),
            ("x@aaaa.test", "pass"),
            ("x@[192.0.2.9]", "pass"),
            ("x@null.test", "550 5.7.27"),
            ("x@nowhere.test", "550 5.1.8"),
            ("x@broken.test", "451 4.4.3"),
            ("x@slow.test", "451 4.4.3"),
        ] {
            let lookup = Lookup::new(Arc::new(dns()), Duration::from_secs(1));
            let sender: Address = sender.parse().unwrap();
            let finding = check(CheckAction::Refuse, OnFailure::Defer, &sender, &lookup.begin()).await;
            let shown = match &finding.verdict {
                Verdict::Refuse(reply) | Verdict::Defer(reply) => reply.to_string(),
                verdict => verdict.name().to_owned(),
            };
            assert!(shown.starts_with(code), "{sender}: {shown}");
            let open = check(CheckAction::Mark, OnFailure::Accept, &sender, &lookup.begin()).await;
            let expected = if code.starts_with('5') { "mark" } else { "pass" };
            assert_eq!(open.verdict.name(), expected, "{sender}");
        }
    }
}
