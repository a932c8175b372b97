//! Zones: list, show, read again, check; what changes them is in [`super::changes`].

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use postroad_rpc::v1::{
    CheckZoneReply, CheckZoneRequest, CommitZoneReply, CommitZoneRequest, ConfirmDsRequest, DiffZoneReply,
    DiffZoneRequest, ListKeysReply, ListKeysRequest, ListZonesReply, ListZonesRequest, LoadZoneRequest,
    ReloadZonesRequest, RollKeysRequest, ShowStatusReply, ShowStatusRequest, ShowZoneReply, ShowZoneRequest,
    WatchZonesReply, WatchZonesRequest, Zone as ZoneMessage, zones_server,
};
use postroad_rpc::{Fault, FaultKind, Peer};
use postroad_service::Drain;
use postroad_types::Role;
use tonic::{Request, Response, Status, Streaming};

use super::changes::MailNames;
use super::keys::{self, key_messages};
use super::{Replies, invalid, name, replies, without_dot};
use crate::resolve::Resolver;
use crate::transfer::Followers;
use crate::transfer::told::ToldServers;
use crate::wire::{Name, display_rdata};
use crate::zone::{Hosted, ReloadError, Zone, check_zone_text};

/// Who may look at zones: the operator, and mda, which publishes records.
const READERS: [Role; 2] = [Role::Operator, Role::Mda];

/// The Zones service.
#[derive(Debug, Clone)]
pub struct ZonesService {
    pub(super) hosted: Arc<Hosted>,
    followers: Followers,
    resolver: Option<Arc<Resolver>>,
    told: ToldServers,
    pub(super) mail_names: Arc<MailNames>,
    pub(super) drain: Drain,
}

impl ZonesService {
    /// Without names at which the mail roles may put records. Streams that go on end with `drain`.
    pub fn new(
        hosted: Arc<Hosted>,
        followers: Followers,
        resolver: Option<Arc<Resolver>>,
        told: ToldServers,
        drain: Drain,
    ) -> Self {
        Self { hosted, followers, resolver, told, mail_names: Arc::default(), drain }
    }

    /// With the names at which the mail roles may put records.
    pub fn with_mail_names(self, mail_names: MailNames) -> Self {
        Self { mail_names: Arc::new(mail_names), ..self }
    }

    /// Forgets what was cached of a zone's names while it was another, or not here.
    pub(super) fn forget(&self, zone: &Zone) {
        if let Some(resolver) = &self.resolver {
            resolver.flush(zone.apex());
        }
    }
}

pub(super) fn message(zone: &Zone) -> ZoneMessage {
    let loaded = zone.loaded_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    ZoneMessage {
        origin: without_dot(zone.apex()),
        serial: zone.serial(),
        records: zone.records(),
        names: zone.names(),
        file: zone.file().display().to_string(),
        loaded_us: i64::try_from(loaded.as_micros()).unwrap_or(i64::MAX),
    }
}

/// All records of a zone in canonical order.
fn lines(zone: &Zone) -> Vec<String> {
    let sets = zone.nodes().flat_map(|node| node.rrsets().map(move |rrset| (node, rrset)));
    let records = sets.flat_map(|(node, rrset)| rrset.iter().map(move |rdata| (node, rrset, rdata)));
    records
        .map(|(node, rrset, rdata)| {
            let data = display_rdata(rrset.rtype, rdata);
            format!("{} {} IN {} {data}", node.owner, rrset.ttl, rrset.rtype)
        })
        .collect()
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::new(FaultKind::Internal, format!("the work ended early: {error}")).into())
}

#[tonic::async_trait]
impl zones_server::Zones for ZonesService {
    type ShowZoneStream = Replies<ShowZoneReply>;
    type DiffZoneStream = Replies<DiffZoneReply>;
    type WatchZonesStream = Replies<WatchZonesReply>;

    async fn list_zones(
        &self,
        request: Request<ListZonesRequest>,
    ) -> Result<Response<ListZonesReply>, Status> {
        Peer::require(&request, &READERS)?;
        let zones = self.hosted.zones().load_full();
        Ok(Response::new(ListZonesReply { zones: zones.iter().map(|zone| message(zone)).collect() }))
    }

    async fn show_zone(
        &self,
        request: Request<ShowZoneRequest>,
    ) -> Result<Response<Self::ShowZoneStream>, Status> {
        Peer::require(&request, &READERS)?;
        let origin = name(&request.get_ref().origin)?;
        let zone = self.hosted.zones().load().get(&origin).cloned();
        let zone = zone.ok_or_else(|| Fault::new(FaultKind::NotFound, ReloadError::Unknown(origin)))?;
        let records = blocking(move || lines(&zone)).await?;
        Ok(Response::new(replies(records, |records| ShowZoneReply { records })))
    }

    async fn reload_zones(
        &self,
        request: Request<ReloadZonesRequest>,
    ) -> Result<Response<ListZonesReply>, Status> {
        Peer::require(&request, &READERS)?;
        let origin = &request.get_ref().origin;
        let origin: Option<Name> = if origin.is_empty() { None } else { Some(name(origin)?) };
        let everything = origin.is_none();
        let hosted = Arc::clone(&self.hosted);
        let reloaded = blocking(move || hosted.reload(origin.as_ref())).await?.map_err(|error| {
            let kind = match error {
                ReloadError::Unknown(_) => FaultKind::NotFound,
                ReloadError::Errors(_) => FaultKind::Invalid,
                ReloadError::Signing(_) => FaultKind::Internal,
            };
            Fault::new(kind, error)
        })?;
        if let Some(resolver) = self.resolver.clone().filter(|_| everything) {
            let lists = blocking(move || resolver.reload_blocked()).await?;
            lists.map_err(|error| Fault::new(FaultKind::Invalid, error))?;
        }
        // A zone that is had from others is asked for now; it comes when it comes.
        for zone in &reloaded {
            self.followers.wake(zone.apex(), None);
        }
        reloaded.iter().for_each(|zone| self.forget(zone));
        Ok(Response::new(ListZonesReply { zones: reloaded.iter().map(|zone| message(zone)).collect() }))
    }

    async fn check_zone(
        &self,
        request: Request<CheckZoneRequest>,
    ) -> Result<Response<CheckZoneReply>, Status> {
        Peer::require(&request, &READERS)?;
        let CheckZoneRequest { origin, text } = request.into_inner();
        if origin.is_empty() {
            return Err(invalid("the zone's origin is missing".to_owned()));
        }
        let origin = name(&origin)?;
        let reply = match blocking(move || check_zone_text(&origin, &text)).await? {
            Ok(records) => CheckZoneReply { errors: Vec::new(), records },
            Err(errors) => {
                CheckZoneReply { errors: errors.0.iter().map(ToString::to_string).collect(), records: 0 }
            }
        };
        Ok(Response::new(reply))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysReply>, Status> {
        Peer::require(&request, &READERS)?;
        let origin = &request.get_ref().origin;
        if origin.is_empty() {
            let keys = self.hosted.signers().into_iter().flat_map(|signer| key_messages(signer)).collect();
            return Ok(Response::new(ListKeysReply { keys }));
        }
        let keys = key_messages(keys::signer(&self.hosted, &name(origin)?)?);
        Ok(Response::new(ListKeysReply { keys }))
    }

    async fn roll_keys(&self, request: Request<RollKeysRequest>) -> Result<Response<ListKeysReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let RollKeysRequest { origin, role, algorithm } = request.into_inner();
        let signer = Arc::clone(keys::signer(&self.hosted, &name(&origin)?)?);
        let (role, algorithm) = (keys::role(&role)?, keys::algorithm(&algorithm)?);
        let hosted = Arc::clone(&self.hosted);
        blocking(move || keys::roll(&hosted, &signer, role, algorithm)).await?.map(Response::new)
    }

    async fn confirm_ds(
        &self,
        request: Request<ConfirmDsRequest>,
    ) -> Result<Response<ListKeysReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        let origin = name(&request.get_ref().origin)?;
        let signer = Arc::clone(keys::signer(&self.hosted, &origin)?);
        let hosted = Arc::clone(&self.hosted);
        blocking(move || keys::confirm_ds(&hosted, &signer)).await?.map(Response::new)
    }

    async fn show_status(
        &self,
        request: Request<ShowStatusRequest>,
    ) -> Result<Response<ShowStatusReply>, Status> {
        Peer::require(&request, &READERS)?;
        let origin = &request.get_ref().origin;
        let origin: Option<Name> = if origin.is_empty() { None } else { Some(name(origin)?) };
        let zones = self.hosted.zones().load_full();
        let wanted = zones.iter().filter(|zone| origin.as_ref().is_none_or(|origin| zone.apex() == origin));
        let zones: Vec<_> = wanted.map(|zone| keys::zone_status(&self.hosted, zone, &self.told)).collect();
        match origin.filter(|_| zones.is_empty()) {
            Some(origin) => Err(Fault::new(FaultKind::NotFound, ReloadError::Unknown(origin)).into()),
            None => Ok(Response::new(ShowStatusReply { zones })),
        }
    }

    async fn load_zone(
        &self,
        request: Request<Streaming<LoadZoneRequest>>,
    ) -> Result<Response<CommitZoneReply>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        self.load(request.into_inner()).await.map(Response::new)
    }

    async fn diff_zone(
        &self,
        request: Request<DiffZoneRequest>,
    ) -> Result<Response<Self::DiffZoneStream>, Status> {
        Peer::require(&request, &[Role::Operator])?;
        self.diff(name(&request.get_ref().origin)?).await.map(Response::new)
    }

    async fn commit_zone(
        &self,
        request: Request<CommitZoneRequest>,
    ) -> Result<Response<CommitZoneReply>, Status> {
        let peer = Peer::require(&request, &[Role::Operator, Role::Mta, Role::Mda, Role::Mra])?;
        self.commit(peer.role, request.into_inner()).await.map(Response::new)
    }

    async fn watch_zones(
        &self,
        request: Request<WatchZonesRequest>,
    ) -> Result<Response<Self::WatchZonesStream>, Status> {
        Peer::require(&request, &[Role::Operator, Role::Mta, Role::Mda, Role::Mra])?;
        let origin = &request.get_ref().origin;
        let origin = if origin.is_empty() { None } else { Some(name(origin)?) };
        self.watch(origin).map(Response::new)
    }
}
