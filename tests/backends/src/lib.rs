//! Real servers for tests: each is found or installed, started on a free loopback port, and stopped when dropped.
//!
//! One file a back end. A new one describes its command and what an answer from a ready server looks like; finding,
//! installing, fetching, starting, waiting, stopping and restarting are shared ([`process`], [`instance`], [`install`],
//! [`fetch`]).

mod cargo;
mod elasticmq;
mod error;
mod fetch;
mod go;
mod h2spec;
mod http;
mod install;
mod instance;
mod kafka;
mod maven;
mod node;
mod observed;
mod optional;
mod port;
mod process;
mod python;
mod redis;
mod redis_tls;
mod toxiproxy;
mod versitygw;

pub use cargo::CargoPackage;
pub use elasticmq::{ElasticMq, SQS_VARIABLE};
pub use error::{BackendError, Result};
pub use go::GoModule;
pub use h2spec::{Case, h2spec};
pub use kafka::{KAFKA_SASL_VARIABLE, KAFKA_VARIABLE, Kafka, KafkaIdentity};
pub use maven::{Java, JavaPrograms};
pub use node::{Node, NodePackages};
pub use observed::Observed;
pub use optional::optional;
pub use port::free_port;
pub use python::PythonPackages;
pub use redis::{REDIS_VARIABLE, Redis};
pub use redis_tls::RedisTls;
pub use toxiproxy::{Proxy, Toxic, Toxiproxy, Way};
pub use versitygw::{S3_ACCESS_KEY_VARIABLE, S3_SECRET_KEY_VARIABLE, S3_VARIABLE, Versitygw};
