//! The trace id of the message that a call is about, in the metadata `x-postroad-trace`.

use postroad_types::TraceId;
use tonic::Request;
use tonic::metadata::MetadataValue;

const KEY: &str = "x-postroad-trace";

/// A request that bears the trace id.
pub fn with_trace<T>(message: T, trace: TraceId) -> Request<T> {
    let mut request = Request::new(message);
    attach(&mut request, trace);
    request
}

/// Puts the trace id on a request that there is already.
pub fn attach<T>(request: &mut Request<T>, trace: TraceId) {
    // 32 hex digits are always a value.
    if let Ok(value) = MetadataValue::try_from(trace.to_string()) {
        request.metadata_mut().insert(KEY, value);
    }
}

/// The trace id that a request bears; none if it bears none or a damaged one.
pub fn trace_of<T>(request: &Request<T>) -> Option<TraceId> {
    request.metadata().get(KEY)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_goes_with_the_request() {
        let trace = TraceId::new([7; 16]);
        assert_eq!(trace_of(&with_trace((), trace)), Some(trace));
        assert_eq!(trace_of(&Request::new(())), None);
    }
}
