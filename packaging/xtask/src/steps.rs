//! Steps of a command: each is a line when it is done, and the last line sums up.

use std::io;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

/// What was done and what of it failed.
pub(crate) struct Steps {
    started: Instant,
    done: usize,
    failed: Vec<String>,
}

impl Steps {
    pub(crate) fn new() -> Steps {
        Steps { started: Instant::now(), done: 0, failed: Vec::new() }
    }

    /// Runs a command, shows what it says. Whether it went well.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> bool {
        let what = format!("{command:?}");
        self.step(name, &what, &mut || command.status())
    }

    fn step(&mut self, name: &str, what: &str, run: &mut dyn FnMut() -> io::Result<ExitStatus>) -> bool {
        println!("── {name}");
        let started = Instant::now();
        let well = match run() {
            Ok(status) => status.success(),
            Err(e) => {
                println!("{what}: {e}");
                false
            }
        };
        self.done += 1;
        println!("{} {name} ({} s)", if well { "ok " } else { "FAILED " }, started.elapsed().as_secs());
        if !well {
            self.failed.push(name.to_owned());
        }
        well
    }

    /// As [`Steps::run`]: what the command prints, which is shown when it has ended. `None`: it failed.
    pub(crate) fn output(&mut self, name: &str, command: &mut Command) -> Option<String> {
        let mut said = None;
        let mut run = || {
            let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            print!("{text}");
            said = Some(text);
            Ok(output.status)
        };
        let well = self.step(name, name, &mut run);
        said.filter(|_| well)
    }

    /// One plain line, and the exit code that says the same.
    pub(crate) fn sum_up(self, command: &str) -> ExitCode {
        let seconds = self.started.elapsed().as_secs();
        match self.failed.is_empty() {
            true => {
                println!("{command}: all {} steps passed in {seconds} s", self.done);
                ExitCode::SUCCESS
            }
            false => {
                let failed = self.failed.join(", ");
                println!("{command}: {} of {} steps FAILED in {seconds} s: {failed}", self.failed.len(), self.done);
                ExitCode::FAILURE
            }
        }
    }
}
