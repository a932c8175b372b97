//! Traffic: a look once a second.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::stream;
use postroad_rpc::v1::{
    TrafficAnswers, TrafficClient, TrafficCount, TrafficName, WatchTrafficReply, WatchTrafficRequest,
    traffic_server,
};
use postroad_rpc::{Fault, FaultKind, Peer};
use postroad_service::Drain;
use postroad_types::Role;
use postroad_types::limits::DNS_TOP_PLACES_MAX;
use tonic::{Request, Response, Status};

use super::{Replies, without_dot};
use crate::front::{Count, Engine, Snapshot};

/// The most frequent names and clients that are told if nobody says how many.
const MOST: usize = 10;

/// The Traffic service.
#[derive(Debug, Clone)]
pub struct TrafficService {
    engine: Arc<Engine>,
    drain: Drain,
}

impl TrafficService {
    /// Streams end with `drain`.
    pub fn new(engine: Arc<Engine>, drain: Drain) -> Self {
        Self { engine, drain }
    }
}

fn reply(snapshot: &Snapshot, most: usize) -> WatchTrafficReply {
    let count = |Count { total, per_second }: Count| Some(TrafficCount { total, per_second });
    let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let at = snapshot.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let answers = snapshot.answers.iter().map(|(transport, rcode, answers)| TrafficAnswers {
        transport: transport.name().to_owned(),
        rcode: (*rcode).to_owned(),
        count: count(*answers),
    });
    let names = snapshot.names.iter().take(most).map(|share| TrafficName {
        name: without_dot(&share.what.0),
        r#type: share.what.1.to_string(),
        per_second: share.per_second,
    });
    let clients = snapshot.clients.iter().take(most);
    let clients =
        clients.map(|share| TrafficClient { address: share.what.to_string(), per_second: share.per_second });
    WatchTrafficReply {
        at_us: i64::try_from(at.as_micros()).unwrap_or(i64::MAX),
        answers: answers.collect(),
        kept: count(snapshot.kept),
        cache_hits: count(snapshot.cache_hits),
        asked: count(snapshot.asked),
        limited: count(snapshot.limited),
        dropped: count(snapshot.dropped),
        one_in: snapshot.one_in,
        took_us: snapshot.took.iter().map(micros).collect(),
        names: names.collect(),
        clients: clients.collect(),
    }
}

#[tonic::async_trait]
impl traffic_server::Traffic for TrafficService {
    type WatchTrafficStream = Replies<WatchTrafficReply>;

    async fn watch_traffic(
        &self,
        request: Request<WatchTrafficRequest>,
    ) -> Result<Response<Self::WatchTrafficStream>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let most = match usize::try_from(request.get_ref().most) {
            Ok(0) => MOST,
            most => most.unwrap_or(usize::MAX).min(DNS_TOP_PLACES_MAX),
        };
        let silent = || Fault::new(FaultKind::Unavailable, "nothing is told of the traffic here");
        let watching = self.engine.watch().ok_or_else(silent)?;
        let steps = stream::unfold((watching, self.drain.clone()), move |(mut watching, drain)| async move {
            let snapshot = tokio::select! {
                // A watcher must not hold up the end of the service.
                () = drain.stopping() => return None,
                snapshot = watching.next() => snapshot?,
            };
            Some((Ok(reply(&snapshot, most)), (watching, drain)))
        });
        Ok(Response::new(Box::pin(steps)))
    }
}
