//! The gRPC services Zones and Cache over the zones and the resolver; what `postroad dns …` speaks to.

mod cache;
mod keys;
mod zones;

pub use cache::CacheService;
pub use zones::ZonesService;

use std::pin::Pin;

use futures_util::Stream;
use postroad_rpc::{Fault, FaultKind};
use tonic::Status;

use crate::wire::Name;

/// Records or entries in one message of a stream.
const PER_MESSAGE: usize = 500;

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Hands out `items` in messages of bounded size.
fn replies<I, T>(items: Vec<I>, message: impl Fn(Vec<I>) -> T) -> Replies<T>
where
    T: Send + 'static,
{
    let mut messages = Vec::with_capacity(items.len() / PER_MESSAGE + 1);
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        messages.push(Ok(message(items.by_ref().take(PER_MESSAGE).collect())));
    }
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
