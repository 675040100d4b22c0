//! Shutdown over gRPC.

use mecha_runtime::Runtime;

pub(crate) fn shutdown(runtime: &Runtime) {
    runtime.request_shutdown(false);
}
