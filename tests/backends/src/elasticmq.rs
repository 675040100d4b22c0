//! ElasticMQ: SQS in memory, with SQS's own limits. It takes any credentials.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::http;
use crate::instance::Instance;
use crate::maven::Jars;
use crate::process::ServerProcess;

/// Variable that names an SQS which runs already, as `http://host:port`; `cargo xtask test` sets it.
pub const SQS_VARIABLE: &str = "MECHA_TEST_SQS";

const JARS: Jars = Jars {
    name: "elasticmq-1.7.1",
    program: "elasticmq",
    artifacts: &["org.elasticmq:elasticmq-server_2.13:1.7.1"],
};
/// Little memory and a quick start, as for Kafka.
const OPTIONS: &[&str] =
    &["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dconfig.file=elasticmq.conf"];
const READY_WITHIN: Duration = Duration::from_secs(60);

/// An SQS server: one of our own, or a shared one.
#[derive(Debug)]
pub struct ElasticMq {
    instance: Instance,
}

impl ElasticMq {
    /// The region of its queues.
    pub const REGION: &'static str = "elasticmq";
    /// The account of its queues.
    pub const ACCOUNT: &'static str = "000000000000";
    /// A queue that is there from the start, for components that make none.
    pub const QUEUE: &'static str = "mecha-conformance";

    /// Starts a server of our own and returns once it answers.
    pub fn start() -> Result<Self> {
        Ok(Self { instance: Instance::start(launch)? })
    }

    /// The server that [`SQS_VARIABLE`] names, else one of our own. Tests of a shared one use queues of their own.
    pub fn shared() -> Result<Self> {
        Ok(Self { instance: Instance::shared(SQS_VARIABLE, launch)? })
    }

    /// Address as components take it in `endpoint`.
    pub fn endpoint(&self) -> &str {
        self.instance.endpoint()
    }

    /// Address of a server of our own, for a proxy in front of it.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.instance.addr()
    }

    /// Kills the server, as a crash would: its queues are gone.
    pub fn stop(&mut self) -> Result<()> {
        self.instance.stop()
    }

    /// Starts the stopped server again on the same port, empty; a running one is left as it is.
    pub fn start_again(&mut self) -> Result<()> {
        self.instance.start_again()
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }
}

fn launch(addr: SocketAddr, dir: &Path) -> Result<ServerProcess> {
    fs::write(dir.join("elasticmq.conf"), config(addr))?;
    let mut command = JARS.java(OPTIONS)?;
    command.current_dir(dir).arg("org.elasticmq.server.Main");
    ServerProcess::start(command, &dir.join("log"), READY_WITHIN, || http::answers(addr))
}

fn config(addr: SocketAddr) -> String {
    let (host, port) = (addr.ip(), addr.port());
    let (region, account, queue) = (ElasticMq::REGION, ElasticMq::ACCOUNT, ElasticMq::QUEUE);
    format!(
        "include classpath(\"application.conf\")\n\
         node-address {{ protocol = http, host = \"{host}\", port = {port}, context-path = \"\" }}\n\
         rest-sqs {{ enabled = true, bind-hostname = \"{host}\", bind-port = {port}, sqs-limits = strict }}\n\
         rest-stats {{ enabled = false }}\n\
         aws {{ region = \"{region}\", accountId = \"{account}\" }}\n\
         queues {{ {queue} {{ }} }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optional;

    const PREDEFINED: &str = "/?Action=GetQueueUrl&QueueName=mecha-conformance";
    const NEW_QUEUE: &str = "/?Action=CreateQueue&QueueName=queue";

    #[test]
    fn it_serves_queues_and_can_be_started_again() {
        let Some(mut server) = optional(ElasticMq::start()).unwrap() else { return };
        let addr = server.addr().unwrap();
        let made = http::send(addr, "POST", NEW_QUEUE, "").unwrap();
        let url = format!("{}/{}/queue", server.endpoint(), ElasticMq::ACCOUNT);
        assert!(made.status == 200 && made.body.contains(&url), "{made:?}");

        let asked = http::send(addr, "POST", PREDEFINED, "").unwrap();
        assert!(asked.status == 200 && asked.body.contains(ElasticMq::QUEUE), "{asked:?}");

        server.stop().unwrap();
        assert!(!http::answers(addr));
        server.start_again().unwrap();
        let asked = http::send(addr, "POST", "/?Action=GetQueueUrl&QueueName=queue", "").unwrap();
        assert_eq!(asked.status, 400, "it has forgotten its queues: {asked:?}");
        drop(server);
        assert!(!http::answers(addr));
    }

    #[test]
    fn its_limits_are_those_of_sqs() {
        let Some(server) = optional(ElasticMq::start()).unwrap() else { return };
        let addr = server.addr().unwrap();
        assert_eq!(http::send(addr, "POST", NEW_QUEUE, "").unwrap().status, 200);
        let path = format!("/{}/queue?Action=ReceiveMessage&MaxNumberOfMessages=11", ElasticMq::ACCOUNT);
        assert_eq!(http::send(addr, "POST", &path, "").unwrap().status, 400);
    }
}
