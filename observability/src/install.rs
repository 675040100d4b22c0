//! The one process-wide step: the `tracing` subscriber of the binary.

use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use crate::error::Error;
use crate::logs::Logger;
use crate::telemetry::Telemetry;

/// Makes the log and the runtime's own spans the destination of `tracing` in this process. Only the binary calls it, once.
pub fn install_subscriber(logger: &Logger, telemetry: &Telemetry) -> Result<(), Error> {
    let subscriber = Registry::default().with(logger.layer()).with(telemetry.layer());
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::SubscriberInstalled)
}
