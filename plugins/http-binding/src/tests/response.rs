//! What comes back to the caller.

use mecha_plugin_api::ErrorKind;

use super::server::Server;
use super::*;

#[tokio::test]
async fn the_status_and_the_headers_are_metadata() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    let answer = invoke(&binding, "get", "", &[("path", "headers")]).await.unwrap();
    assert_eq!(&answer.data[..], b"made");
    let metadata: Vec<_> = answer.metadata.iter().collect();
    for pair in
        [("statusCode", "201"), ("status", "201 Created"), ("X-Many", "1, 2"), ("Content-Length", "4")]
    {
        assert!(metadata.contains(&pair), "{pair:?} in {metadata:?}");
    }
    assert!(metadata.iter().any(|(key, _)| *key == "Date"));
    assert_eq!(metadata.iter().filter(|(key, _)| key.eq_ignore_ascii_case("status")).count(), 1);
}

#[tokio::test]
async fn another_status_than_2xx_is_an_error_unless_allowed() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[]).await;
    for (path, code, again) in [
        ("status/404", 404, false),
        ("status/503", 503, true),
        ("status/429", 429, true),
        ("status/304", 304, false),
    ] {
        let error = invoke(&binding, "get", "", &[("path", path)]).await.unwrap_err();
        assert_eq!(error.message(), format!("received status code {code}"));
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::INTERNAL, again), "{path}");
    }
    let allowed = [("path", "status/404"), ("errorIfNot2XX", "false")];
    let answer = invoke(&binding, "get", "", &allowed).await.unwrap();
    assert_eq!((&answer.data[..], answer.metadata.get("statusCode")), (&b"told"[..], Some("404")));

    let lenient = opened(&server.url, &[("errorIfNot2XX", "no")]).await;
    let answer = invoke(&lenient, "get", "", &[("path", "status/500")]).await.unwrap();
    assert_eq!(answer.metadata.get("status"), Some("500 Internal Server Error"));
    let strict = [("path", "status/500"), ("errorIfNot2XX", "true")];
    assert!(invoke(&lenient, "get", "", &strict).await.is_err());
}

#[tokio::test]
async fn a_body_in_pieces_comes_whole_and_a_long_one_is_cut() {
    let server = Server::start().await;
    let all = opened(&server.url, &[("maxResponseBodySize", "0")]).await;
    let answer = invoke(&all, "get", "", &[("path", "chunks/1000")]).await.unwrap();
    assert_eq!(&answer.data[..], "0123456789".repeat(1000).as_bytes());
    for (limit, kept) in [("25", 25), ("10", 10), ("3", 3), ("1Ki", 1000)] {
        let binding = opened(&server.url, &[("maxResponseBodySize", limit)]).await;
        let answer = invoke(&binding, "get", "", &[("path", "chunks/100")]).await.unwrap();
        assert_eq!(answer.data.len(), kept, "{limit}");
        let next = invoke(&binding, "post", "ok", &[]).await.unwrap();
        assert_eq!(&next.data[..], b"ok", "the next call is whole again");
    }
}

#[tokio::test]
async fn a_silent_endpoint_is_a_timeout() {
    let server = Server::start().await;
    let binding = opened(&server.url, &[("responseTimeout", "50ms")]).await;
    let error = invoke(&binding, "get", "", &[("path", "never")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TIMEOUT, "{error}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let binding = opened(&format!("http://user:pass@{address}/a?secret=1"), &[]).await;
    let error = invoke(&binding, "post", "", &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::UNAVAILABLE, true));
    assert!(error.message().starts_with(&format!("POST http://{address}/a: ")), "{error}");
    assert!(!error.message().contains("secret") && !error.message().contains("pass"), "{error}");
}

#[tokio::test]
async fn a_broken_answer_is_repeated_only_where_that_is_safe() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut read = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut read).await;
            let _ = tokio::io::AsyncWriteExt::write_all(
                &mut socket,
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            )
            .await;
        }
    });
    let binding = opened(&url, &[]).await;
    for (operation, again) in [("get", true), ("post", false)] {
        let error = invoke(&binding, operation, "", &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::UNAVAILABLE, again), "{error}");
    }
}

#[tokio::test]
async fn many_calls_at_once() {
    let server = Server::start().await;
    let binding = std::sync::Arc::new(opened(&server.url, &[]).await);
    let calls: Vec<_> = (0..64)
        .map(|at: u32| {
            let binding = binding.clone();
            tokio::spawn(async move { invoke(&binding, "post", &at.to_string(), &[]).await.unwrap().data })
        })
        .collect();
    for (at, call) in calls.into_iter().enumerate() {
        assert_eq!(&call.await.unwrap()[..], at.to_string().as_bytes());
    }
}
