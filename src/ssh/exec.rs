//! One command on one host and how it ended, the same for SSH and for this machine.

use std::time::Duration;

/// A command to run by `/bin/sh -c` on a host.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// The POSIX shell program, whole.
    pub script: &'a str,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes of stdout, and of stderr, are kept. More is read and dropped, and the output says so.
    pub max_output: usize,
}

/// How a command ended. These are four different things, and none stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ran to its end with this exit status.
    Exited(i32),
    /// It died of this signal.
    Signaled(i32),
    /// It was still running when its time was up; it has been killed where that was possible.
    TimedOut(Duration),
    /// The connection went away: whether it ran, and how far, is unknown.
    Lost(String),
}

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Output beyond `max_output` was dropped.
    pub truncated: bool,
}

impl Output {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.ended == Ended::Exited(0)
    }

    /// The last line of stderr that says anything, for messages: at most 200 characters, without control characters.
    pub fn last_error_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exited(status) => write!(f, "exited with {status}"),
            Ended::Signaled(signal) => write!(f, "was killed by signal {signal}"),
            Ended::TimedOut(after) => write!(f, "was still running after {} s", after.as_secs_f64()),
            Ended::Lost(why) => write!(f, "lost the connection ({why}); whether it ran is unknown"),
        }
    }
}
