//! versitygw: S3 over a folder. It checks signatures.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::Result;
use crate::go::GoProgram;
use crate::http;
use crate::instance::Instance;
use crate::process::ServerProcess;

/// Variable that names an S3 which runs already, as `http://host:port`; `cargo xtask test` sets it.
pub const S3_VARIABLE: &str = "MECHA_TEST_S3";
/// Variable that holds the access key of who may do everything there.
pub const S3_ACCESS_KEY_VARIABLE: &str = "MECHA_TEST_S3_ACCESS_KEY";
/// Variable that holds the secret key that goes with it.
pub const S3_SECRET_KEY_VARIABLE: &str = "MECHA_TEST_S3_SECRET_KEY";

const PROGRAM: GoProgram = GoProgram {
    name: "versitygw-1.8.0",
    module: "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    file: "versitygw",
};
const READY_WITHIN: Duration = Duration::from_secs(20);

/// An S3 server of our own. Its buckets are folders.
#[derive(Debug)]
pub struct Versitygw {
    instance: Instance,
}

impl Versitygw {
    /// The access key of who may do everything.
    pub const ACCESS_KEY: &'static str = "mecha";
    /// The secret key that goes with it.
    pub const SECRET_KEY: &'static str = "mecha-secret";
    /// A bucket that is there from the start, for components that make none.
    pub const BUCKET: &'static str = "mecha-conformance";

    /// Starts a server of our own and returns once it answers.
    pub fn start() -> Result<Self> {
        Ok(Self { instance: Instance::start(launch)? })
    }

    /// Address as components take it in `endpoint`.
    pub fn endpoint(&self) -> &str {
        self.instance.endpoint()
    }

    /// Address of the server, for a proxy in front of it.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.instance.addr()
    }

    /// Kills the server, as a crash would: its objects stay.
    pub fn stop(&mut self) -> Result<()> {
        self.instance.stop()
    }

    /// Starts the stopped server again on the same port and with its objects; a running one is left as it is.
    pub fn start_again(&mut self) -> Result<()> {
        self.instance.start_again()
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }
}

fn launch(addr: SocketAddr, dir: &Path) -> Result<ServerProcess> {
    let data = dir.join("data");
    fs::create_dir_all(data.join(Versitygw::BUCKET))?;
    let mut command = Command::new(PROGRAM.find_or_install()?);
    command.current_dir(dir).args(["--port", &addr.to_string(), "posix"]).arg(data);
    command.env("ROOT_ACCESS_KEY", Versitygw::ACCESS_KEY).env("ROOT_SECRET_KEY", Versitygw::SECRET_KEY);
    ServerProcess::start(command, &dir.join("log"), READY_WITHIN, || http::answers(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optional;

    #[test]
    fn it_answers_as_s3_does_and_can_be_started_again() {
        let Some(mut server) = optional(Versitygw::start()).unwrap() else { return };
        let addr = server.addr().unwrap();
        let refused = http::send(addr, "GET", "/bucket", "").unwrap();
        assert!(refused.status >= 400 && refused.body.contains("<Error>"), "{refused:?}");
        server.stop().unwrap();
        assert!(!http::answers(addr));
        server.start_again().unwrap();
        assert!(http::answers(addr));
        drop(server);
        assert!(!http::answers(addr));
    }
}
