//! Presigned addresses, used as anybody would: over a socket that knows nothing of the component.

use std::time::Duration;

use mecha_plugin_api::object::{ObjectFeatures, PresignRequest, Presigned};
use mecha_plugin_api::{ErrorKind, Metadata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::store::{Store, key, refused};
use crate::subject::{Subject, context};
use crate::{Checked, because, is};

const TTL: Duration = Duration::from_secs(60);

fn request(key: &str, method: &str) -> PresignRequest {
    PresignRequest {
        key: key.into(),
        method: method.into(),
        ttl_ns: TTL.as_nanos() as u64,
        content_type: "".into(),
        metadata: Metadata::new(),
    }
}

/// For stores that say so; the others say that they cannot.
pub(super) async fn an_address_serves_whoever_has_it(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    let presign = |method: &str| store.store.presign(context(), request(&key, method));
    if !store.store.features().has(ObjectFeatures::PRESIGN) {
        return refused("presign", presign("GET").await.into_result(), ErrorKind::UNSUPPORTED, None);
    }
    let (up, down) = (presign("PUT").await.into_result(), presign("GET").await.into_result());
    let (up, down) = (up.map_err(because)?, down.map_err(because)?);
    is("methods", (&*up.method, &*down.method), ("PUT", "GET"))?;
    // Behind TLS an address is looked at only: it is the same request.
    if up.url.starts_with("https://") {
        return is("the other is https", down.url.starts_with("https://"), true);
    }
    let put = ask(&up, "by address", subject.row.patience).await?;
    is("the answer to PUT begins", put.split(' ').nth(1), Some("200"))?;
    store.holds(&key, b"by address").await?;
    let got = ask(&down, "", subject.row.patience).await?;
    is("the answer to GET begins", got.split(' ').nth(1), Some("200"))?;
    is("it ends with the object", got.ends_with("\r\n\r\nby address"), true)?;
    // A right to get is none to put.
    let wrong = Presigned { method: "PUT".into(), ..down };
    let stolen = ask(&wrong, "stolen", subject.row.patience).await?;
    is("an address to get serves to put", stolen.split(' ').nth(1) == Some("200"), false)?;
    store.holds(&key, b"by address").await?;
    store.delete([key]).await
}

/// Sends a request and gives the whole answer, head and body.
async fn ask(address: &Presigned, body: &str, patience: Duration) -> Result<String, String> {
    let rest = address.url.strip_prefix("http://").ok_or("the address is neither http nor https")?;
    let (authority, path) = rest.split_once('/').ok_or("the address has no path")?;
    let mut head =
        format!("{} /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", address.method);
    for (name, value) in
        address.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
    {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let exchange = async {
        let socket = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let mut stream = TcpStream::connect(socket).await?;
        stream.write_all(whole.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(patience, exchange).await {
        Ok(answer) => answer.map_err(because),
        Err(_) => Err(format!("no answer within {patience:?}")),
    }
}
