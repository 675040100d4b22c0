//! The SDK's configuration of a component: credentials, region, endpoint, retries, over the plugin's one HTTP stack.

mod http;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use mecha_plugin_api::{Error, Result};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

pub(crate) use self::http::{Pools, causes};
use self::tls::Trust;
use crate::error::{Failure, chain};
use crate::metadata::{AwsSettings, EMULATOR_REGION, Identity, Role};

/// From sending a request to the head of its answer.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 3;

/// What the components of one plugin share.
pub(crate) type Shared = Arc<Pools>;

/// Loads credentials and region and settles how requests are sent; nothing is sent to the service yet.
pub(crate) async fn configure(settings: &AwsSettings, pools: &Pools) -> Result<SdkConfig> {
    let trust = if settings.insecure_ssl { Trust::Anyone } else { Trust::System };
    let http = pools.client(trust).await?;
    let retries =
        RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(200));
    let timeouts = TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build();
    let provider = ProviderConfig::without_region().with_http_client(http.clone());
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(retries)
        .timeout_config(timeouts);
    if let Some(region) = region(settings) {
        loader = loader.region(Region::new(region));
    }
    let config = match &settings.identity {
        Identity::Keys { access_key, secret_key, session_token } => {
            let keys =
                Credentials::new(access_key, secret_key, session_token.clone(), None, "component metadata");
            loader.credentials_provider(keys).load().await
        }
        Identity::Ambient { profile, role } => {
            ambient(loader, provider, settings, profile.as_deref(), role.as_ref()).await?
        }
    };
    if config.region().is_none() {
        return Err(
            Error::invalid("no region in the metadata, the environment or the profile").with_field("region")
        );
    }
    Ok(with_endpoint(config, settings.endpoint.as_deref()))
}

/// An emulator takes any region, so it needs none.
fn region(settings: &AwsSettings) -> Option<String> {
    let from_environment =
        || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|name| std::env::var_os(name).is_some());
    match &settings.region {
        Some(region) => Some(region.clone()),
        None if settings.endpoint.is_some() && !from_environment() => Some(EMULATOR_REGION.to_owned()),
        None => None,
    }
}

async fn ambient(
    loader: ConfigLoader,
    provider: ProviderConfig,
    settings: &AwsSettings,
    profile: Option<&str>,
    role: Option<&Role>,
) -> Result<SdkConfig> {
    let loader = match profile {
        // A profile that was asked for is the only source: the environment must not stand before it, nor the machine's
        // own role behind it.
        Some(profile) => {
            let provider = provider.with_region(settings.region.clone().map(Region::new));
            let credentials =
                ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&provider).build();
            check_profile(profile, credentials.provide_credentials().await.err())?;
            loader.profile_name(profile).credentials_provider(credentials)
        }
        None => loader,
    };
    let config = loader.load().await;
    let Some(role) = role else { return Ok(config) };
    let sts = settings.sts_endpoint.as_deref().or(settings.endpoint.as_deref());
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .session_name(&role.session_name)
        .configure(&with_endpoint(config.clone(), sts));
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    let provider = provider.build().await;
    let credentials = SharedCredentialsProvider::new(provider);
    Ok(config.into_builder().credentials_provider(credentials).build())
}

/// A profile that is not there, or not usable, stays so; a service that it needs may come back.
fn check_profile(profile: &str, error: Option<CredentialsError>) -> Result<()> {
    match error {
        Some(
            error @ (CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)),
        ) => Err(Error::invalid(format!("profile {profile} gives no credentials: {}", chain(&error)))
            .with_field("profile")),
        _ => Ok(()),
    }
}

/// Sends a request, without the dozen spans that the SDK makes of each: a sampled call has one of ours.
pub(crate) async fn ask<T, E>(
    sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    sending.with_subscriber(Dispatch::none()).await.map_err(Failure::from)
}

fn with_endpoint(config: SdkConfig, endpoint: Option<&str>) -> SdkConfig {
    match endpoint {
        Some(endpoint) => config.into_builder().endpoint_url(endpoint).build(),
        None => config,
    }
}
