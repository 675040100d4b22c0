//! The certificates of mutual TLS: read at the start, renewed while the process runs.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use mecha_identity::{Error, Expected, Mtls, Sources};
use mecha_observability::metrics::MtlsMetrics;
use mecha_settings::Resolved;

use crate::watch::Watch;

/// Where the file system tells nothing, a change is seen after this long.
const FALLBACK: Duration = Duration::from_secs(5);
/// The namespace of a runtime that is told none.
const DEFAULT_NAMESPACE: &str = "default";

/// Reads what the settings name; `None` where mutual TLS is off.
pub(crate) fn open(resolved: &Resolved, metrics: &MtlsMetrics) -> Result<Option<Arc<Mtls>>> {
    let mtls = &resolved.settings.mtls;
    if !mtls.enabled {
        tracing::info!("mTLS is disabled. Runtimes do not prove to each other who they are");
        return Ok(None);
    }
    let namespace = resolved.environment.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let expected = Expected {
        app_id: resolved.settings.app.id.clone().unwrap_or_default(),
        namespace: namespace.to_owned(),
        trust_domain: mtls.trust_domain.clone().filter(|domain| !domain.is_empty()),
    };
    let (anchors, chain, key) = (&mtls.trust_anchors, &mtls.certificate_chain, &mtls.key);
    let sources = Sources::new(anchors.as_deref(), chain.as_deref(), key.as_deref());
    let opened = sources.and_then(|sources| Mtls::open(sources, expected));
    let opened = opened.inspect_err(|error| metrics.init_failed(error.reason()));
    let opened = match opened {
        Err(error @ Error::Missing { .. }) if !resolved.settings.control_plane.sentry_address.is_empty() => {
            return Err(error).context("certificates are not fetched from --sentry-address in this version");
        }
        opened => opened?,
    };
    metrics.initialised();
    tracing::info!("mTLS is enabled: this runtime is {}", opened.identity());
    Ok(Some(Arc::new(opened)))
}

/// Takes renewed files in until the process ends.
pub(crate) async fn keep_current(mtls: Option<Arc<Mtls>>, metrics: &MtlsMetrics) -> Infallible {
    let Some(mtls) = mtls else { return std::future::pending().await };
    let files: Vec<PathBuf> = mtls.sources().files().map(Path::to_owned).collect();
    let mut watch = Watch::over_files(&files);
    let mut told = Told::default();
    loop {
        // Text in the settings does not change, and still ends.
        tokio::select! {
            () = watch.changed() => {}
            () = tokio::time::sleep(FALLBACK) => {}
        }
        match mtls.renew() {
            Ok(true) => {
                metrics.rotated();
                tracing::info!("certificates were read again: this runtime is {}", mtls.identity());
                told = Told::default();
            }
            Ok(false) => told.problem = None,
            Err(error) => told.problem(&error, metrics),
        }
        told.end(&mtls);
    }
}

/// What was said already.
#[derive(Default)]
struct Told {
    problem: Option<String>,
    end: bool,
}

impl Told {
    fn problem(&mut self, error: &Error, metrics: &MtlsMetrics) {
        let problem = error.to_string();
        if self.problem.as_ref() != Some(&problem) {
            metrics.rotation_failed(error.reason());
            tracing::error!("renewed certificates cannot be used; what held before stays: {problem}");
        }
        self.problem = Some(problem);
    }

    fn end(&mut self, mtls: &Mtls) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_over = mtls.ends().is_some_and(|end| i64::try_from(now).is_ok_and(|now| now > end));
        if is_over && !self.end {
            tracing::error!(
                "the own certificate has expired and other runtimes refuse it; renew the files of mtls.certificate-chain and mtls.key"
            );
        }
        self.end = is_over;
    }
}
