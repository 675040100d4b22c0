//! The HTTP stack under the AWS SDK: one pool of connections for all components of the plugin.

use std::error::Error as StdError;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector as TcpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_plugin_api::Result;
use tokio::sync::OnceCell;

use super::tls::{self, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// AWS closes idle connections after 20 seconds and more; a request on one that is just closing costs a retry.
const IDLE_TIMEOUT: Duration = Duration::from_secs(18);
const MAX_IDLE: usize = 32;

type Pool = legacy::Client<HttpsConnector<TcpConnector>, SdkBody>;

/// The pools of the plugin: one that verifies servers and one for components with `insecureSSL`, each made when first used.
#[derive(Default)]
pub(crate) struct Pools {
    verified: OnceCell<SharedHttpClient>,
    unverified: OnceCell<SharedHttpClient>,
}

impl Pools {
    /// The SDK's HTTP client over the pool of the given trust.
    pub(crate) async fn client(&self, trust: Trust) -> Result<SharedHttpClient> {
        let cell = match trust {
            Trust::System => &self.verified,
            Trust::Anyone => &self.unverified,
        };
        cell.get_or_try_init(|| make(trust)).await.cloned()
    }
}

async fn make(trust: Trust) -> Result<SharedHttpClient> {
    let config = tokio::task::spawn_blocking(move || tls::client_config(trust))
        .await
        .map_err(|error| mecha_plugin_api::Error::internal(format!("cannot set up TLS: {error}")))??;
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let pool = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .build(connector);
    Ok(SharedHttpClient::new(PooledClient(pool)))
}

#[derive(Debug)]
struct PooledClient(Pool);

impl HttpClient for PooledClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(PooledConnector {
            pool: self.0.clone(),
            read_timeout: settings.read_timeout(),
        })
    }
}

#[derive(Debug)]
struct PooledConnector {
    pool: Pool,
    /// From sending the request to the head of the answer.
    read_timeout: Option<Duration>,
}

impl HttpConnector for PooledConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (pool, limit) = (self.pool.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let answering = pool.request(request);
            let answered = match limit {
                None => answering.await,
                Some(limit) => tokio::time::timeout(limit, answering)
                    .await
                    .map_err(|_| ConnectorError::timeout(format!("no answer within {limit:?}").into()))?,
            };
            let response = answered.map_err(failure)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The kind decides whether the SDK sends the request again.
fn failure(error: legacy::Error) -> ConnectorError {
    let connecting = error.is_connect();
    let is_late = causes(&error).any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
    });
    let failed =
        if is_late { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) };
    if connecting { failed.never_connected() } else { failed }
}

/// An error and everything behind it.
pub(crate) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
