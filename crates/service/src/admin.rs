//! The operator's HTTP port: `/metrics` (Prometheus text), `/healthz` (the process lives), `/readyz` (it can
//! do its work: 200, or 503 with what is missing). Read only, without access control: for inner networks.

use std::convert::Infallible;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use crate::drain::Drain;
use crate::listener::{Gate, Listener};

const CONNECTIONS_MAX: usize = 64;
const HEADER_WITHIN: Duration = Duration::from_secs(10);
const SUM_UP_EVERY: Duration = Duration::from_secs(5);
/// Bounds of histogram buckets, in seconds: from a cached answer to a slow peer.
const BUCKETS: [f64; 14] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The process's metrics. The first call installs the recorder that the `metrics` macros write to.
pub fn metrics() -> Result<&'static PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    Ok(HANDLE.get_or_init(|| handle))
}

/// Puts what histograms were told into their buckets, now and then until the drain begins. Else every value would be kept
/// until somebody asks for `/metrics`, which nobody may ever do.
pub async fn sum_up(drain: Drain) {
    let Ok(handle) = metrics() else { return };
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(SUM_UP_EVERY) => handle.run_upkeep(),
        }
    }
}

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What must be true for a role to be ready; clones share it.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<Mutex<Vec<(String, Check)>>>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

impl Readiness {
    /// Adds a condition; it is asked at every look and must answer at once. An error says what is missing.
    pub fn require<F>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push((name.into(), Arc::new(check)));
    }

    /// All conditions, a line for each, and whether all hold.
    pub fn look(&self) -> (bool, String) {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut ready = true;
        let mut text = String::new();
        for (name, check) in checks {
            let line = match check() {
                Ok(()) => writeln!(text, "ok {name}"),
                Err(why) => {
                    ready = false;
                    writeln!(text, "missing {name}: {why}")
                }
            };
            // Writing to a String cannot fail.
            let _ = line;
        }
        (ready, text)
    }
}

/// Answers on `listener` until the drain ends.
pub async fn serve(listener: Listener, readiness: Readiness, drain: Drain) {
    let session = {
        let (readiness, drain) = (readiness, drain.clone());
        move |conn| {
            let (readiness, drain) = (readiness.clone(), drain.clone());
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = answer(&request, &readiness, drain.is_stopping());
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_WITHIN)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(conn), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "an admin connection ended early");
                }
            }
        }
    };
    listener.serve(Gate::new(CONNECTIONS_MAX, CONNECTIONS_MAX), Bytes::new(), drain, session).await;
}

fn answer(request: &Request<Incoming>, readiness: &Readiness, stopping: bool) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => match metrics() {
            Ok(handle) => {
                handle.run_upkeep();
                crate::process::measure();
                let mut response = text(StatusCode::OK, handle.render());
                let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        "/readyz" => match readiness.look() {
            (true, lines) => text(StatusCode::OK, lines),
            (false, lines) => text(StatusCode::SERVICE_UNAVAILABLE, lines),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz, /readyz\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn says_what_is_counted_and_what_is_missing() {
        let listener = Listener::bind("admin", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let readiness = Readiness::default();
        let drain = Drain::new(Duration::from_secs(5));
        tokio::spawn(serve(listener, readiness.clone(), drain.clone()));
        super::metrics().unwrap();
        metrics::counter!("postroad_test_total").increment(3);
        let text = get(address, "/metrics").await;
        assert!(text.contains("postroad_test_total 3") && text.contains("process_open_fds "), "{text}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        readiness.require("spool", || Ok(()));
        assert!(get(address, "/readyz").await.ends_with("ok spool\n"));
        readiness.require("mda", || Err("nobody there".to_owned()));
        let missing = get(address, "/readyz").await;
        assert!(
            missing.starts_with("HTTP/1.1 503") && missing.ends_with("missing mda: nobody there\n"),
            "{missing}"
        );
        assert!(get(address, "/etc/passwd").await.starts_with("HTTP/1.1 404"));
    }
}
