//! The Queue service as an operator's tool sees it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use postroad_rpc::Peer;
use postroad_rpc::v1::queue_event::Kind;

use super::*;
use crate::testing::{Does, World, world};

fn by<T>(role: Role, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Peer { role, address: None });
    request
}

fn operator<T>(message: T) -> Request<T> {
    by(Role::Operator, message)
}

/// Two messages that wait for their second attempt, and the service.
async fn scene() -> (World, QueueService, Vec<QueueId>) {
    let world = world().await;
    let mut ids = Vec::new();
    for to in ["carol@beta.test", "dave@gamma.test"] {
        world.hosts.script(to, &[Does::Says(451, (4, 3, 0), "later")]);
        ids.push(world.send(&[to]).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let service =
        QueueService::new(world.queue.clone(), Arc::new(world.clock.clone()), world.trace_log.clone());
    (world, service, ids)
}

async fn list(
    service: &QueueService,
    selector: v1::Selector,
    size: u32,
    token: &str,
) -> (Vec<String>, String) {
    let page = Some(v1::Page { size, token: token.to_owned() });
    let request = v1::ListMessagesRequest { selector: Some(selector), page };
    let reply = service.list_messages(operator(request)).await.unwrap().into_inner();
    assert_eq!(reply.total, 2);
    (reply.messages.into_iter().map(|m| m.queue_id).collect(), reply.next_page)
}

#[tokio::test(start_paused = true)]
async fn messages_are_listed_page_by_page_and_by_what_is_asked() {
    let (_world, service, ids) = scene().await;
    let (first, next) = list(&service, v1::Selector::default(), 1, "").await;
    let (second, _) = list(&service, v1::Selector::default(), 1, &next).await;
    assert_eq!([first, second].concat(), [ids[0].to_string(), ids[1].to_string()]);
    let of_gamma = v1::Selector { domain: "Gamma.TEST".into(), ..Default::default() };
    assert_eq!(list(&service, of_gamma, 0, "").await.0, [ids[1].to_string()]);
    let null = v1::Selector { sender: "<>".into(), ..Default::default() };
    assert!(list(&service, null, 0, "").await.0.is_empty());
    let active = v1::Selector { state: v1::RecipientState::StateActive.into(), ..Default::default() };
    assert!(list(&service, active, 0, "").await.0.is_empty(), "both wait for their time");
}

#[tokio::test(start_paused = true)]
async fn one_message_is_shown_with_its_last_reply_and_its_head() {
    let (_world, service, ids) = scene().await;
    let request = v1::ShowMessageRequest { queue_id: ids[0].to_string(), head_octets: 14 };
    let reply = service.show_message(operator(request)).await.unwrap().into_inner();
    let recipient = reply.message.unwrap().recipients.remove(0);
    assert_eq!((recipient.attempts, recipient.last_host.as_str()), (1, "mx.beta.test [192.0.2.25]:25"));
    assert_eq!(recipient.last_reply.unwrap().text, "later");
    assert_eq!(&reply.head[..], b"Subject: hello");
    let attempts: Vec<&str> = reply.attempts.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(attempts, ["deferred"], "the host of this test writes no dialogue");
    let said = |key: &str| reply.attempts[0].fields.iter().any(|field| field.key == key);
    assert!(said("reply") && said("retry_s"), "{:?}", reply.attempts);
    let unknown = v1::ShowMessageRequest { queue_id: QueueId::new(1, 1).to_string(), head_octets: 0 };
    assert_eq!(service.show_message(operator(unknown)).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn orders_reach_what_they_name_and_an_empty_one_nothing() {
    let (world, service, ids) = scene().await;
    let nothing = service.remove_messages(operator(v1::Selector::default())).await.unwrap_err();
    assert_eq!(nothing.code(), tonic::Code::InvalidArgument);
    let named = v1::Selector { queue_ids: vec![ids[0].to_string()], ..Default::default() };
    let removed = service.remove_messages(operator(named.clone())).await.unwrap().into_inner();
    assert_eq!(removed.queue_ids, [ids[0].to_string()]);
    assert_eq!(service.hold_messages(operator(named)).await.unwrap_err().code(), tonic::Code::NotFound);

    world.hosts.script("dave@gamma.test", &[Does::Takes]);
    let all = v1::Selector { all: true, ..Default::default() };
    service.retry_messages(operator(all)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.hosts.received(), ["dave@gamma.test"], "now, and not at the next due time");
}

#[tokio::test(start_paused = true)]
async fn only_operators_are_served() {
    let (_world, service, _) = scene().await;
    for role in [Role::Mda, Role::Mra, Role::Mta] {
        let listed = service.list_messages(by(role, v1::ListMessagesRequest::default())).await;
        assert_eq!(listed.unwrap_err().code(), tonic::Code::PermissionDenied);
        let all = v1::Selector { all: true, ..Default::default() };
        let removed = service.remove_messages(by(role, all)).await;
        assert_eq!(removed.unwrap_err().code(), tonic::Code::PermissionDenied);
    }
}

#[tokio::test(start_paused = true)]
async fn destinations_are_counted_and_changes_watched() {
    let (world, service, ids) = scene().await;
    let counted = service.count_by_destination(operator(v1::CountByDestinationRequest {})).await.unwrap();
    let mut domains: Vec<_> =
        counted.into_inner().destinations.into_iter().map(|d| (d.domain, d.recipients)).collect();
    domains.sort();
    assert_eq!(domains, [("beta.test".to_owned(), 1), ("gamma.test".to_owned(), 1)]);

    let mut events = service.watch_queue(operator(v1::WatchQueueRequest {})).await.unwrap().into_inner();
    assert_eq!(events.next().await.unwrap().unwrap().kind(), Kind::Watching);
    world.hosts.script("carol@beta.test", &[Does::Takes]);
    let named = v1::Selector { queue_ids: vec![ids[0].to_string()], ..Default::default() };
    service.retry_messages(operator(named)).await.unwrap();
    loop {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.queue_id, ids[0].to_string());
        if event.kind() == Kind::Done {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_chosen_by_age_and_by_what_was_heard() {
    let (world, service, ids) = scene().await;
    let later = v1::Selector { reply: "LATER".into(), ..Default::default() };
    assert_eq!(list(&service, later, 0, "").await.0.len(), 2);
    let other = v1::Selector { reply: "greylisted".into(), ..Default::default() };
    assert!(list(&service, other, 0, "").await.0.is_empty());
    let accepted = world.messages().await[1].accepted_at;
    let older = v1::Selector { accepted_before_us: accepted, ..Default::default() };
    let newer = v1::Selector { accepted_since_us: accepted, ..Default::default() };
    let both = [list(&service, older, 0, "").await.0, list(&service, newer, 0, "").await.0];
    assert_eq!(both.concat().len(), 2);
    assert!(both[1].contains(&ids[1].to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_destination_is_listed_even_if_nothing_waits_for_it() {
    let (world, service, _) = scene().await;
    let named = |domain: &str| operator(v1::DestinationRequest { domain: domain.into() });
    for domain in ["Beta.test", "omega.test"] {
        assert!(service.suspend_destination(named(domain)).await.unwrap().into_inner().changed);
    }
    assert!(!service.suspend_destination(named("beta.test")).await.unwrap().into_inner().changed);
    let reply = service.count_by_destination(operator(v1::CountByDestinationRequest {})).await.unwrap();
    let reply = reply.into_inner();
    let mut listed: Vec<_> = reply
        .destinations
        .iter()
        .map(|d| (d.domain.as_str(), d.suspended, d.ages.iter().sum::<u64>()))
        .collect();
    listed.sort();
    assert_eq!(listed, [("beta.test", true, 1), ("gamma.test", false, 1), ("omega.test", true, 0)]);
    assert!(reply.destinations.iter().all(|d| d.ages.len() == reply.age_minutes.len() + 1));

    world.hosts.script("carol@beta.test", &[Does::Takes]);
    assert!(service.resume_destination(named("beta.test")).await.unwrap().into_inner().changed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.hosts.received(), ["carol@beta.test"]);
    let wrong = service.suspend_destination(named("no domain")).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_route_is_understood_or_refused() {
    let (world, service, ids) = scene().await;
    let selector = v1::Selector { queue_ids: vec![ids[0].to_string()], ..Default::default() };
    let to = |via: &str| operator(v1::RerouteRequest { selector: Some(selector.clone()), via: via.into() });
    let wrong = service.reroute_messages(to("nonsense")).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::InvalidArgument);
    assert!(wrong.message().contains("smtp://"), "{wrong}");
    let nothing = operator(v1::RerouteRequest { selector: None, via: "mx".into() });
    assert_eq!(service.reroute_messages(nothing).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    service.reroute_messages(to("lmtp://192.0.2.1")).await.unwrap();
    let request = v1::ShowMessageRequest { queue_id: ids[0].to_string(), head_octets: 0 };
    let shown = service.show_message(operator(request)).await.unwrap().into_inner();
    assert_eq!(shown.message.unwrap().recipients[0].route, "lmtp://192.0.2.1:24");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last = world.hosts.destinations.lock().unwrap().last().cloned().unwrap();
    assert!(last.starts_with("Lmtp: ") && last.contains("192.0.2.1"), "{last}");
}
