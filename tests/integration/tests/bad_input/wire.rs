//! Requests that no client library would send.

use mecha_testkit::Mecha;

use crate::raw_http::{Connection, RawReply, exchange, request};

async fn send(mecha: &Mecha, request: &[u8]) -> Option<RawReply> {
    let answer = exchange(&mecha.http_addr(), request, "GET").await;
    answer.unwrap_or_else(|error| panic!("{}: {error:#}", request.escape_ascii()))
}

async fn get(mecha: &Mecha, target: &[u8], headers: &[(&str, &str)]) -> Option<RawReply> {
    let mut all = vec![("connection", "close")];
    all.extend(headers);
    send(mecha, &request("GET", target, &all, b"")).await
}

pub async fn check_paths(mecha: &Mecha) {
    for target in
        ["/v1.0/state/store/%", "/v1.0/state/store/%4", "/v1.0/state/store/%zz", "/v1.0/%gg/store/k"]
    {
        let reply = get(mecha, target.as_bytes(), &[]).await.unwrap();
        assert_eq!(reply.status, 400, "{target}: {}", reply.text());
    }
    // Escaped bytes that are no text: Go takes them for a key like any other; who wants text refuses them.
    for target in [&b"/v1.0/state/store/%FF%FE"[..], b"/v1.0/state/%C3%28/k", b"/v1.0/state/store/\xff\xfe"] {
        let reply = get(mecha, target, &[]).await;
        let status = reply.map(|reply| reply.status);
        assert!(matches!(status, Some(204 | 400)), "{}: {status:?}", target.escape_ascii());
    }
    for (target, status) in [
        (&b"/v1.0/state/store/a%00b"[..], 204),
        (b"/v1.0/state/store/a+b", 204),
        (b"/v1.0/state/store/%2e%2e%2fmetadata", 204),
        (b"/v1.0/state/store/../../healthz", 204),
        (b"/../../../etc/passwd", 404),
        (b"/v1.0/state/store/k?metadata.=&metadata.a=%zz&&&=", 204),
        (b"http://elsewhere/v1.0/healthz", 204),
    ] {
        let reply = get(mecha, target, &[]).await.unwrap();
        assert_eq!(reply.status, status, "{}: {}", target.escape_ascii(), reply.text());
    }
    let long = format!("/v1.0/state/store/{}", "k".repeat(2000));
    assert_eq!(get(mecha, long.as_bytes(), &[]).await.unwrap().status, 204);
    // Longer than the read buffer, which holds the whole head.
    let longer = format!("/v1.0/state/store/{}", "k".repeat(100_000));
    let status = get(mecha, longer.as_bytes(), &[]).await.map(|reply| reply.status);
    assert!(matches!(status, None | Some(414 | 431)), "{status:?}");
    let odd = request("PAINT", b"/v1.0/healthz", &[("connection", "close")], b"");
    let reply = send(mecha, &odd).await.unwrap();
    assert_eq!((reply.status, reply.text().contains("ERR_DIRECT_INVOKE")), (404, true));
}

pub async fn check_headers(mecha: &Mecha) {
    let health = b"/v1.0/healthz";
    assert_eq!(get(mecha, health, &[("x-fits", &"v".repeat(2000))]).await.unwrap().status, 204);
    let status = get(mecha, health, &[("x-huge", &"v".repeat(100_000))]).await.map(|reply| reply.status);
    assert!(matches!(status, None | Some(431)), "{status:?}");
    let many: Vec<_> = (0..2000).map(|index| format!("x-{index}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "v")).collect();
    let status = get(mecha, health, &many).await.map(|reply| reply.status);
    assert!(matches!(status, None | Some(431)), "{status:?}");

    let state = b"/v1.0/state/store/k";
    for baggage in ["=x", "key", "a b=c", "k=v\u{fc}", "a=1,,b=2"] {
        let reply = get(mecha, state, &[("baggage", baggage)]).await.unwrap();
        assert_eq!(reply.status, 400, "{baggage}: {}", reply.text());
    }
    let reply = get(mecha, state, &[("baggage", "=x")]).await.unwrap();
    assert!(reply.text().starts_with("invalid baggage header: "), "{}", reply.text());
    assert!(reply.header("content-type").starts_with("text/plain"), "{reply:?}");
    // A trace context that is none is left out, as the standard has it.
    for traceparent in ["", "x", "00-0-0-0", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
        assert_eq!(get(mecha, state, &[("traceparent", traceparent)]).await.unwrap().status, 204);
    }
}

pub async fn check_bodies(mecha: &Mecha, max_body: usize) {
    let save = b"/v1.0/state/store";
    let value = |length: usize| format!("[{{\"key\":\"big\",\"value\":\"{}\"}}]", "x".repeat(length));
    let post = |body: &str| request("POST", save, &[("connection", "close")], body.as_bytes());
    assert_eq!(send(mecha, &post(&value(max_body - 100))).await.unwrap().status, 204);
    assert_eq!(send(mecha, &post(&value(max_body + 1))).await.unwrap().status, 413);
    // The same without saying beforehand how long it is.
    let chunk = value(max_body + 1);
    let chunked = format!(
        "POST /v1.0/state/store HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    assert_eq!(send(mecha, chunked.as_bytes()).await.unwrap().status, 413);
    for (what, text) in [
        ("a chunk's length that is none", "transfer-encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n"),
        ("a content length that is none", "content-length: many\r\n\r\n[]"),
        ("two content lengths", "content-length: 2\r\ncontent-length: 3\r\n\r\n[]"),
        ("an unknown encoding", "transfer-encoding: paint\r\n\r\n[]"),
    ] {
        let text = format!("POST /v1.0/state/store HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{text}");
        let status = send(mecha, text.as_bytes()).await.map(|reply| reply.status);
        assert!(matches!(status, None | Some(400 | 501)), "{what}: {status:?}");
    }
}

/// None of these may hold anything open once the other side is gone.
pub async fn check_broken_connections(mecha: &Mecha) {
    let grpc = mecha.grpc_endpoint().replace("http://", "");
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames: [&[u8]; 6] = [
        b"",
        b"garbage that is no frame at all, and long enough to be read as one",
        // SETTINGS of a wrong length.
        b"\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        // HEADERS on stream 0.
        b"\x00\x00\x01\x01\x04\x00\x00\x00\x00\x82",
        // DATA on a stream that nobody opened.
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x00\x01\x00\x00\x00\x09abc",
        // A frame of 16 MiB announced.
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\x00\x00\x00\x00\x00\x01abc",
    ];
    for addr in [&mecha.http_addr(), &grpc] {
        for frame in frames {
            let mut connection = Connection::open(addr).await.unwrap();
            connection.send(&[preface.as_bytes(), frame].concat()).await.unwrap();
            connection.finish().await.unwrap();
            // Whatever it says, it must come to an end.
            connection.read_to_end().await.unwrap();
        }
    }
    let half_requests: [&[u8]; 6] = [
        b"",
        b"GET",
        b"GET /v1.0/healthz HTTP/1.1\r\nhost:",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 as if it were TLS",
        b"\x00\x00\x00\x00",
        b"POST /v1.0/state/store HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n[{\"key\":",
    ];
    for half in half_requests {
        let mut connection = Connection::open(&mecha.http_addr()).await.unwrap();
        connection.send(half).await.unwrap();
        connection.finish().await.unwrap();
        let said = String::from_utf8_lossy(&connection.read_to_end().await.unwrap()).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{}: {said}", half.escape_ascii());
    }
    // Gone without a word, with an answer on its way.
    for _ in 0..50 {
        let mut connection = Connection::open(&mecha.http_addr()).await.unwrap();
        let get = request("GET", b"/v1.0/state/probe/k", &[], b"");
        connection.send(&get.repeat(20)).await.unwrap();
    }
}
