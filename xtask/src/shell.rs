//! Runs programs as steps: each says what it is and how long it took, and ends when the user asks for it.

use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// Pause between two looks at a running program and at the user's wish.
const POLL: Duration = Duration::from_millis(20);

/// A step whose program failed; its code becomes ours.
#[derive(Debug)]
pub(crate) struct StepFailed {
    title: String,
    /// Exit code of the program; 128 + n for a death by signal n.
    pub(crate) code: u8,
}

impl StepFailed {
    /// The failure of a program that ended with `code`.
    pub(crate) fn new(title: impl Into<String>, code: u8) -> Self {
        Self { title: title.into(), code }
    }
}

impl fmt::Display for StepFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed with code {}", self.title, self.code)
    }
}

impl std::error::Error for StepFailed {}

/// Runs programs in the workspace's root.
#[derive(Debug)]
pub(crate) struct Shell {
    root: PathBuf,
    /// How often Ctrl-C (or SIGTERM) came.
    interrupts: Arc<AtomicU32>,
}

impl Shell {
    /// A shell whose programs run in `root`. From here on Ctrl-C ends the running step, not this process: what the step
    /// needed, such as a back end, is then stopped in order.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let interrupts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&interrupts);
        ctrlc::set_handler(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .context("handling Ctrl-C")?;
        Ok(Self { root: root.to_owned(), interrupts })
    }

    /// The cargo that runs us, so that every step uses the same toolchain.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args);
        command
    }

    /// Runs a program as a step.
    pub(crate) fn step(&self, title: &str, command: &mut Command) -> Result<()> {
        println!("==> {title}");
        let child = self.spawn(command)?;
        self.finish(title, child)
    }

    /// Runs anything else as a step.
    pub(crate) fn task<T>(&self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("==> {title}");
        let began = Instant::now();
        let value = work().with_context(|| title.to_owned())?;
        println!("    {title}: {}", elapsed(began));
        Ok(value)
    }

    /// Starts a program in a process group of its own, so that a Ctrl-C at the terminal reaches it once and through us.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        command.current_dir(&self.root).stdin(Stdio::null()).process_group(0);
        command.spawn().with_context(|| format!("running {}", command.get_program().to_string_lossy()))
    }

    /// Waits for the end of a step that was started.
    pub(crate) fn finish(&self, title: &str, mut child: Child) -> Result<()> {
        let began = Instant::now();
        let status = self.wait(&mut child)?;
        println!("    {title}: {}", elapsed(began));
        if self.is_interrupted() {
            bail!(StepFailed::new(format!("{title} (interrupted)"), exit_code(status).max(1)));
        }
        if !status.success() {
            bail!(StepFailed::new(title, exit_code(status)));
        }
        Ok(())
    }

    /// Waits for a program; ends it at the first Ctrl-C, and kills it at the second. By SIGTERM: SIGINT is ignored by what
    /// a shell started in the background, and by its children.
    pub(crate) fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let mut passed_on = 0;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let asked = self.interrupts.load(Ordering::Relaxed);
            if asked > passed_on {
                signal_group(child, if asked == 1 { Signal::TERM } else { Signal::KILL });
                passed_on = asked;
            }
            thread::sleep(POLL);
        }
    }

    /// Whether the user asked to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) > 0
    }
}

/// The exit code as a shell shows it.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn signal_group(child: &Child, signal: Signal) {
    // It has not been waited for, so that its id, which is its group's as well, is still its own.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn elapsed(began: Instant) -> String {
    format!("{:.1} s", began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the handler, which a process can set only once.
    fn shell(interrupts: u32) -> Shell {
        Shell { root: "/".into(), interrupts: Arc::new(AtomicU32::new(interrupts)) }
    }

    fn script(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn a_step_s_exit_code_is_kept() {
        let error = shell(0).step("three", &mut script("exit 3")).unwrap_err();
        assert_eq!(error.downcast_ref::<StepFailed>().unwrap().code, 3);
        let error = shell(0).step("killed", &mut script("kill -9 $$")).unwrap_err();
        assert_eq!(error.downcast_ref::<StepFailed>().unwrap().code, 128 + 9);
        shell(0).step("none", &mut script("true")).unwrap();
    }

    #[test]
    fn an_interrupt_ends_the_whole_group_of_a_step() {
        // A shell that alone were told would still wait for its child.
        let error = shell(1).step("long", &mut script("sleep 600; true")).unwrap_err();
        assert!(error.to_string().contains("interrupted"), "{error}");
    }

    #[test]
    fn a_second_interrupt_kills_what_ignores_the_first() {
        let error = shell(2).step("stubborn", &mut script("trap '' TERM; sleep 600")).unwrap_err();
        assert_eq!(error.downcast_ref::<StepFailed>().unwrap().code, 128 + 9);
    }
}
