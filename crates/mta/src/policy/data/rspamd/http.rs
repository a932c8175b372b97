//! One HTTP/1.1 request over one connection: POST with a message as its body, JSON as the answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use postroad_config::HostPort;
use postroad_types::limits::SCAN_ANSWER_OCTETS_MAX;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Hold;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer's body, if its status is 200.
pub(super) async fn post(
    server: &HostPort,
    path: &str,
    fields: &[(&'static str, String)],
    held: &mut Hold,
) -> Result<Bytes, String> {
    let connect = TcpStream::connect((server.host.as_str(), server.port));
    let tcp = tokio::time::timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|_| "no connection in time".to_owned())?
        .map_err(|error| format!("no connection: {error}"))?;
    let shown = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(shown)?;

    let mut request =
        Request::post(path).header(HOST, server.to_string()).header(CONTENT_LENGTH, held.size());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        // UTF-8 addresses pass as they are; what can't stand in a field is left out.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            request = request.header(name, value);
        }
    }
    let (chunks, body) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(2);
    let request =
        request.body(StreamBody::new(ReceiverStream::new(body))).map_err(|error| error.to_string())?;

    let feed = async {
        let mut offset = 0;
        while offset < held.size() {
            let chunk = held.read(offset).await;
            offset += chunk.as_ref().map_or(held.size(), |chunk| chunk.len() as u64);
            // A server that has heard enough and answers is heard below.
            if chunks.send(chunk.map(Frame::data)).await.is_err() {
                break;
            }
        }
        drop(chunks);
    };
    let answer = async {
        let answer = sender.send_request(request).await.map_err(shown)?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut octets = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(shown)?.into_data() {
                octets.extend_from_slice(&data);
            }
            if octets.len() > SCAN_ANSWER_OCTETS_MAX {
                return Err(format!("an answer of more than {SCAN_ANSWER_OCTETS_MAX} octets"));
            }
        }
        if status == StatusCode::OK { Ok(octets.freeze()) } else { Err(format!("HTTP status {status}")) }
    };
    let connection = async {
        // What went wrong is told by the request too.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        (answer, ()) = async { tokio::join!(answer, feed) } => answer,
        () = connection => Err("the connection was lost".to_owned()),
    }
}
