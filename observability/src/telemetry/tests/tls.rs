//! Exporters over TLS, with a certificate authority of our own.

use std::path::Path;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

fn acceptor(ca_file: &Path) -> TlsAcceptor {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(ca_file, issued.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config =
        config.with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Tells the path of each request that came through the handshake.
async fn collector(acceptor: TlsAcceptor) -> (u16, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let _ = sender.send(request.uri().path().to_owned());
                    async { Ok::<_, hyper::Error>(http::Response::new(Full::<bytes::Bytes>::default())) }
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (port, receiver)
}

fn over_tls(protocol: OtlpProtocol, port: u16, ca_file: &Path) -> TraceSettings {
    let otlp = OtlpSettings {
        protocol,
        endpoint: format!("localhost:{port}"),
        ca_file: Some(ca_file.to_owned()),
        timeout: Duration::from_secs(5),
        ..OtlpSettings::default()
    };
    TraceSettings { sampling_rate: "1".into(), otlp: Some(otlp), ..TraceSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let (port, mut paths) = collector(acceptor(&ca_file)).await;
    let grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (protocol, path) in [(OtlpProtocol::Http, "/v1/traces"), (OtlpProtocol::Grpc, grpc)] {
        let fixture = build(&over_tls(protocol, port, &ca_file));
        one_call(&fixture.telemetry);
        let flush = fixture.telemetry.flush(DEADLINE);
        let (_answer, seen) = tokio::join!(flush, paths.recv());
        assert_eq!(seen.as_deref(), Some(path));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folder.path().join("theirs.pem"), folder.path().join("ours.pem"));
    let (port, mut paths) = collector(acceptor(&theirs)).await;
    acceptor(&ours);
    let fixture = build(&over_tls(OtlpProtocol::Http, port, &ours));
    one_call(&fixture.telemetry);
    assert!(fixture.telemetry.flush(DEADLINE).await.is_err());
    assert!(paths.try_recv().is_err());
    assert_eq!(fixture.metrics.spans.dropped(), 3);
    assert!(fixture.log.text().contains("spans lost, the trace exporter cannot deliver"));
}

#[tokio::test]
async fn an_unusable_authority_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "").unwrap();
    let logger = Logger::new(LogSettings::default()).unwrap();
    let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
    for (protocol, file) in
        [(OtlpProtocol::Grpc, &missing), (OtlpProtocol::Http, &missing), (OtlpProtocol::Http, &empty)]
    {
        let settings = over_tls(protocol, 1, file);
        let built =
            Telemetry::build(&settings, &Service::default(), &Handle::current(), &logger, &metrics.spans);
        let text = built.unwrap_err().to_string();
        assert!(text.contains("CA certificate") && text.contains(file.to_str().unwrap()), "{text}");
    }
}
