//! DNS over HTTPS (RFC 8484): one path, POST with the message as body or GET with it in the query, over HTTP/2 and
//! HTTP/1.1.
//!
//! Every response that DNS has is 200, whatever its code; HTTP's own codes say that there was no DNS request. How long
//! a cache on the way may keep a response is the least TTL in it. Nothing of a request but the message and the address
//! of the connection's other end is looked at: what a proxy claims about its clients is not believed.
//!
//! A connection has as many requests under way as one over TCP, gives each question the time that a connection may be
//! idle, and is closed when it has been idle, however many frames without a request it carries. Floods of streams that
//! are opened and reset at once are ended by the HTTP/2 layer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use postroad_service::{Conn, Drain, Gate, Listener, ProtocolTls};
use postroad_types::limits::{DNS_HTTPS_HEADER_OCTETS_MAX, DNS_TCP_PIPELINE_MAX};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Engine, Outcome, Transport, tls};
use crate::wire::lifetime;

/// The protocols' names in the handshake, the better one first.
pub const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

const MEDIA_TYPE: &str = "application/dns-message";
const MESSAGE_OCTETS_MAX: usize = u16::MAX as usize;
/// Octets of bodies that one connection may have under way.
const WINDOW_OCTETS: u32 = 2 * MESSAGE_OCTETS_MAX as u32;

/// Where DNS is found, and with which certificate.
#[derive(Debug, Clone)]
pub struct HttpsDoor {
    pub tls: ProtocolTls,
    /// Begins with a slash.
    pub path: Arc<str>,
}

/// Serves a listener until the drain begins; open connections then finish what was asked on them.
pub async fn serve(
    listener: Listener,
    door: HttpsDoor,
    engine: Arc<Engine>,
    gate: Gate,
    idle: Duration,
    drain: Drain,
) {
    let sessions = drain.clone();
    let session = move |conn: Conn| {
        let (door, engine, drain) = (door.clone(), Arc::clone(&engine), sessions.clone());
        async move {
            let client = conn.peer();
            let outcome = match tls::handshake(conn, &door.tls).await {
                Ok(conn) => connection(conn, door.path, engine, idle, &drain).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                tracing::debug!(%client, %error, "a DNS connection over HTTPS ended early");
            }
        }
    };
    listener.serve(gate, Bytes::new(), drain, session).await;
}

/// Serves one connection. One that is idle is told to end, and cut when it has not after as long again.
async fn connection(
    conn: Conn,
    path: Arc<str>,
    engine: Arc<Engine>,
    idle: Duration,
    drain: &Drain,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let client = conn.peer().ip();
    let activity = Arc::new(Activity::new());
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request| {
            let (engine, path, busy) = (Arc::clone(&engine), Arc::clone(&path), Activity::begin(&activity));
            async move {
                let response = respond(request, &path, &engine, client, idle).await;
                drop(busy);
                Ok::<_, Infallible>(response)
            }
        })
    };
    let builder = builder(idle);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(conn), service));
    let mut end = None;
    loop {
        let wake = end.unwrap_or_else(|| activity.idle_from() + idle);
        tokio::select! {
            outcome = &mut connection => return outcome,
            () = drain.stopping(), if end.is_none() => {}
            () = sleep_until(wake) => {
                if end.is_some() {
                    return Ok(());
                }
                if activity.idle_from() + idle > Instant::now() {
                    continue;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        end = Some(Instant::now() + idle);
    }
}

fn builder(idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(DNS_HTTPS_HEADER_OCTETS_MAX)
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(DNS_TCP_PIPELINE_MAX as u32)
        .initial_stream_window_size(WINDOW_OCTETS / 2)
        .initial_connection_window_size(WINDOW_OCTETS)
        .max_send_buf_size(WINDOW_OCTETS as usize)
        .max_header_list_size(DNS_HTTPS_HEADER_OCTETS_MAX as u32);
    builder
}

/// When a connection was in use last.
#[derive(Debug)]
struct Activity {
    begun: Instant,
    /// Requests that are worked on.
    busy: AtomicUsize,
    /// When one of them began or ended last, in milliseconds after `begun`.
    last: AtomicU64,
}

/// A request that is worked on, also when it is given up in the middle.
#[derive(Debug)]
struct Busy(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Activity { begun: Instant::now(), busy: AtomicUsize::new(0), last: AtomicU64::new(0) }
    }

    fn begin(this: &Arc<Self>) -> Busy {
        this.busy.fetch_add(1, Ordering::Relaxed);
        this.touch();
        Busy(Arc::clone(this))
    }

    fn touch(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(since, Ordering::Relaxed);
    }

    /// Since when nothing is worked on; now, if something is.
    fn idle_from(&self) -> Instant {
        if self.busy.load(Ordering::Relaxed) > 0 {
            return Instant::now();
        }
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn respond(
    request: Request<Incoming>,
    path: &str,
    engine: &Engine,
    client: IpAddr,
    within: Duration,
) -> Response<Full<Bytes>> {
    let message = match message(request, path, within).await {
        Ok(message) => message,
        Err((status, text)) => return refuse(status, text),
    };
    let mut response = Vec::with_capacity(512);
    match engine.answer(&message, client, Transport::Https, &mut response) {
        Outcome::Reply(_) => {}
        Outcome::Later(pending) => match engine.complete(pending).await {
            Some(done) => response = done,
            None => return refuse(StatusCode::BAD_REQUEST, "no DNS request\n"),
        },
        Outcome::Drop | Outcome::Stream(_) => return refuse(StatusCode::BAD_REQUEST, "no DNS request\n"),
    }
    let age = HeaderValue::try_from(format!("max-age={}", lifetime(&response)));
    let mut response = Response::new(Full::new(Bytes::from(response)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(age) = age {
        response.headers_mut().insert(header::CACHE_CONTROL, age);
    }
    response
}

/// The message that a request carries, or the status and text that say why it carries none.
async fn message(
    request: Request<Incoming>,
    path: &str,
    within: Duration,
) -> Result<Bytes, (StatusCode, &'static str)> {
    if request.uri().path() != path {
        return Err((StatusCode::NOT_FOUND, "DNS is not found here\n"));
    }
    match *request.method() {
        Method::GET => in_query(request.uri().query().unwrap_or_default()),
        Method::POST => {
            let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            let kind = kind.and_then(|kind| kind.split(|octet| *octet == b';').next()).unwrap_or_default();
            if !kind.trim_ascii().eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()) {
                return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected application/dns-message\n"));
            }
            let too_long = (StatusCode::PAYLOAD_TOO_LARGE, "a DNS message has 65535 octets at most\n");
            if request.body().size_hint().lower() > MESSAGE_OCTETS_MAX as u64 {
                return Err(too_long);
            }
            let body = Limited::new(request.into_body(), MESSAGE_OCTETS_MAX);
            match timeout(within, body.collect()).await {
                Ok(Ok(body)) => Ok(body.to_bytes()),
                Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long),
                Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the message was broken off\n")),
                Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the message did not come in time\n")),
            }
        }
        _ => Err((StatusCode::METHOD_NOT_ALLOWED, "expected GET or POST\n")),
    }
}

/// The message in `dns=…` (RFC 8484 section 6: base64url without padding).
fn in_query(query: &str) -> Result<Bytes, (StatusCode, &'static str)> {
    let expected = (StatusCode::BAD_REQUEST, "expected ?dns= with a message in base64url, unpadded\n");
    let value = query.split('&').find_map(|part| part.strip_prefix("dns=")).ok_or(expected)?;
    URL_SAFE_NO_PAD.decode(value).map(Bytes::from).map_err(|_| expected)
}

fn refuse(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_8484_is_read() {
        // Section 4.1.1, with a parameter of somebody else's before it.
        let query = "x=1&dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
        let message = in_query(query).unwrap();
        assert_eq!(&message[12..], b"\x03www\x07example\x03com\x00\x00\x01\x00\x01");
        for wrong in ["", "dns", "dns=A", "dns=+/8", "dns=AAA=", "DNS=AAAA"] {
            assert_eq!(in_query(wrong).unwrap_err().0, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    #[test]
    fn a_connection_is_idle_from_its_last_request_on() {
        let activity = Arc::new(Activity::new());
        assert_eq!(activity.idle_from(), activity.begun);
        let busy = [Activity::begin(&activity), Activity::begin(&activity)];
        let [first, second] = busy;
        drop(first);
        let before = Instant::now();
        assert!(activity.idle_from() >= before, "one is still worked on");
        drop(second);
        let after = Instant::now();
        let idle_from = activity.idle_from();
        assert!(activity.begun <= idle_from && idle_from <= after);
        assert_eq!(activity.idle_from(), idle_from, "it does not go on");
    }
}
