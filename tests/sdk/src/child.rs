//! A program of an SDK as a child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lines of a failed program's output that its error shows.
const SHOWN: usize = 60;

/// How a program is run.
#[derive(Debug, Clone)]
pub struct Program {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    output: Output,
    readers: Vec<JoinHandle<()>>,
}

/// The lines that a program printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<String>>>);

impl Program {
    /// A program without arguments.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn spawn(&self) -> Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let name = self.name();
        let mut child = command.spawn().with_context(|| format!("running {name}"))?;
        let output = Output::default();
        let readers = vec![
            output.collect(child.stdout.take().context("stdout is piped")?),
            output.collect(child.stderr.take().context("stderr is piped")?),
        ];
        Ok(Running { name, child, output, readers })
    }

    /// What the program is called: its last argument, which for an interpreter is a file or a class.
    fn name(&self) -> String {
        let file = self.args.last().map_or(self.program.as_path(), Path::new);
        file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Running {
    /// Waits for its end, which must be a success.
    pub(crate) async fn succeed(mut self, limit: Duration) -> Result<()> {
        let ended = timeout(limit, self.child.wait()).await;
        let status = ended.with_context(|| format!("{self} still runs after {limit:?}"))??;
        for reader in self.readers.drain(..) {
            reader.await?;
        }
        ensure!(status.success(), "{self} ended with {status}");
        println!("{self}");
        Ok(())
    }

    /// That it has ended too early, as an error, if it has.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{self} has ended");
        Ok(())
    }
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:\n{}\n", self.name, self.output.tail())
    }
}

impl Output {
    fn tail(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    fn collect(&self, pipe: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let output = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                output.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Running {
        Program::new("/bin/sh").arg("-c").arg(script).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_failed_program_s_error_holds_what_it_printed() {
        let error = shell("echo one; echo 'FAILED: state' >&2; exit 1").succeed(SOON).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("FAILED: state") && text.contains("exit status: 1"), "{text}");
        shell("exit 0").succeed(SOON).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_given_up() {
        let error =
            shell("echo stuck; exec sleep 600").succeed(Duration::from_millis(200)).await.unwrap_err();
        assert!(error.to_string().contains("still runs"), "{error}");
    }
}
