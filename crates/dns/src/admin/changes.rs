//! Zones: load, compare, commit, watch.
//!
//! Whoever changes a zone here changes it as a dynamic update does: its file is written first, then it is served, and
//! the servers that are told hear of it. The operator may change every zone that stands in a file of ours; the mail
//! roles only what a zone's `mail_names` allow, which is what they publish: keys of DKIM, policies, TLSA records.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt;
use futures_util::stream;
use postroad_rpc::v1::{CommitZoneReply, CommitZoneRequest, DiffZoneReply, LoadZoneRequest, WatchZonesReply};
use postroad_rpc::{Fault, FaultKind};
use postroad_types::Role;
use postroad_types::limits::{DNS_HISTORY_OCTETS_MAX, DNS_ZONE_TEXT_OCTETS_MAX};
use tonic::{Status, Streaming};
use tracing::info;

use super::zones::{ZonesService, blocking, message};
use super::{Replies, invalid, name, replies, without_dot};
use crate::wire::{Name, display_rdata};
use crate::zone::{
    Change, ChangeError, Commit, CommitError, Hosted, ReloadError, Zone, difference, zone_replaced,
};

/// The names of each zone at which the mail roles may put records.
#[derive(Debug, Clone, Default)]
pub struct MailNames(HashMap<Name, Vec<Vec<Vec<u8>>>>);

impl MailNames {
    /// As the configuration has them; what is no zone's name there is reported with the zones.
    pub fn read(zones: &[postroad_config::Zone]) -> Self {
        let labels = |text: &String| {
            text.split('.').map(|label| label.to_ascii_lowercase().into_bytes()).collect::<Vec<_>>()
        };
        let of = |zone: &postroad_config::Zone| {
            let origin: Name = zone.origin.parse().ok()?;
            Some((origin, zone.mail_names.iter().map(labels).collect()))
        };
        Self(zones.iter().filter_map(of).collect())
    }

    /// Whether `owner` is one of them, or below one: the labels stand in it, one after the other, before the zone's own.
    pub fn allow(&self, zone: &Name, owner: &Name) -> bool {
        let within = owner.label_count().saturating_sub(zone.label_count());
        let owner = owner.to_lowercase();
        let labels: Vec<&[u8]> = owner.labels().take(within).collect();
        let stand = |wanted: &Vec<Vec<u8>>| {
            !wanted.is_empty() && labels.windows(wanted.len()).any(|labels| labels.iter().eq(wanted.iter()))
        };
        self.0.get(zone).is_some_and(|names| names.iter().any(stand))
    }
}

/// Why nothing was changed, as a caller can tell it apart.
fn fault(error: Refused) -> Status {
    let (kind, text) = match error {
        Refused::Commit(error) => {
            let kind = match &error {
                CommitError::Stale { .. } => FaultKind::Stale,
                CommitError::NotThere { .. } | CommitError::Clash { .. } | CommitError::NotNewer { .. } => {
                    FaultKind::Precondition
                }
                CommitError::TooMany(_) | CommitError::Record { .. } | CommitError::NoZone(_) => {
                    FaultKind::Invalid
                }
            };
            (kind, error.to_string())
        }
        Refused::Change(error) => {
            let kind = match &error {
                ChangeError::Write { .. } => FaultKind::Unavailable,
                _ => FaultKind::Precondition,
            };
            (kind, error.to_string())
        }
    };
    Fault::new(kind, text).into()
}

#[derive(Debug)]
enum Refused {
    Commit(CommitError),
    Change(ChangeError),
}

/// Changes a zone by `change`, whose error says why not. Blocks on files.
fn changed(
    hosted: &Hosted,
    origin: &Name,
    change: impl FnOnce(&Zone) -> Result<Option<Zone>, CommitError>,
) -> Result<Option<Arc<Zone>>, Refused> {
    let refused = Mutex::new(None);
    let made = hosted.change(origin, |zone| {
        change(zone).map_err(|error| {
            *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            crate::serve::rcode::REFUSED
        })
    });
    match (made, refused.into_inner().unwrap_or_else(PoisonError::into_inner)) {
        (Err(_), Some(error)) => Err(Refused::Commit(error)),
        (made, _) => made.map_err(Refused::Change),
    }
}

fn lines(changes: &[Change]) -> impl Iterator<Item = String> {
    changes.iter().map(|change| {
        let data = display_rdata(change.rtype, &change.rdata);
        format!("{} {} IN {} {data}", change.owner, change.ttl, change.rtype)
    })
}

impl ZonesService {
    fn present(&self, origin: &Name) -> Result<Arc<Zone>, Status> {
        let zone = self.hosted.zones().load().get(origin).cloned();
        zone.ok_or_else(|| Fault::new(FaultKind::NotFound, ReloadError::Unknown(origin.clone())).into())
    }

    /// Does a change in a thread that may wait for the disk.
    async fn change(
        &self,
        origin: Name,
        by: Role,
        change: impl FnOnce(&Zone) -> Result<Option<Zone>, CommitError> + Send + 'static,
    ) -> Result<CommitZoneReply, Status> {
        self.present(&origin)?;
        let (hosted, zone) = (Arc::clone(&self.hosted), origin.clone());
        let made = blocking(move || changed(&hosted, &zone, change)).await?.map_err(fault)?;
        if let Some(zone) = &made {
            info!(zone = %origin, serial = zone.serial(), %by, "a zone was changed");
            self.forget(zone);
        }
        let present = match &made {
            Some(zone) => Arc::clone(zone),
            None => self.present(&origin)?,
        };
        Ok(CommitZoneReply { zone: Some(message(&present)), changed: made.is_some() })
    }

    pub(super) async fn load(
        &self,
        mut requests: Streaming<LoadZoneRequest>,
    ) -> Result<CommitZoneReply, Status> {
        let missing = || invalid("the first message names no zone".to_owned());
        let first = requests.message().await?.ok_or_else(missing)?;
        let (origin, expected, mut text) = (name(&first.origin)?, first.expected_serial, first.text);
        while let Some(more) = requests.message().await? {
            if text.len() + more.text.len() > DNS_ZONE_TEXT_OCTETS_MAX {
                let message = format!("longer than {DNS_ZONE_TEXT_OCTETS_MAX} octets; load it as a file");
                return Err(Fault::new(FaultKind::Exhausted, message).into());
            }
            text.push_str(&more.text);
        }
        let expected = expected.map(|serial| self.hosted.serial_below(&origin, serial));
        self.change(origin, Role::Operator, move |zone| zone_replaced(zone, &text, expected)).await
    }

    pub(super) async fn commit(
        &self,
        role: Role,
        request: CommitZoneRequest,
    ) -> Result<CommitZoneReply, Status> {
        let origin = name(&request.origin)?;
        let CommitZoneRequest { expected_serial, remove, add, .. } = request;
        let expected = expected_serial.map(|serial| self.hosted.serial_below(&origin, serial));
        let commit = Commit::read(&origin, expected, &remove, &add);
        let commit = commit.map_err(|error| fault(Refused::Commit(error)))?;
        if role != Role::Operator
            && let Some(owner) = commit.owners().find(|owner| !self.mail_names.allow(&origin, owner))
        {
            let message =
                format!("{role} may not put records at {owner}; mail_names of the zone says where it may");
            return Err(Fault::new(FaultKind::Denied, message).into());
        }
        self.change(origin, role, move |zone| commit.apply(zone)).await
    }

    pub(super) async fn diff(&self, origin: Name) -> Result<Replies<DiffZoneReply>, Status> {
        self.present(&origin)?;
        let hosted = Arc::clone(&self.hosted);
        // What is made of it by signing is in no file.
        let served = hosted.below(&origin);
        let not_ours = || Fault::new(FaultKind::Precondition, ChangeError::NotOurs);
        let on_disk = blocking(move || hosted.on_disk(&origin)).await?.ok_or_else(not_ours)?;
        let served = served.ok_or_else(not_ours)?;
        let on_disk = on_disk.map_err(|errors| Fault::new(FaultKind::Invalid, errors))?;
        let delta = blocking(move || difference(&served, &on_disk, DNS_HISTORY_OCTETS_MAX)).await?;
        let too_much = || Fault::new(FaultKind::Exhausted, "the versions have too little in common to list");
        let delta = delta.ok_or_else(too_much)?;
        // An SOA on both sides is no difference.
        let same = usize::from(delta.removed.first() == delta.added.first());
        let removed: Vec<String> = lines(delta.removed.get(same..).unwrap_or_default()).collect();
        let added: Vec<String> = lines(delta.added.get(same..).unwrap_or_default()).collect();
        let goes = replies(removed, |removed| DiffZoneReply { removed, added: Vec::new() });
        let comes = replies(added, |added| DiffZoneReply { removed: Vec::new(), added });
        Ok(Box::pin(goes.chain(comes)))
    }

    pub(super) fn watch(&self, origin: Option<Name>) -> Result<Replies<WatchZonesReply>, Status> {
        if let Some(origin) = &origin {
            self.present(origin)?;
        }
        let wanted =
            self.hosted.origins().filter(|name| origin.as_ref().is_none_or(|origin| origin == *name));
        let serials = wanted.filter_map(|name| {
            let mut serial = self.hosted.serial(name)?;
            // The present one is told, too.
            serial.mark_changed();
            let steps = stream::unfold((without_dot(name), serial), |(origin, mut serial)| async move {
                serial.changed().await.ok()?;
                let reply = WatchZonesReply { origin: origin.clone(), serial: *serial.borrow_and_update() };
                Some((Ok(reply), (origin, serial)))
            });
            Some(steps.boxed())
        });
        let all: Vec<_> = serials.collect();
        let drain = self.drain.clone();
        // A watcher must not hold up the end of the service.
        let end = async move { drain.stopping().await };
        Ok(Box::pin(stream::select_all(all).take_until(Box::pin(end))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_names_fit_where_their_labels_stand() {
        let mut zone = postroad_config::Zone::in_file("alpha.test", "x");
        zone.mail_names = vec!["_domainkey".to_owned(), "_25._TCP".to_owned()];
        let names = MailNames::read(&[zone]);
        let allowed = |owner: &str| names.allow(&"alpha.test".parse().unwrap(), &owner.parse().unwrap());
        for owner in [
            "_domainkey.alpha.test",
            "K1._DomainKey.alpha.test",
            "k1._domainkey.sub.alpha.test",
            "_25._tcp.mx.alpha.test",
        ] {
            assert!(allowed(owner), "{owner}");
        }
        for owner in [
            "alpha.test",
            "x.alpha.test",
            "_tcp.mx.alpha.test",
            "_25.x._tcp.alpha.test",
            "domainkey.alpha.test",
        ] {
            assert!(!allowed(owner), "{owner}");
        }
        let other = "_domainkey.beta.test".parse().unwrap();
        assert!(!names.allow(&"beta.test".parse().unwrap(), &other));
        let parent = "_domainkey".parse().unwrap();
        assert!(
            !MailNames::read(&[]).allow(&parent, &"x._domainkey".parse().unwrap()),
            "the zone's own labels"
        );
    }
}
