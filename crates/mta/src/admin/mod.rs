//! The Queue service: what an operator sees of the queue and does to it.
//!
//! All of it is the spool's own view; here it is only put into the contract's words. After a change the runner
//! is woken, so that "retry now" means now.

#[cfg(test)]
mod tests;
mod words;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use postroad_rpc::v1::queue_event::Kind;
use postroad_rpc::v1::queue_server::Queue as QueueContract;
use postroad_rpc::{Peer, convert, v1};
use postroad_service::tracelog::Query;
use postroad_service::{Clock, TraceLog};
use postroad_store::spool::{AGE_MINUTES, Filter, Order, SpoolEvent};
use postroad_types::{QueueId, Role};
use tokio::sync::broadcast::error::RecvError;
use tonic::{Request, Response, Status};

use crate::queue::Queue;
use words::{asks_active, domain, filter, message, route, status};

/// Messages of a page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 1000;
const PAGE_MAX: usize = 10_000;
/// Octets of a message that are shown at most.
const HEAD_OCTETS_MAX: u32 = 65_536;
/// Steps of an attempt: the dialogue, and what it led to.
const ATTEMPT_STEPS: [&str; 7] =
    ["smtp", "delivered", "deferred", "rejected", "expanded", "expired", "kept back"];

/// The service; for operators only.
#[derive(Clone, Debug)]
pub struct QueueService {
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    trace_log: TraceLog,
}

impl QueueService {
    pub fn new(queue: Arc<Queue>, clock: Arc<dyn Clock>, trace_log: TraceLog) -> Self {
        QueueService { queue, clock, trace_log }
    }

    fn now(&self) -> i64 {
        crate::clock::now(&*self.clock)
    }

    /// Carries out an order on what a selector names.
    async fn order(
        &self,
        request: Request<v1::Selector>,
        order: Order,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        self.carry_out(request.into_inner(), order).await
    }

    async fn carry_out(
        &self,
        selector: v1::Selector,
        order: Order,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        let filter = filter(&selector)?;
        if filter == Filter::default() && !selector.all {
            return Err(Status::invalid_argument("nothing is selected; to choose every message say `all`"));
        }
        let changed =
            self.queue.spool().order(&filter, order.clone(), self.now()).await.map_err(|e| status(&e))?;
        if changed.is_empty() && !filter.ids.is_empty() {
            return Err(Status::not_found("no message in the queue fits"));
        }
        tracing::info!(?order, messages = changed.len(), "an operator changed the queue");
        match order {
            Order::Release | Order::Retry | Order::Expire | Order::Reroute(_) => self.queue.hurry(),
            Order::Hold | Order::Remove => {}
        }
        let queue_ids = changed.iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::ChangeReply { queue_ids }))
    }

    /// Suspends a destination, or resumes it.
    async fn suspend(
        &self,
        request: Request<v1::DestinationRequest>,
        suspended: bool,
    ) -> Result<Response<v1::DestinationReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let domain = domain(&request.into_inner().domain)?;
        let (queue, named) = (self.queue.clone(), domain.clone());
        let setting = tokio::task::spawn_blocking(move || queue.suspension().set(&named, suspended));
        let changed = setting.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let changed = changed.map_err(|error| {
            Status::unavailable(format!("the suspension can not be written down: {error}"))
        })?;
        tracing::info!(%domain, suspended, changed, "an operator changed a destination");
        if changed && !suspended {
            let filter = Filter { domain: Some(domain.ascii().to_owned()), ..Filter::default() };
            let due = self.queue.spool().order(&filter, Order::Retry, self.now()).await;
            due.map_err(|e| status(&e))?;
            self.queue.hurry();
        }
        Ok(Response::new(v1::DestinationReply { changed }))
    }

    /// What the log of steps has about a message's attempts.
    async fn attempts(&self, id: &QueueId) -> Result<Vec<v1::Step>, Status> {
        let query = Query { queue_id: Some(id.clone()), ..Query::default() };
        let log = self.trace_log.clone();
        let found = tokio::task::spawn_blocking(move || log.find(&query)).await;
        let steps = found
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| Status::unavailable(format!("the log of steps cannot be read: {error}")))?;
        let attempts = steps.into_iter().filter(|step| ATTEMPT_STEPS.contains(&step.name.as_str()));
        Ok(attempts.map(Into::into).collect())
    }

    async fn event(&self, event: SpoolEvent) -> v1::QueueEvent {
        let (kind, id) = match event {
            SpoolEvent::Accepted(id) => (Kind::Accepted, id),
            SpoolEvent::Changed(id) => (Kind::Changed, id),
            SpoolEvent::Gone(id) => (Kind::Done, id),
        };
        let message = match kind {
            Kind::Done => None,
            // It may have gone meanwhile: then its own event follows.
            _ => self.queue.spool().get(&id).await.ok().map(|found| message(found, self.now())),
        };
        v1::QueueEvent { kind: kind.into(), message, queue_id: id.to_string() }
    }
}

#[tonic::async_trait]
impl QueueContract for QueueService {
    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let request = request.into_inner();
        let selector = request.selector.unwrap_or_default();
        let filter = filter(&selector)?;
        let page = request.page.unwrap_or_default();
        let size = match page.size as usize {
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        };
        let after: Option<QueueId> = match page.token.as_str() {
            "" => None,
            token => Some(convert::queue_id("page.token", token)?),
        };
        let spool = self.queue.spool();
        let found = spool.list(&filter, after.as_ref(), size).await.map_err(|e| status(&e))?;
        let next_page = match found.last() {
            Some(last) if found.len() == size => last.id.to_string(),
            _ => String::new(),
        };
        let now = self.now();
        let messages =
            found.into_iter().filter(|found| !asks_active(&selector) || words::is_active(found, now));
        let messages = messages.map(|found| message(found, now)).collect();
        let total = spool.report().await.map_err(|e| status(&e))?.messages;
        Ok(Response::new(v1::ListMessagesReply { messages, next_page, total }))
    }

    async fn show_message(
        &self,
        request: Request<v1::ShowMessageRequest>,
    ) -> Result<Response<v1::ShowMessageReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let request = request.into_inner();
        let id = convert::queue_id("queue_id", &request.queue_id)?;
        let found = self.queue.spool().get(&id).await.map_err(|e| status(&e))?;
        let head = match request.head_octets.min(HEAD_OCTETS_MAX) {
            0 => bytes::Bytes::new(),
            length => self.queue.spool().read(&id, 0, length as usize).await.map_err(|e| status(&e))?,
        };
        let attempts = self.attempts(&id).await?;
        let message = Some(message(found, self.now()));
        Ok(Response::new(v1::ShowMessageReply { message, head, attempts }))
    }

    async fn count_by_destination(
        &self,
        request: Request<v1::CountByDestinationRequest>,
    ) -> Result<Response<v1::CountByDestinationReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let counts = self.queue.spool().destinations(self.now()).await.map_err(|e| status(&e))?;
        let suspended = self.queue.suspension().all();
        let mut destinations: Vec<v1::Destination> = counts
            .into_iter()
            .map(|count| v1::Destination {
                suspended: suspended.contains(&count.domain),
                ages: count.ages.to_vec(),
                domain: count.domain,
                recipients: count.recipients,
                held: count.held,
                oldest_us: count.oldest_at,
                next_attempt_us: count.next_attempt_at,
                last_reply: count.last_reply.map(Into::into),
            })
            .collect();
        // Those for which nothing waits are listed too: it is a state that an operator must not forget.
        for domain in suspended {
            if !destinations.iter().any(|listed| listed.domain == domain) {
                let ages = vec![0; AGE_MINUTES.len() + 1];
                destinations.push(v1::Destination { domain, ages, suspended: true, ..Default::default() });
            }
        }
        let age_minutes = AGE_MINUTES.iter().map(|minutes| *minutes as u32).collect();
        Ok(Response::new(v1::CountByDestinationReply { destinations, age_minutes }))
    }

    async fn reroute_messages(
        &self,
        request: Request<v1::RerouteRequest>,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let request = request.into_inner();
        let order = Order::Reroute(route(&request.via)?);
        self.carry_out(request.selector.unwrap_or_default(), order).await
    }

    async fn suspend_destination(
        &self,
        request: Request<v1::DestinationRequest>,
    ) -> Result<Response<v1::DestinationReply>, Status> {
        self.suspend(request, true).await
    }

    async fn resume_destination(
        &self,
        request: Request<v1::DestinationRequest>,
    ) -> Result<Response<v1::DestinationReply>, Status> {
        self.suspend(request, false).await
    }

    async fn hold_messages(
        &self,
        request: Request<v1::Selector>,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        self.order(request, Order::Hold).await
    }

    async fn release_messages(
        &self,
        request: Request<v1::Selector>,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        self.order(request, Order::Release).await
    }

    async fn retry_messages(
        &self,
        request: Request<v1::Selector>,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        self.order(request, Order::Retry).await
    }

    async fn remove_messages(
        &self,
        request: Request<v1::Selector>,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        self.order(request, Order::Remove).await
    }

    async fn expire_messages(
        &self,
        request: Request<v1::Selector>,
    ) -> Result<Response<v1::ChangeReply>, Status> {
        self.order(request, Order::Expire).await
    }

    type WatchQueueStream = Pin<Box<dyn Stream<Item = Result<v1::QueueEvent, Status>> + Send>>;

    async fn watch_queue(
        &self,
        request: Request<v1::WatchQueueRequest>,
    ) -> Result<Response<Self::WatchQueueStream>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let events = self.queue.spool().watch();
        let bare = |kind: Kind| v1::QueueEvent { kind: kind.into(), message: None, queue_id: String::new() };
        let service = self.clone();
        let rest = stream::unfold((events, service), move |(mut events, service)| async move {
            let event = tokio::select! {
                // A watcher must not hold up the end of the service.
                () = service.queue.stopping() => return None,
                event = events.recv() => event,
            };
            let event = match event {
                Ok(event) => service.event(event).await,
                Err(RecvError::Lagged(_)) => bare(Kind::Lost),
                Err(RecvError::Closed) => return None,
            };
            Some((Ok(event), (events, service)))
        });
        let first = stream::iter([Ok(bare(Kind::Watching))]);
        Ok(Response::new(Box::pin(stream::StreamExt::chain(first, rest))))
    }
}
