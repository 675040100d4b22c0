//! How a server does that others use: for the report of tests that failed.

use crate::elasticmq::ElasticMq;
use crate::kafka::Kafka;
use crate::process::ServerProcess;
use crate::redis::Redis;
use crate::versitygw::Versitygw;

/// A server that can be looked at from outside.
pub trait Observed: Send {
    /// Whether it answers now.
    fn answers(&self) -> bool;
    /// The last lines of its output; nothing of a server that is not ours or is stopped.
    fn last_lines(&self) -> String;
}

impl Observed for Redis {
    fn answers(&self) -> bool {
        self.answers()
    }

    fn last_lines(&self) -> String {
        last_lines(self.process())
    }
}

impl Observed for Kafka {
    fn answers(&self) -> bool {
        self.answers()
    }

    fn last_lines(&self) -> String {
        last_lines(self.process())
    }
}

impl Observed for ElasticMq {
    fn answers(&self) -> bool {
        self.instance().answers()
    }

    fn last_lines(&self) -> String {
        last_lines(self.instance().process())
    }
}

impl Observed for Versitygw {
    fn answers(&self) -> bool {
        self.instance().answers()
    }

    fn last_lines(&self) -> String {
        last_lines(self.instance().process())
    }
}

fn last_lines(process: Option<&ServerProcess>) -> String {
    process.map(ServerProcess::last_lines).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_how_it_does() {
        let mut redis = Redis::start().unwrap();
        assert!(Observed::answers(&redis));
        assert!(redis.last_lines().contains("Ready to accept connections"), "{}", redis.last_lines());
        redis.stop().unwrap();
        assert!(!Observed::answers(&redis));
        assert_eq!(redis.last_lines(), "");
    }
}
