//! The project's own commands: `cargo xtask build`, `run`, `test`, `check`, `fuzz`, `bench`.

mod backends;
mod bench;
mod build;
mod check;
mod deny;
mod fixtures;
mod fuzz;
mod lay;
mod machine;
mod run;
mod selection;
mod shell;
mod test;
mod tests_output;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::shell::{Shell, StepFailed};
use crate::workspace::{Profile, Workspace};

/// Builds, runs, tests and checks Mecha.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the binary and lays every plugin into target/<profile>/plugins.
    #[command(after_help = "Example: cargo xtask build --release")]
    Build {
        /// Optimised, as it is shipped.
        #[arg(long)]
        release: bool,
    },
    /// Builds everything and starts the gateway on the embedded default: no server is needed.
    #[command(after_help = "Example: cargo xtask run -- --log-level debug --dapr-http-port 3600")]
    Run {
        /// Optimised, as it is shipped.
        #[arg(long)]
        release: bool,
        /// More flags for mecha, after `--`.
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Builds everything, starts the real back ends and runs the tests.
    #[command(
        after_help = "Examples:\n  cargo xtask test\n  cargo xtask test gateway\n  cargo xtask test hot_swap etag\n  \
        cargo xtask test sdk python\n\n\
        A filter that is a package's name (with or without `mecha-`) or a test file's name runs that one; any other\n\
        runs the tests whose names contain it."
    )]
    Test {
        /// Packages, test files or parts of test names; none runs everything.
        filters: Vec<String>,
    },
    /// Format, lints, licences and advisories, direction of dependencies, the plugin guide's links.
    #[command(after_help = "Example: cargo xtask check")]
    Check,
    /// Looks for inputs that break what reads foreign bytes.
    #[command(
        after_help = "Examples:\n  cargo xtask fuzz\n  cargo xtask fuzz grpc_frames cel --seconds 600\n\n\
        Needs the nightly compiler: rustup toolchain install nightly. What breaks a target is named at the end;\n\
        put it into tests/fuzz/corpus/<target>, where every run of the tests reads it again."
    )]
    Fuzz {
        /// Targets, the folders of tests/fuzz/corpus; none runs all of them.
        targets: Vec<String>,
        /// For so long each.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Builds the release and runs every benchmark.
    #[command(
        after_help = "Examples:\n  cargo xtask bench http-state --quick\n  cargo xtask bench kafka-client redis-client --save\n\n\
        Benchmarks:\n  \
        the gateway:  noise http-state grpc-state redis-state publish deliveries subscriptions invocation start\n  \
        the boundary: plugin-call swap plugin-memory\n  \
        its plugins beside their client libraries: redis-client kafka-client sqs-client s3-client"
    )]
    Bench {
        /// Benchmarks (none: all of them), `--quick`, `--save`; `cargo xtask bench -- --help` says what each measures.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Err(error) = execute(arguments.command) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("xtask: {error:#}");
    // What a step's program ended with is what we end with.
    let code = error.downcast_ref::<StepFailed>().map_or(1, |failed| failed.code);
    ExitCode::from(code)
}

fn execute(command: Command) -> Result<()> {
    let workspace = Workspace::find()?;
    let shell = Shell::new(&workspace.root)?;
    match command {
        Command::Build { release } => build::product(&shell, &workspace, Profile::from_release(release)),
        Command::Run { release, flags } => {
            run::run(&shell, &workspace, Profile::from_release(release), &flags)
        }
        Command::Test { filters } => test::run(&shell, &workspace, &filters),
        Command::Check => check::run(&shell, &workspace),
        Command::Fuzz { targets, seconds } => fuzz::run(&shell, &workspace, &targets, seconds),
        Command::Bench { flags } => bench::run(&shell, &workspace, &flags),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_each_command_shows_an_example() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands() {
            let example = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            let start = format!("cargo xtask {}", subcommand.get_name());
            assert!(example.contains(&start), "{} has no example", subcommand.get_name());
        }
    }

    #[test]
    fn the_help_names_every_benchmark() {
        let command = Arguments::command();
        let bench = command.find_subcommand("bench").unwrap();
        let help = bench.get_after_help().unwrap().to_string();
        let readme = include_str!("../../tests/bench/README.md");
        let names = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        for name in names {
            assert!(help.split_whitespace().any(|word| word == name), "{name}");
        }
    }

    #[test]
    fn flags_after_two_dashes_are_passed_on() {
        let arguments =
            Arguments::parse_from(["cargo xtask", "run", "--release", "--", "--log-level", "debug"]);
        let Command::Run { release, flags } = arguments.command else { panic!("it is run") };
        assert!(release);
        assert_eq!(flags, ["--log-level", "debug"]);
    }
}
