//! The gRPC services Zones, Cache and Traffic over the zones, the resolver and what passes; what `postroad dns …` speaks to.

mod cache;
mod changes;
mod keys;
mod traffic;
mod zones;

pub use cache::CacheService;
pub use changes::MailNames;
pub use traffic::TrafficService;
pub use zones::ZonesService;

use std::pin::Pin;

use futures_util::Stream;
use postroad_rpc::{Fault, FaultKind};
use tonic::Status;

use crate::wire::Name;

/// Records or entries in one message of a stream.
const PER_MESSAGE: usize = 500;

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Hands out `items` in messages of bounded size, each made when the one before it is taken.
fn replies<I, T>(
    items: impl IntoIterator<Item = I, IntoIter: Send + 'static>,
    message: impl Fn(Vec<I>) -> T + Send + 'static,
) -> Replies<T>
where
    I: Send + 'static,
    T: Send + 'static,
{
    let mut items = items.into_iter();
    let messages = std::iter::from_fn(move || {
        let some: Vec<I> = items.by_ref().take(PER_MESSAGE).collect();
        (!some.is_empty()).then(|| Ok(message(some)))
    });
    Box::pin(futures_util::stream::iter(messages))
}

fn name(text: &str) -> Result<Name, Status> {
    text.parse().map_err(|error| invalid(format!("\"{text}\" is no domain name: {error}")))
}

fn invalid(message: String) -> Status {
    Fault::new(FaultKind::Invalid, message).into()
}

/// A name as the contracts write it: without the final dot, but for the root.
fn without_dot(name: &Name) -> String {
    let text = name.to_string();
    if name.is_root() { text } else { text.trim_end_matches('.').to_owned() }
}
