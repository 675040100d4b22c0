//! One server process: started, waited for until it answers, killed when dropped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{BackendError, Result};

/// Pause between two looks at a starting server.
const POLL: Duration = Duration::from_millis(5);
/// Lines of a server's output that an error shows.
const LOG_LINES: usize = 20;

/// A running server. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `command`, its output going to `log`, and returns once `is_ready` holds.
    pub(crate) fn start(
        mut command: Command,
        log: &Path,
        limit: Duration,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            // A Ctrl-C at the terminal reaches only our own group: the server lives until its owner stops it.
            .process_group(0)
            .spawn()
            .map_err(|source| BackendError::Spawn { program: program.clone(), source })?;
        let mut server = Self { child, log: log.to_owned() };
        let began = Instant::now();
        while !is_ready() {
            if let Some(status) = server.child.try_wait()? {
                return Err(BackendError::Ended { program, status: status.to_string(), log: tail(log) });
            }
            if began.elapsed() > limit {
                return Err(BackendError::NotReady { program, waited: limit, log: tail(log) });
            }
            thread::sleep(POLL);
        }
        Ok(server)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its output.
    pub(crate) fn last_lines(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // An error means that it has ended already, which is what was asked for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of an output.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_server_that_ends_early_is_an_error_with_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let command = shell("echo cannot bind >&2; exit 3");
        let error = ServerProcess::start(command, &dir.path().join("log"), Duration::from_secs(10), || false);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("cannot bind") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_server_that_never_answers_is_given_up_and_killed() {
        let dir = tempfile::tempdir().unwrap();
        let command = shell("exec sleep 600");
        let error =
            ServerProcess::start(command, &dir.path().join("log"), Duration::from_millis(20), || false);
        assert!(matches!(error, Err(BackendError::NotReady { .. })), "{error:?}");
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let command = shell("exec sleep 600");
        let server =
            ServerProcess::start(command, &dir.path().join("log"), Duration::from_secs(1), || true).unwrap();
        let entry = format!("/proc/{}", server.pid());
        assert!(Path::new(&entry).exists());
        drop(server);
        assert!(!Path::new(&entry).exists());
    }
}
