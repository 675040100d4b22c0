//! The AWS SDK as an application would use it: its clients over hyper's pool of connections, with what the plugin sets.

use anyhow::Result;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;

/// Where a service is and who asks it.
pub(in crate::benches) struct Access<'a> {
    pub(in crate::benches) endpoint: &'a str,
    pub(in crate::benches) region: &'static str,
    pub(in crate::benches) access_key: &'static str,
    pub(in crate::benches) secret_key: &'static str,
}

impl Access<'_> {
    /// The same for a component.
    pub(in crate::benches) fn metadata(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("endpoint", self.endpoint),
            ("region", self.region),
            ("accessKey", self.access_key),
            ("secretKey", self.secret_key),
        ]
    }

    pub(in crate::benches) fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region))
            .credentials_provider(self.credentials())
            .endpoint_url(self.endpoint)
            .http_client(http_client());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    pub(in crate::benches) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region))
            .credentials_provider(self.credentials())
            .endpoint_url(self.endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .http_client(http_client());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(self.access_key, self.secret_key, None, None, "benchmark")
    }
}

/// The SDK's own HTTP client brings a TLS stack that nothing here needs.
fn http_client() -> SharedHttpClient {
    let mut tcp = TcpConnector::new();
    tcp.set_nodelay(true);
    SharedHttpClient::new(Pooled(Client::builder(TokioExecutor::new()).build(tcp)))
}

#[derive(Debug, Clone)]
struct Pooled(Client<TcpConnector, SdkBody>);

impl HttpClient for Pooled {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Pooled {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let pool = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let answer = pool.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The SDK's errors say what happened only in what is behind them.
pub(in crate::benches) trait InFull<T> {
    fn in_full(self) -> Result<T>;
}

impl<T, E: std::error::Error> InFull<T> for Result<T, E> {
    fn in_full(self) -> Result<T> {
        self.map_err(|error| {
            let behind = std::iter::successors(error.source(), |error| error.source());
            let all: Vec<_> =
                std::iter::once(error.to_string()).chain(behind.map(ToString::to_string)).collect();
            anyhow::anyhow!(all.join(": "))
        })
    }
}
