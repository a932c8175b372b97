//! Cache: resolve with all steps, show, flush.

use std::sync::Arc;
use std::time::Duration;

use postroad_rpc::v1::{
    CacheEntry, FlushCacheReply, FlushCacheRequest, ResolveReply, ResolveRequest, ResolveStep,
    ShowCacheReply, ShowCacheRequest, cache_server,
};
use postroad_rpc::{Fault, FaultKind, Peer};
use postroad_types::Role;
use tonic::{Request, Response, Status};

use super::{Replies, invalid, name, replies, without_dot};
use crate::resolve::cache::{Entry, Hit};
use crate::resolve::security::Security;
use crate::resolve::validate::Trust;
use crate::resolve::{Delegation, Explained, Held, Resolver, Step};
use crate::wire::{Name, Rtype, display_rdata};

/// The Cache service.
#[derive(Debug, Clone)]
pub struct CacheService {
    resolver: Option<Arc<Resolver>>,
}

impl CacheService {
    pub fn new(resolver: Option<Arc<Resolver>>) -> Self {
        Self { resolver }
    }

    fn resolver(&self) -> Result<&Arc<Resolver>, Status> {
        self.resolver.as_ref().ok_or_else(|| {
            let message =
                "recursion is off on this node; [dns.recursion] allow names the networks that may have it";
            Fault::new(FaultKind::Precondition, message).into()
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn step(step: &Step) -> ResolveStep {
    ResolveStep {
        server: step.source.server().map(|server| server.to_string()).unwrap_or_default(),
        transport: step.source.transport().to_owned(),
        zone: step.source.server().map(|_| step.zone.to_string()).unwrap_or_default(),
        question: format!("{} {}", step.name, step.rtype),
        outcome: step.outcome.clone().into_owned(),
        duration_us: micros(step.took),
    }
}

fn reply(explained: &Explained) -> ResolveReply {
    let answer = &explained.answer;
    let seconds = |age: Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    ResolveReply {
        rcode: answer.rcode_name().to_owned(),
        answers: answer.records.iter().flat_map(Held::lines).collect(),
        authority: answer.authority.iter().flat_map(Held::lines).collect(),
        cached_s: answer.age().map_or(-1, seconds),
        steps: explained.steps.iter().map(step).collect(),
        duration_us: micros(explained.took),
        security: answer.security.word().to_owned(),
        failure: answer.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn delegation_lines(delegation: &Delegation) -> Vec<String> {
    let mut lines = Vec::new();
    for server in &delegation.servers {
        lines.push(format!("NS {}", server.name));
        for address in &server.addresses {
            let rtype = if address.is_ipv4() { Rtype::A } else { Rtype::AAAA };
            lines.push(format!("{} {rtype} {address}", server.name));
        }
    }
    lines
}

fn entry((name, hit): (Name, Hit)) -> CacheEntry {
    let security = match (&hit.entry, hit.security) {
        (Entry::Delegation(_) | Entry::Failure(..), _) => "",
        (_, Security::Unchecked) => "unchecked",
        (_, security) => security.word(),
    };
    let (rtype, records, kind) = match hit.entry {
        Entry::Positive(rrset) => {
            let records = rrset.iter().map(|rdata| display_rdata(rrset.rtype, rdata)).collect();
            (rrset.rtype.to_string(), records, "positive")
        }
        Entry::NoData(rtype, _) => (rtype.to_string(), Vec::new(), "nodata"),
        Entry::NxDomain(_) => (String::new(), Vec::new(), "nxdomain"),
        Entry::Delegation(delegation) => (Rtype::NS.to_string(), delegation_lines(&delegation), "delegation"),
        Entry::Trust(Trust::Ds(ds)) => {
            let records = ds.iter().map(|rdata| display_rdata(ds.rtype, rdata)).collect();
            (Rtype::DS.to_string(), records, "trust")
        }
        Entry::Trust(Trust::Insecure(why)) => {
            (Rtype::DS.to_string(), vec![Security::Insecure(why).to_string()], "trust")
        }
        Entry::Trust(Trust::NoCut) => {
            (Rtype::DS.to_string(), vec!["no zone begins here".to_owned()], "trust")
        }
        Entry::Failure(rtype, failures) => (rtype.to_string(), vec![failures.last.to_string()], "failure"),
    };
    CacheEntry {
        name: without_dot(&name),
        r#type: rtype,
        records,
        kind: kind.to_owned(),
        ttl_left_s: hit.ttl,
        security: security.to_owned(),
    }
}

fn name_or_root(text: &str) -> Result<Name, Status> {
    if text.is_empty() { Ok(Name::root()) } else { name(text) }
}

#[tonic::async_trait]
impl cache_server::Cache for CacheService {
    type ShowCacheStream = Replies<ShowCacheReply>;

    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveReply>, Status> {
        // The mail roles ask here when they want the steps for a message's timeline.
        Peer::require(&request, &[Role::Operator, Role::Mta, Role::Mda, Role::Mra])?;
        let ResolveRequest { name: text, r#type, refresh, checking_disabled } = request.into_inner();
        let (name, rtype) =
            (name(&text)?, r#type.parse::<Rtype>().map_err(|error| invalid(error.to_string()))?);
        if rtype.is_meta() && rtype != Rtype::ANY {
            return Err(invalid(format!("{rtype} is no type of records that can be looked up")));
        }
        let resolver = self.resolver()?;
        let explained = if checking_disabled {
            resolver.resolve_unchecked(&name, rtype, refresh).await
        } else {
            resolver.resolve(&name, rtype, refresh).await
        };
        Ok(Response::new(reply(&explained)))
    }

    async fn show_cache(
        &self,
        request: Request<ShowCacheRequest>,
    ) -> Result<Response<Self::ShowCacheStream>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let name = name_or_root(&request.get_ref().name)?;
        let entries = self.resolver()?.dump(&name).into_iter().map(entry);
        Ok(Response::new(replies(entries, |entries| ShowCacheReply { entries })))
    }

    async fn flush_cache(
        &self,
        request: Request<FlushCacheRequest>,
    ) -> Result<Response<FlushCacheReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let text = &request.get_ref().name;
        if text.is_empty() {
            return Err(invalid("name what to forget; \".\" forgets everything".to_owned()));
        }
        let entries = self.resolver()?.flush(&name(text)?);
        Ok(Response::new(FlushCacheReply { entries }))
    }
}
