//! The Trace service of the contracts, over the log of steps.

use std::pin::Pin;

use futures_util::Stream;
use postroad_rpc::{Peer, v1};
use postroad_types::Role;
use tonic::{Request, Response, Status};

use super::{Query, TraceEvent, TraceLog};

/// Steps in one answer of the stream.
const STEPS_PER_ANSWER: usize = 500;

/// Answers an operator's questions: `.add(TraceServer::new(TraceService::new(log)))`.
#[derive(Clone, Debug)]
pub struct TraceService {
    log: TraceLog,
}

impl TraceService {
    pub fn new(log: TraceLog) -> Self {
        TraceService { log }
    }
}

#[tonic::async_trait]
impl v1::trace_server::Trace for TraceService {
    type FindStepsStream = Pin<Box<dyn Stream<Item = Result<v1::FindStepsReply, Status>> + Send>>;

    async fn find_steps(
        &self,
        request: Request<v1::FindStepsRequest>,
    ) -> Result<Response<Self::FindStepsStream>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let query = query(request.into_inner())?;
        let log = self.log.clone();
        let steps = tokio::task::spawn_blocking(move || log.find(&query))
            .await
            .map_err(|error| Status::internal(format!("the look-up ended early: {error}")))?
            .map_err(|error| Status::unavailable(format!("the log of steps cannot be read: {error}")))?;
        let mut answers = Vec::new();
        let mut steps = steps.into_iter().map(v1::Step::from).peekable();
        while steps.peek().is_some() {
            answers.push(Ok(v1::FindStepsReply { steps: steps.by_ref().take(STEPS_PER_ANSWER).collect() }));
        }
        Ok(Response::new(Box::pin(futures_util::stream::iter(answers))))
    }
}

fn query(request: v1::FindStepsRequest) -> Result<Query, Status> {
    let text = |text: String| if text.is_empty() { None } else { Some(text) };
    let time = |us: i64| u64::try_from(us).ok().filter(|us| *us > 0);
    let mut query = Query {
        from: text(request.from),
        to: text(request.to),
        since_us: time(request.since_us),
        until_us: time(request.until_us),
        limit: request.limit as usize,
        ..Query::default()
    };
    if let Some(id) = text(request.id) {
        query.trace_id = id.parse().ok();
        query.queue_id = id.parse().ok();
        if query.trace_id.is_none() && query.queue_id.is_none() {
            let message =
                format!("id: {id:?}; expected a trace id (32 hex digits) or a queue id (16 characters)");
            return Err(Status::invalid_argument(message));
        }
    }
    if query.is_empty() {
        return Err(Status::invalid_argument("nothing is asked for; expected id, from or to"));
    }
    Ok(query)
}

impl From<TraceEvent> for v1::Step {
    fn from(event: TraceEvent) -> Self {
        v1::Step {
            at_us: i64::try_from(event.at_us).unwrap_or(i64::MAX),
            trace_id: event.trace_id.to_string(),
            queue_id: event.queue_id.map(|id| id.to_string()).unwrap_or_default(),
            role: event.role,
            node: event.node,
            name: event.name,
            fields: event.fields.into_iter().map(|(key, value)| v1::StepField { key, value }).collect(),
            duration_us: event.duration_us,
        }
    }
}
