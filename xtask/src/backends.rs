//! The real back ends of the tests: those that the chosen tests ask for, started side by side.

use std::thread;

use anyhow::{Context, Result};
use mecha_backends::{
    ElasticMq, KAFKA_VARIABLE, Kafka, Observed, REDIS_VARIABLE, Redis, S3_ACCESS_KEY_VARIABLE,
    S3_SECRET_KEY_VARIABLE, S3_VARIABLE, SQS_VARIABLE, Versitygw, optional,
};

use crate::shell::Shell;

/// A back end that can be started.
pub(crate) struct BackEnd {
    /// As it is printed.
    pub(crate) name: &'static str,
    /// The type that stands for it in tests.
    type_name: &'static str,
    /// The variable by which tests find it.
    variable: &'static str,
    start: fn() -> mecha_backends::Result<Server>,
}

/// A running one and what tests must know of it. Dropping it stops it.
struct Server {
    variables: Vec<(&'static str, String)>,
    server: Box<dyn Observed>,
}

/// Those that run.
pub(crate) struct Running(Vec<(&'static str, Server)>);

/// Every back end.
pub(crate) const ALL: &[BackEnd] = &[
    BackEnd { name: "Redis", type_name: "Redis", variable: REDIS_VARIABLE, start: redis },
    BackEnd { name: "Kafka", type_name: "Kafka", variable: KAFKA_VARIABLE, start: kafka },
    BackEnd { name: "ElasticMQ (SQS)", type_name: "ElasticMq", variable: SQS_VARIABLE, start: sqs },
    BackEnd { name: "versitygw (S3)", type_name: "Versitygw", variable: S3_VARIABLE, start: s3 },
];

impl BackEnd {
    /// Whether a test with these sources asks for the one that is shared by all tests.
    pub(crate) fn is_asked_for(&self, sources: &str) -> bool {
        let by_type = format!("{}::shared", self.type_name);
        let by_variable = format!("\"{}\"", self.variable);
        sources.contains(&by_type) || sources.contains(&by_variable)
    }
}

/// Starts them, side by side. One that this machine cannot have is left out, which is said; in CI it is an error.
pub(crate) fn start(shell: &Shell, wanted: &[&BackEnd]) -> Result<Running> {
    let started: Vec<Result<Option<_>>> = thread::scope(|scope| {
        let starting: Vec<_> = wanted.iter().map(|wanted| scope.spawn(|| start_one(shell, wanted))).collect();
        starting.into_iter().map(|thread| thread.join().ok().context("starting panicked")?).collect()
    });
    let running: Vec<_> = started.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
    let running = Running(running);
    running.variables().for_each(|(name, value)| println!("    {name}={value}"));
    Ok(running)
}

fn start_one(shell: &Shell, wanted: &BackEnd) -> Result<Option<(&'static str, Server)>> {
    let server = shell.task(&format!("start {}", wanted.name), || Ok(optional((wanted.start)())?))?;
    if server.is_none() {
        println!("    without {}: the tests that need it are skipped", wanted.name);
    }
    Ok(server.map(|server| (wanted.name, server)))
}

impl Running {
    /// By what tests find them.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.0.iter().flat_map(|(_, server)| &server.variables)
    }

    /// How each does, a line each; of one that does not answer, its last words as well.
    pub(crate) fn report(&self) -> String {
        let one = |(name, server): &(&str, Server)| match server.server.answers() {
            true => format!("{name} answers\n"),
            false => format!("{name} does not answer; its last lines:\n{}\n", server.server.last_lines()),
        };
        self.0.iter().map(one).collect()
    }
}

fn redis() -> mecha_backends::Result<Server> {
    let server = Redis::start()?;
    let variables = vec![(REDIS_VARIABLE, server.addr().to_string())];
    Ok(Server { variables, server: Box::new(server) })
}

fn kafka() -> mecha_backends::Result<Server> {
    let server = Kafka::start()?;
    let variables = vec![(KAFKA_VARIABLE, server.addr().to_string())];
    Ok(Server { variables, server: Box::new(server) })
}

fn sqs() -> mecha_backends::Result<Server> {
    let server = ElasticMq::start()?;
    let variables = vec![(SQS_VARIABLE, server.endpoint().to_owned())];
    Ok(Server { variables, server: Box::new(server) })
}

fn s3() -> mecha_backends::Result<Server> {
    let server = Versitygw::start()?;
    let variables = vec![
        (S3_VARIABLE, server.endpoint().to_owned()),
        (S3_ACCESS_KEY_VARIABLE, Versitygw::ACCESS_KEY.to_owned()),
        (S3_SECRET_KEY_VARIABLE, Versitygw::SECRET_KEY.to_owned()),
    ];
    Ok(Server { variables, server: Box::new(server) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(sources: &str) -> Vec<&'static str> {
        ALL.iter().filter(|back_end| back_end.is_asked_for(sources)).map(|found| found.name).collect()
    }

    #[test]
    fn a_back_end_is_asked_for_by_its_type_or_its_variable() {
        assert_eq!(asked_for(concat!("let server = ElasticMq", "::shared()?;")), ["ElasticMQ (SQS)"]);
        assert_eq!(asked_for(&format!("env::var({S3_VARIABLE:?})")), ["versitygw (S3)"]);
        let own = "a server of its own: ElasticMq::start()";
        assert!(asked_for(own).is_empty());
    }
}
