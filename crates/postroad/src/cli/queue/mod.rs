//! `postroad queue`: the mta's queue.

mod change;
mod list;
mod offline;
mod shape;
mod show;
mod watch;
mod words;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use postroad_rpc::v1;
use postroad_rpc::v1::queue_client::QueueClient;
use postroad_types::Role;

use super::client::Services;
use super::table::now_us;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Machine readable: a JSON object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Messages in the queue
    List(Selection),
    /// One message: recipients, every attempt with what was said, next attempts, its header
    Show { queue_id: String },
    /// How much waits for which domain, since when, and why
    Destinations,
    /// How old what waits is, by destination, drawn as bars
    Shape {
        /// At most so many destinations
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Make no attempts until released
    Hold(Selection),
    /// Let held messages go on
    Release(Selection),
    /// Try now, whatever the time table says
    Retry(Selection),
    /// Send to another place than routing says, and try now
    Reroute {
        #[command(flatten)]
        selection: Selection,
        /// mx, mx:DOMAIN, mailboxes, or smtp://, smtps:// or lmtp:// with a host
        #[arg(long, required_unless_present = "usual")]
        via: Option<String>,
        /// As routing says again
        #[arg(long, conflicts_with = "via")]
        usual: bool,
    },
    /// Take out of the queue, without a bounce
    Remove(Selection),
    /// Give up now, with a bounce to the sender
    #[command(visible_alias = "fail")]
    Expire(Selection),
    /// Make no attempts to a domain until it is resumed; its mail keeps its time
    Suspend { domain: String },
    /// End a domain's suspension; what waits for it is tried now
    Resume { domain: String },
    /// Tell of every change until Ctrl-C
    Watch,
    /// Look through a spool directory that no mta has open, and tell what is damaged
    Fsck {
        /// As the configuration says when none is given
        directory: Option<PathBuf>,
    },
    /// A message out of a spool directory that no mta has open, with its envelope in front
    Export {
        queue_id: String,
        /// As the configuration says when none is given
        #[arg(long)]
        directory: Option<PathBuf>,
        /// The message's octets alone
        #[arg(long)]
        raw: bool,
    },
}

/// Which messages; all that is given must fit
#[derive(Debug, clap::Args)]
struct Selection {
    /// Queue ids
    queue_ids: Vec<String>,
    /// Reverse-path; "<>" for bounces
    #[arg(long)]
    sender: Option<String>,
    #[arg(long)]
    recipient: Option<String>,
    /// Domain of a recipient
    #[arg(long)]
    domain: Option<String>,
    /// waiting, active, held or failed
    #[arg(long)]
    state: Option<String>,
    /// Accepted longer ago than this: 2h, 3d
    #[arg(long)]
    older: Option<String>,
    /// Accepted within this time
    #[arg(long)]
    newer: Option<String>,
    /// A part of the last reply about a recipient
    #[arg(long)]
    reply: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

impl Selection {
    fn selector(&self) -> Result<v1::Selector, String> {
        let state = match self.state.as_deref() {
            None => v1::RecipientState::StateAny,
            Some("waiting") => v1::RecipientState::StateWaiting,
            Some("active") => v1::RecipientState::StateActive,
            Some("held") => v1::RecipientState::StateHeld,
            Some("failed") => v1::RecipientState::StateFailed,
            Some(other) => {
                return Err(format!("{other:?} is no state; expected waiting, active, held or failed"));
            }
        };
        Ok(v1::Selector {
            queue_ids: self.queue_ids.clone(),
            sender: self.sender.clone().unwrap_or_default(),
            recipient: self.recipient.clone().unwrap_or_default(),
            domain: self.domain.clone().unwrap_or_default(),
            state: state.into(),
            all: self.all,
            accepted_before_us: ago(self.older.as_deref())?,
            accepted_since_us: ago(self.newer.as_deref())?,
            reply: self.reply.clone().unwrap_or_default(),
        })
    }
}

/// The time so long before now; 0 if none is given.
fn ago(span: Option<&str>) -> Result<i64, String> {
    let Some(text) = span else { return Ok(0) };
    let span = postroad_config::units::duration::parse(text)
        .ok_or(format!("{text:?} is no time span; expected something like 2h or 3d"))?;
    Ok(now_us() - i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 2))
}

pub async fn main(config: &Path, args: Args) -> Result<(), String> {
    let json = args.json;
    // These work on files, whether or not a service could answer.
    match &args.what {
        What::Fsck { directory } => return offline::fsck(config, directory.as_deref(), json),
        What::Export { queue_id, directory, raw } => {
            return offline::export(config, directory.as_deref(), queue_id, *raw, json);
        }
        _ => {}
    }
    let services = Services::load(config)?;
    let mut queue = QueueClient::new(services.channel(Role::Mta).await?);
    match args.what {
        What::List(selection) => list::list(&mut queue, selection.selector()?, json).await,
        What::Show { queue_id } => show::show(&mut queue, queue_id, json).await,
        What::Destinations => shape::destinations(&mut queue, json).await,
        What::Shape { limit } => shape::shape(&mut queue, limit, json).await,
        What::Watch => watch::watch(&mut queue, json).await,
        What::Hold(which) => change::said("held", queue.hold_messages(which.selector()?).await, json),
        What::Release(which) => {
            change::said("released", queue.release_messages(which.selector()?).await, json)
        }
        What::Retry(which) => change::said("due now", queue.retry_messages(which.selector()?).await, json),
        What::Remove(which) => change::said("removed", queue.remove_messages(which.selector()?).await, json),
        What::Expire(which) => change::said("given up", queue.expire_messages(which.selector()?).await, json),
        What::Reroute { selection, via, usual: _ } => {
            let selector = Some(selection.selector()?);
            let request = v1::RerouteRequest { selector, via: via.unwrap_or_default() };
            change::said("rerouted", queue.reroute_messages(request).await, json)
        }
        What::Suspend { domain } => {
            let request = v1::DestinationRequest { domain: domain.clone() };
            change::destination(&domain, "suspended", queue.suspend_destination(request).await, json)
        }
        What::Resume { domain } => {
            let request = v1::DestinationRequest { domain: domain.clone() };
            change::destination(&domain, "resumed", queue.resume_destination(request).await, json)
        }
        What::Fsck { .. } | What::Export { .. } => Ok(()),
    }
}
