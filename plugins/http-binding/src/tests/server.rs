//! The server: it answers as the path says and keeps what it was sent.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A running server; ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (scheme, host) = if tls.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(accept(listener, acceptor, seen.clone()));
        Self { url: format!("{scheme}://{host}:{port}"), port, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        tokio::spawn(async move {
            match acceptor {
                None => serve(socket, seen).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, seen).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Mutex<Vec<Seen>>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push(Seen {
                method: head.method.clone(),
                path: head.uri.path_and_query().unwrap().to_string(),
                version: head.version,
                headers: head.headers.clone(),
                body: body.clone(),
            });
            Ok::<_, Infallible>(answer(&head, body).await)
        }
    });
    // The client may go away in the middle of an answer; that is what some tests are about.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// `/status/404`, `/redirect/307?to=…`, `/chunks/5` (pieces of ten bytes), `/circle`, `/never`, `/headers`; all else echoes the body.
async fn answer(head: &Parts, body: Bytes) -> Response<Body> {
    let mut words = head.uri.path().trim_start_matches('/').split('/');
    let (what, number) = (words.next().unwrap_or_default(), words.next().and_then(|n| n.parse().ok()));
    match (what, number) {
        ("status", Some(status)) => whole(status, Bytes::from("told")),
        ("redirect", Some(status)) => {
            let to = head.uri.query().and_then(|query| query.strip_prefix("to=")).unwrap_or_default();
            let mut response = whole(status, Bytes::new());
            response.headers_mut().insert("location", to.parse().unwrap());
            response
        }
        ("chunks", Some(count)) => {
            let pieces = (0..count).map(|_| Ok(Frame::data(Bytes::from_static(b"0123456789"))));
            let pieces: Vec<Result<_, Infallible>> = pieces.collect();
            Response::new(StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync())
        }
        ("circle", _) => {
            let mut response = whole(307, Bytes::new());
            response.headers_mut().insert("location", "/circle".parse().unwrap());
            response
        }
        ("never", _) => std::future::pending().await,
        ("headers", _) => {
            let mut response = whole(201, Bytes::from("made"));
            response.headers_mut().append("x-many", "1".parse().unwrap());
            response.headers_mut().append("x-many", "2".parse().unwrap());
            response.headers_mut().insert("status", "mine".parse().unwrap());
            response
        }
        _ => whole(200, body),
    }
}

fn whole(status: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
