//! mTLS: both sides prove themselves, names are checked, and the callee knows who calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scene;

use std::sync::Arc;
use std::time::Duration;

use postroad_rpc::{Channel, ServiceTls, trace};
use postroad_types::{Role, TraceId};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use scene::{Ca, ask, ask_with, channel, quick, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Request};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_callee_learns_the_callers_role_and_the_trace_id() {
    let ca = Ca::new();
    let mda = serve("127.0.0.1:0", "mda-1", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let to_mda = channel(Role::Mda, &[mda.address], ca.tls(Role::Mta));
    let trace_id = TraceId::random();
    let question = postroad_rpc::v1::FindStepsRequest { id: "who".to_owned(), ..Default::default() };
    let step = ask_with(&to_mda, trace::with_trace(question, trace_id)).await.unwrap();
    assert_eq!((step.role.as_str(), step.trace_id), ("mta", trace_id.to_string()));
}

#[tokio::test]
async fn who_answers_must_bear_the_name_of_the_role_that_is_called() {
    let ca = Ca::new();
    // A stolen certificate of mra does not make an mda.
    let false_mda = serve("127.0.0.1:0", "mra", Role::Mda, ca.tls(Role::Mra), GRACE).await;
    let to_mda = channel(Role::Mda, &[false_mda.address], ca.tls(Role::Mta));
    let refused = ask(&to_mda, "who").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("certificate"), "{}", refused.message());
}

#[tokio::test]
async fn a_service_of_another_ca_is_not_believed_on_either_side() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let mda = serve("127.0.0.1:0", "mda", Role::Mda, ours.tls(Role::Mda), GRACE).await;
    let stranger = channel(Role::Mda, &[mda.address], theirs.tls(Role::Mta));
    assert_eq!(ask(&stranger, "who").await.unwrap_err().code(), Code::Unavailable);
    // It believes our CA but was issued by another: the callee turns it away.
    let (chain, key) = theirs.pems(Role::Mta.identity());
    let half = ServiceTls::new(ours.pem.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
    let half = channel(Role::Mda, &[mda.address], half);
    assert_eq!(ask(&half, "who").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_certificate_of_our_ca_that_names_no_role_may_not_call() {
    let ca = Ca::new();
    let mda = serve("127.0.0.1:0", "mda", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let host = channel(Role::Mda, &[mda.address], ca.named("mx.alpha.test"));
    assert_eq!(ask(&host, "who").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_role_without_an_arrow_to_another_is_refused_and_its_own_gets_health_alone() {
    let ca = Ca::new();
    let mda = serve("127.0.0.1:0", "mda", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let dns = channel(Role::Mda, &[mda.address], ca.tls(Role::Dns));
    assert_eq!(ask(&dns, "who").await.unwrap_err().code(), Code::Unavailable);
    let own = channel(Role::Mda, &[mda.address], ca.tls(Role::Mda));
    assert!(own.ready(scene::PATIENCE).await);
    assert_eq!(ask(&own, "who").await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn without_a_certificate_not_even_health_is_answered() {
    let ca = Ca::new();
    let mda = serve("127.0.0.1:0", "mda", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(mda.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = Role::Mda.identity().try_into().unwrap();
    // In TLS 1.3 the client's side is done before the server has looked: the alert comes with the first read.
    let refused = async {
        let mut stream = connector.connect(name, tcp).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).await
    };
    let error = tokio::time::timeout(scene::PATIENCE, refused).await.unwrap().unwrap_err();
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_replaced_certificate_is_used_for_new_connections() {
    let (old, new) = (Ca::new(), Ca::new());
    let mda_tls = old.tls(Role::Mda);
    let mda = serve("127.0.0.1:0", "mda", Role::Mda, mda_tls.clone(), GRACE).await;
    let (chain, key) = new.pems(Role::Mda.identity());
    mda_tls.replace(new.pem.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
    let to_mda = channel(Role::Mda, &[mda.address], new.tls(Role::Mta));
    assert_eq!(ask(&to_mda, "who").await.unwrap().role, "mta");
    assert!(mda_tls.replace(b"", chain.as_bytes(), key.as_bytes()).is_err());
}

#[tokio::test]
async fn within_one_process_the_caller_is_known_without_certificates() {
    let (link, end) = postroad_rpc::InProcess::new();
    let stop = tokio_util::sync::CancellationToken::new();
    let server = postroad_rpc::Server::new(Role::Mda);
    let serving =
        tokio::spawn(server.serve(postroad_rpc::Incoming::new().in_process(end), stop.clone(), GRACE));
    let to_mda = Channel::in_process(Role::Mda, link, Role::Mra, quick());
    assert!(to_mda.ready(scene::PATIENCE).await);
    // No Trace service was added here.
    let request = Request::new(postroad_rpc::v1::FindStepsRequest::default());
    assert_eq!(ask_with(&to_mda, request).await.unwrap_err().code(), Code::Unimplemented);
    stop.cancel();
    tokio::time::timeout(scene::PATIENCE, serving).await.unwrap().unwrap();
}
