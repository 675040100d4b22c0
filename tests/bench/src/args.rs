//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

use crate::serve::Serve;

/// Measures the built product; prints ratios.
#[derive(Debug, Parser)]
#[command(
    name = "mecha-bench",
    args_conflicts_with_subcommands = true,
    after_help = "Example: cargo xtask bench http-state start --quick"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Benchmarks to run; none runs all.
    #[arg(value_enum)]
    names: Vec<Benchmark>,
    /// Fewer and shorter rounds: a look, not a result.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes the tables to tests/bench/results/<date>.md as well, in place of that day's file.
    #[arg(long)]
    pub(crate) save: bool,
}

/// What else this binary does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A bare server to compare with; the benchmarks start it themselves.
    #[command(hide = true)]
    Serve(Serve),
}

/// The benchmarks, in the order they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Benchmark {
    /// Equal bare servers against each other.
    Noise,
    /// State over HTTP/1.1 with the memory plugin, against a bare hyper server.
    HttpState,
    /// State over gRPC with the memory plugin, against bare tonic servers.
    GrpcState,
    /// State over HTTP/1.1 with the Redis plugin, against a bare hyper server with the same Redis client.
    RedisState,
    /// Publishing over HTTP/1.1 with the memory plugin, against a bare hyper server.
    Publish,
    /// Deliveries to an application, memory plugin, against a bare hyper client that posts to the same application.
    Deliveries,
    /// A thousand subscriptions: the time until they run, and their memory.
    Subscriptions,
    /// Calls of an application through two runtimes, over HTTP and gRPC, against the same calls made directly.
    Invocation,
    /// A call across the plugin boundary, against the same work called directly.
    PluginCall,
    /// The Redis plugin at its boundary, against the Redis client that it uses.
    RedisClient,
    /// The Kafka plugin at its boundary, against rdkafka.
    KafkaClient,
    /// The SQS of the AWS plugin at its boundary, against the AWS SDK.
    SqsClient,
    /// The S3 of the AWS plugin at its boundary, against the AWS SDK.
    S3Client,
    /// A plugin replaced while it serves.
    Swap,
    /// From exec to ready, memory when idle, sizes of files.
    Start,
    /// Resident memory that each plugin adds.
    PluginMemory,
}

impl Benchmark {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Arguments {
    /// Those asked for, or all.
    pub(crate) fn benchmarks(&self) -> Vec<Benchmark> {
        if self.names.is_empty() { Benchmark::value_variants().to_vec() } else { self.names.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_row_for_every_benchmark() {
        for benchmark in Benchmark::value_variants() {
            let row = format!("| `{}` |", benchmark.name());
            assert!(include_str!("../README.md").contains(&row), "{row}");
        }
    }

    #[test]
    fn no_name_means_all_and_serve_is_no_benchmark() {
        let all = Arguments::parse_from(["bench", "--quick"]);
        assert_eq!(all.benchmarks().len(), Benchmark::value_variants().len());
        let two = Arguments::parse_from(["bench", "swap", "http-state", "--save"]);
        assert_eq!(two.benchmarks(), [Benchmark::Swap, Benchmark::HttpState]);
        let serve = Arguments::parse_from(["bench", "serve", "bare-hyper", "--port", "1"]);
        assert!(matches!(serve.command, Some(Command::Serve(_))));
        assert!(Arguments::try_parse_from(["bench", "nothing"]).is_err());
    }
}
